"""`agentcache cache`: look into the cache of a running server, through its API, so that every worker agrees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from agentcache.cli.exit_codes import ExitCode
from agentcache.kit.errors import AgentCacheError, Forbidden, NotFound, Unauthenticated

app = typer.Typer(help="Read, write and clear the cache of a running server.", no_args_is_help=True)

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="AGENTCACHE_BASE_URL", help="The server; by default the one these settings describe."),
]
Key = Annotated[
    str | None, typer.Option("--key", envvar="AGENTCACHE_API_KEY", help="An API key of the team.", show_envvar=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Provider = Annotated[str | None, typer.Option(help="Dialect, such as openai or anthropic.")]
Model = Annotated[str | None, typer.Option(help="Model of the request.")]
Prompt = Annotated[str | None, typer.Option(help="Short for one user message.")]
RequestFile = Annotated[
    str | None, typer.Option("--request", help="File with the whole request as JSON, or - for stdin.")
]
Namespace = Annotated[str | None, typer.Option(help="Partition of the cache.")]


@app.command("get")
def get(
    cache_key: Annotated[
        str | None, typer.Argument(help="Key of the entry: 64 hex digits, or a name of your own.")
    ] = None,
    provider: Provider = None,
    model: Model = None,
    prompt: Prompt = None,
    request: RequestFile = None,
    namespace: Namespace = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Print what is stored for a key or a request. A miss ends with exit code 6."""
    if cache_key is not None:
        answer = call_api(url, key, "GET", f"/api/cache/get?key={quote(cache_key)}")
    else:
        answer = call_api(url, key, "POST", "/api/cache/get", _request(provider, model, prompt, request, namespace))
    if as_json:
        print_document(answer)
    elif answer.get("hit"):
        value = answer.get("value")
        typer.echo(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))
    else:
        typer.echo("Nothing is stored for this request.", err=True)
    if not answer.get("hit"):
        raise typer.Exit(ExitCode.NOT_FOUND)


@app.command("set")
def set_entry(
    cache_key: Annotated[
        str | None, typer.Argument(help="Key of the entry: 64 hex digits, or a name of your own.")
    ] = None,
    value: Annotated[str | None, typer.Option(help="The answer, as text.")] = None,
    value_file: Annotated[str | None, typer.Option(help="File with the answer as JSON, or - for stdin.")] = None,
    provider: Provider = None,
    model: Model = None,
    prompt: Prompt = None,
    request: RequestFile = None,
    namespace: Namespace = None,
    ttl: Annotated[str | None, typer.Option(help="Lifetime: seconds, or 15m, 12h, 30d.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Label to invalidate by; may be repeated.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Store an answer for a key or a request."""
    if (value is None) == (value_file is None):
        raise typer.BadParameter("give the answer with --value or with --value-file")
    document: dict[str, Any] = {}
    if cache_key is None:
        document |= _request(provider, model, prompt, request, namespace)
    else:
        document["key"] = cache_key
    document["value"] = value if value is not None else _read_json(str(value_file), "--value-file")
    if ttl is not None:
        document["ttl"] = int(ttl) if ttl.isdecimal() else ttl
    if tag:
        document["tags"] = tag
    answer = call_api(url, key, "POST", "/api/cache/set", document)
    if as_json:
        print_document(answer)
    else:
        typer.echo(f"Stored as {answer.get('key')}.")


@app.command("purge")
def purge(
    cache_keys: Annotated[list[str] | None, typer.Argument(help="Keys of entries, 64 hex digits each.")] = None,
    namespace: Namespace = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only entries with this tag; repeated, with any of them.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only entries made from this URL.")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Only entries whose namespace/dialect/model/label matches.")
    ] = None,
    dialect: Annotated[str | None, typer.Option(help="Only entries of this dialect.")] = None,
    model: Annotated[str | None, typer.Option(help="Only entries of this model.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every entry of the team.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing; say how many it would be.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Delete entries. Once this returns, no worker serves them any more."""
    criteria = {"namespace": namespace, "source": source, "pattern": pattern, "dialect": dialect, "model": model}
    document: dict[str, Any] = {name: text for name, text in criteria.items() if text is not None}
    if tag:
        document["tags"] = tag
    if sum(map(bool, (cache_keys, document, everything))) != 1:
        raise typer.BadParameter("say which entries: keys, criteria such as --namespace or --tag, or --all")
    if cache_keys:
        document["keys"] = list(cache_keys)
    elif everything:
        document["all"] = True
    matched = deleted = 0
    if dry_run or not (yes or cache_keys):
        matched = call_api(url, key, "POST", "/api/cache/purge", {**document, "dry_run": True})["invalidated"]
        if not dry_run:
            typer.confirm(f"Delete {matched} entries?", abort=True, err=True)
    if not dry_run:
        matched = deleted = call_api(url, key, "POST", "/api/cache/purge", document)["invalidated"]
    if as_json:
        print_document({"matched": matched, "deleted": deleted})
    elif dry_run:
        typer.echo(f"{matched} entries would be deleted.")
    else:
        typer.echo(f"{deleted} entries deleted.")


@app.command("stats")
def stats(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Print how many entries are stored, and how large they are."""
    answer = call_api(url, key, "GET", "/api/cache/stats")
    if as_json:
        print_document(answer)
        return
    from agentcache.cli.output import print_table

    print_table("Cache", ("what", "value"), list(_flat(answer)), empty="The cache is empty.")


def _request(
    provider: str | None, model: str | None, prompt: str | None, request: str | None, namespace: str | None
) -> dict[str, Any]:
    document: dict[str, Any] = {"provider": provider or "openai"}
    if (prompt is None) == (request is None):
        raise typer.BadParameter("say what was asked: a key, --request FILE, or --model with --prompt")
    if request is not None:
        document["request"] = _read_json(request, "--request")
    else:
        if model is None:
            raise typer.BadParameter("--prompt needs --model")
        document |= {"model": model, "prompt": prompt}
    if namespace is not None:
        document["namespace"] = namespace
    return document


def _read_json(place: str, option: str) -> Any:
    try:
        text = typer.get_text_stream("stdin").read() if place == "-" else Path(place).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise typer.BadParameter(f"{place}: {error.strerror}", param_hint=option) from None
    except ValueError as error:
        raise typer.BadParameter(f"{place} holds no JSON ({error})", param_hint=option) from None


def call_api(url: str | None, key: str | None, method: str, path: str, document: Any = None) -> Any:
    """Return what the server answers, decoded. Raises `AgentCacheError`."""
    from agentcache.kit.egress.own_api import Refusal, call_own_api

    if not key:
        raise Unauthenticated(
            "An API key of the team is needed: set AGENTCACHE_API_KEY, or give --key. Make one: agentcache keys create"
        )
    status, answer = call_own_api(url or _local_url(), method, path, api_key=key, document=document)
    if status < 400:
        return answer if answer is not None else {}
    said = answer if isinstance(answer, dict) else {}
    detail = str(said.get("detail") or said.get("title") or f"The server answers {status}.")
    kinds: dict[int, type[AgentCacheError]] = {401: Unauthenticated, 403: Forbidden, 404: NotFound}
    raise kinds.get(status, Refusal)(detail)


def _local_url() -> str:
    from dataclasses import replace

    from agentcache.settings import Settings

    return replace(Settings.load(), public_url=None).origin


def print_document(document: Any) -> None:
    """Print JSON."""
    from agentcache.cli.output import print_json

    print_json(document)


def _flat(document: dict[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value
