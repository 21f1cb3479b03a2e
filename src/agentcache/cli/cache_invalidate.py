"""`agentcache cache invalidate`: say what is no longer true, see what that means, and have it forgotten."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agentcache.cli.cache import AsJson, Key, Namespace, Url, app, call_api, print_document

__all__ = ["app", "invalidate"]


@app.command("invalidate")
def invalidate(
    cache_keys: Annotated[list[str] | None, typer.Argument(help="Keys of entries, 64 hex digits each.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only entries with this tag; repeated, with any of them.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", "--source-url", help="Only entries made from this URL, in any spelling.")
    ] = None,
    namespace: Namespace = None,
    pattern: Annotated[
        str | None, typer.Option(help="Only entries whose namespace/dialect/model/label matches.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only entries of this model.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only entries of this provider, such as openai.")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Only entries stored longer ago: seconds, or 15m, 12h, 30d.")
    ] = None,
    soft: Annotated[
        bool, typer.Option("--soft", help="Mark them stale: served only while renewed, or when the provider fails.")
    ] = False,
    pre_warm: Annotated[
        bool, typer.Option("--prewarm", help="Ask again, in a job, for what had been asked; needs an admin's key.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="For the audit log and for webhooks.")] = None,
    notify: Annotated[bool, typer.Option("--notify/--no-notify", help="Whether webhooks are told.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what it would meet.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Invalidate entries by what they were made of; all that is given has to hold. Asks first, and shows what it means."""
    given = {
        "keys": cache_keys, "tags": tag, "url": source, "namespace": namespace, "pattern": pattern, "model": model,
        "provider": provider, "older_than": older_than,
    }  # fmt: skip
    document: dict[str, Any] = {name: value for name, value in given.items() if value}
    if not document:
        raise typer.BadParameter("say which entries: keys, --tag, --source, --namespace, --pattern, --model and so on")
    if older_than is not None and older_than.isdecimal():
        document["older_than"] = int(older_than)
    document |= {name: True for name, wanted in (("soft", soft), ("preWarm", pre_warm)) if wanted}
    if dry_run or not yes:
        found = call_api(url, key, "POST", "/api/cache/invalidate", {**document, "dry_run": True})
        if dry_run:
            if as_json:
                print_document(found)
            else:
                typer.echo(_told(found, soft=soft))
            return
        typer.echo(_told(found, soft=soft), err=True)
        typer.confirm("Go on?", abort=True, err=True)
    if reason is not None:
        document["reason"] = reason
    if not notify:
        document["notify"] = False
    _report(call_api(url, key, "POST", "/api/cache/invalidate", document), document, as_json=as_json)


def _report(done: dict[str, Any], asked: dict[str, Any], *, as_json: bool) -> None:
    """Say what an invalidation did."""
    if as_json:
        print_document(done)
        return
    typer.echo(f"{done['invalidated']} entries {'marked stale' if asked.get('soft') else 'removed'}.")
    if asked.get("preWarm"):
        typer.echo(
            f"{done['preWarmed']} requests are asked again by job {done['job']}."
            if done.get("job")
            else f"Nothing is asked again: {done.get('preWarmProblem')}."
        )
    if not done.get("recorded", True):
        typer.echo("The audit log could not be told of it.", err=True)


def _told(found: dict[str, Any], *, soft: bool) -> str:
    """Say what an invalidation would meet."""
    shown = found.get("preview") or {}
    said = [f"{found['invalidated']} entries would be {'marked stale' if soft else 'removed'}"]
    if found["namespaces"]:
        said.append(f"in {', '.join(found['namespaces'])}")
    said.append(f"asking for all of them anew would cost ${found['estimatedCostImpact']:,.2f}")
    if shown.get("hits_last_7_days") is not None:
        least = "" if shown["hits_complete"] else "at least "
        said.append(
            f"they served {least}{shown['hits_last_7_days']} hits since {shown['hits_since'][:10]} "
            f"and saved ${shown['saved_last_7_days_usd']:,.2f}"
        )
    if found.get("preWarmed"):
        said.append(f"{found['preWarmed']} requests would be asked again")
    return "; ".join(said) + "."
