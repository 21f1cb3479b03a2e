"""Write the reference pages that come from the code: docs/reference/*.md.

python scripts/docs.py            write them
python scripts/docs.py --check    write nothing; fail when a page lags
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "reference"
NOTE = "<!-- Made from the code by `make docs`; a test fails when it lags. Do not edit. -->"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; pipes in cells are escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def page(title: str, *parts: str) -> str:
    """Return a page with its title and the note that it is generated."""
    return "\n\n".join([f"# {title}", NOTE, *parts]) + "\n"


def settings_page() -> str:
    """Describe every environment variable."""
    from agentcache.settings import SETTINGS

    rows = [
        (
            f"`{setting.name}`",
            f"`{setting.default}`" if setting.default else "none",
            setting.description + (" *Secret: never shown.*" if setting.is_secret else ""),
            f"`{setting.example.partition('=')[2] or setting.example}`",
        )
        for setting in SETTINGS
    ]
    return page(
        "Settings",
        "AgentCache is configured by environment variables and nothing else. An empty value counts as unset. A name that "
        "begins with `AGENTCACHE_` and is not listed here is an error. `agentcache doctor` checks every one.",
        table(("name", "default", "what it is", "example"), rows),
    )


def commands_page() -> str:
    """Describe every command of the command line with its arguments and options."""
    import typer.main

    from agentcache.cli.app import app
    from agentcache.cli.exit_codes import ExitCode

    root = typer.main.get_command(app)
    codes = table(("code", "meaning"), [(str(int(code)), code.meaning) for code in ExitCode])
    parts = [part for name, command in _commands(root, "agentcache") for part in _command(name, command)]
    return page("Commands", cleandoc(root.help or ""), *parts, "## Exit codes", codes)


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"## {name}"
    yield cleandoc(command.help or "").replace("\n", " ").replace("  ", "\n\n")
    rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        yield table(("argument or option", "default", "what it does"), rows)


def _parameter(parameter: Any) -> tuple[str, str, str]:
    is_argument = parameter.param_type_name == "argument"
    names = parameter.name.upper() if is_argument else ", ".join(parameter.opts)
    default = parameter.default
    shown = f"`{default}`" if isinstance(default, str | int) else ""
    if isinstance(default, bool):
        shown = "off"
    text = getattr(parameter, "help", None) or ""
    if parameter.envvar:
        text += f" Also read from `{parameter.envvar}`."
    return f"`{names}`", shown or ("required" if parameter.required else "none"), text.strip()


def headers_page() -> str:
    """Describe the headers of requests and replies."""
    from agentcache.gateway.vocabulary import FURTHER_REPLY_HEADERS, REPLY_HEADERS, REQUEST_HEADERS

    def rows(fields: Any) -> list[tuple[str, str, str]]:
        return [(f"`{field.name}`", field.value, field.description) for field in fields]

    columns = ("header", "value", "what it does")
    return page(
        "Headers",
        "Header names do not depend on letter case. An unknown or malformed directive is answered with 400 and names "
        "the header at fault; it is never ignored.",
        "## In requests",
        table(columns, rows(REQUEST_HEADERS)),
        "## In replies",
        table(("header", "value", "what it says"), rows((*REPLY_HEADERS, *FURTHER_REPLY_HEADERS))),
    )


def errors_page() -> str:
    """Describe every error by its code."""
    from agentcache.kit.errors import AgentCacheError

    _import_everything()
    rows = sorted(
        {(kind.code, kind.status, _message(kind)) for kind in _subclasses(AgentCacheError)},
        key=lambda row: (row[1], row[0], row[2]),
    )
    return page(
        "Errors",
        "Every error carries a stable code. Provider routes answer in the provider's own shape, our own API in RFC 9457 "
        "(`application/problem+json`), commands in one line on standard error. The message may say more than below.",
        table(("code", "status", "message"), [(f"`{code}`", str(status), message) for code, status, message in rows]),
    )


def webhook_events_page() -> str:
    """Describe every type of event that webhooks tell, with its members and a sample."""
    import json

    from agentcache.webhooks.event_types import EVENT_TYPES

    parts = []
    for one in EVENT_TYPES.values():
        body = {"type": one.name, "timestamp": "2026-01-31T09:30:00.000Z", "data": one.sample}
        rows = [
            (f"`{name}`", _schema_type(member), member.get("description", ""))
            for name, member in one.schema["properties"].items()
        ]
        sample = "```json\n" + json.dumps(body, indent=2) + "\n```"
        parts += [f"## {one.name}", one.description, table(("member of `data`", "type", "what it says"), rows), sample]
    return page(
        "Webhook events",
        "What [webhooks](../how-to/webhooks.md) tell. `GET /api/webhooks/event-types` returns the same with JSON schemas. "
        "Members may be added to `data`; none is removed or changes its meaning.",
        *parts,
    )


def _schema_type(member: dict[str, Any]) -> str:
    if "anyOf" in member:
        return " or ".join(_schema_type(one) for one in member["anyOf"])
    if "enum" in member:
        return ", ".join(f"`{value}`" for value in member["enum"])
    kind = str(member.get("type", "any"))
    if kind == "array":
        return f"array of {_schema_type(member['items'])}"
    return f"{kind} ({member['format']})" if "format" in member else kind


def permissions_page() -> str:
    """Describe what each role, mark and key scope may do."""
    from agentcache.teams.permissions import BY_ROLE, BY_SCOPE, matrix

    def cell(granted: bool) -> str:
        return "yes" if granted else ""

    roles, rows = list(BY_ROLE), matrix()
    by_role = [
        (
            f"`{row.permission}`",
            row.description,
            *(cell(role in row.roles) for role in roles),
            *(cell(mark in row.marks) for mark in ("billing", "owner")),
        )
        for row in rows
    ]
    by_scope = [(f"`{row.permission}`", *(cell(scope.value in row.scopes) for scope in BY_SCOPE)) for row in rows]
    return page(
        "Permissions",
        "A member has one role, and may have marks beside it that add to it. Every page and every route of the API asks "
        "for one permission, from this table, at every request: a change of role or a removal counts at once.",
        "## Members",
        table(("permission", "what may be done", *roles, "+ billing", "+ owner"), by_role),
        "Owners are always admins, and every team has one. Nobody can give a role, a mark or a key scope that does more "
        "than they may themselves.",
        "## API keys",
        "What a key may do in the API beside the cache itself. Inviting people, changing roles, deleting the team and "
        "paying are for people: no key can, so that a leaked one cannot keep its thief in the team.",
        table(("permission", *(f"`{scope.value}`" for scope in BY_SCOPE)), by_scope),
    )


def metrics_page() -> str:
    """Describe every figure of the pages and of `/api/stats`."""
    from agentcache.analytics.definitions import METRICS, OUTCOMES

    def ratio(numerator: str, denominator: str) -> str:
        return f"{numerator} ÷ {denominator}" if denominator else numerator

    outcomes = [(f"`{outcome.value}`", text) for outcome, text in OUTCOMES.items()]
    rows = [
        (f"`{one.name}`", one.title, one.unit, ratio(one.numerator, one.denominator), one.basis, one.text)
        for one in METRICS
    ]
    return page(
        "Metrics",
        "What the figures of the pages, of `/api/stats` and of exports mean: one definition for all of them. Metrics for "
        "Prometheus are in [Watch metrics and logs](../how-to/metrics-and-logs.md).",
        "## Outcomes",
        table(("outcome", "meaning"), outcomes),
        "## Figures",
        table(("name", "title", "unit", "how it is worked out", "one count is", "meaning"), rows),
    )


def _message(kind: type[BaseException]) -> str:
    return cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for derived in kind.__subclasses__():
        yield from _subclasses(derived)


def _import_everything() -> None:
    import agentcache
    from agentcache.web.dry_project import configure_without_database

    configure_without_database()
    for found in pkgutil.walk_packages(agentcache.__path__, "agentcache."):
        if (
            not found.name.endswith("__main__")
            and ".migrations" not in found.name
            and "fake_provider" not in found.name
        ):
            importlib.import_module(found.name)


def pages() -> dict[Path, str]:
    """Return every generated page by its path."""
    return {
        PAGES / "settings.md": settings_page(),
        PAGES / "commands.md": commands_page(),
        PAGES / "headers.md": headers_page(),
        PAGES / "errors.md": errors_page(),
        PAGES / "permissions.md": permissions_page(),
        PAGES / "webhook-events.md": webhook_events_page(),
        PAGES / "metrics.md": metrics_page(),
    }


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or say which of them lag."""
    lagging = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        for path in lagging:
            print(f"{path.relative_to(ROOT)} lags behind the code; run: make docs", file=sys.stderr)
        return 1 if lagging else 0
    PAGES.mkdir(parents=True, exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
