"""`agentcache keys`: the API keys of a team, straight in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentcache.cli.records import open_records
from agentcache.kit.errors import NotFound

if TYPE_CHECKING:
    from agentcache.teams.models import ApiKey, Team

app = typer.Typer(help="Create, list and revoke the API keys of a team.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TeamSlug = Annotated[str, typer.Option("--team", help="The team's slug.")]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@app.command("create")
def create(
    name: Annotated[str, typer.Option("--name", help="What the key is for.")] = "Command line",
    team: TeamSlug = "local",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", help="cache:read, cache:write, stats:read or admin; may be repeated.", show_default=False
        ),
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", help="Namespace of requests that name none.")] = "default",
    test: Annotated[bool, typer.Option("--test", help="Make a test key (ac_test_…).")] = False,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", help="Lifetime, such as 30d, 12h or 15m.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key and show it, this once: only a hash of it is kept."""
    scopes = _scopes(scope)
    expires_at = None if expires_in is None else datetime.now(UTC) + _duration(expires_in)
    settings = open_records()
    from agentcache.cli.output import console, print_json
    from agentcache.supervisor.preparation import database_errors
    from agentcache.teams.secrets import ServerSecrets
    from agentcache.teams.services import DEFAULT_SCOPES, create_api_key

    with database_errors(settings):
        owner = _team(team)
        created = create_api_key(
            ServerSecrets.of(settings),
            owner,
            name,
            scopes=DEFAULT_SCOPES if scopes is None else scopes,
            is_test=test,
            namespace=namespace,
            expires_at=expires_at,
        )
    if as_json:
        print_json({"key": created.api_key, **_row(created.row, owner)})
        return
    console().print(f"Your API key, shown this once: [bold]{created.api_key}[/]")
    console().print(f"  may    {', '.join(created.row.scopes)}\n  team   {owner.name}")


@app.command("list")
def list_keys(team: TeamSlug = "local", as_json: AsJson = False) -> None:
    """List the keys of a team, newest first, revoked and expired ones too."""
    settings = open_records()
    from agentcache.cli.output import print_json, print_table
    from agentcache.supervisor.preparation import database_errors
    from agentcache.teams.queries import list_api_keys

    with database_errors(settings):
        owner = _team(team)
        rows = [_row(row, owner) for row in list_api_keys(owner)]
    if as_json:
        print_json({"keys": rows})
        return
    print_table(
        f"API keys of {owner.name}",
        ("id", "name", "key", "may", "state", "last used"),
        (
            (
                row["id"],
                row["name"],
                row["display"],
                " ".join(row["scopes"]),
                row["state"],
                row["last_used_at"] or "never",
            )
            for row in rows
        ),
        empty="This team has no API key; make one: agentcache keys create",
    )


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id that `keys list` shows.")],
    team: TeamSlug = "local",
    as_json: AsJson = False,
) -> None:
    """Revoke a key for good. Running servers refuse it within 5 seconds, or 30 while the database is away."""
    settings = open_records()
    from agentcache.cli.output import console, print_json
    from agentcache.supervisor.preparation import database_errors
    from agentcache.teams.services import revoke_api_key

    with database_errors(settings):
        owner = _team(team)
        row = revoke_api_key(owner, key_id)
    if as_json:
        print_json(_row(row, owner))
        return
    console().print(f"{row.name} ({row.display}) is revoked.")


def _team(slug: str) -> Team:
    from agentcache.teams.models import Team

    found = Team.objects.filter(slug=slug).first()
    if found is None:
        known = ", ".join(Team.objects.order_by("slug").values_list("slug", flat=True)[:10])
        raise NotFound(
            f"--team: there is no team {slug!r}. "
            + (f"Known: {known}." if known else "Start the server once: make serve")
        )
    return found


def _row(row: ApiKey, team: Team) -> dict[str, Any]:
    now = datetime.now(UTC)
    expired = row.expires_at is not None and row.expires_at <= now
    return {
        "id": row.id,
        "name": row.name,
        "team": team.slug,
        "team_id": team.id,
        "display": row.display,
        "scopes": list(row.scopes),
        "namespace": row.namespace,
        "is_test": row.is_test,
        "state": "revoked" if row.revoked_at else "expired" if expired else "live",
        "created_at": _stamp(row.created_at),
        "expires_at": _stamp(row.expires_at),
        "revoked_at": _stamp(row.revoked_at),
        "last_used_at": _stamp(row.last_used_at),
    }


def _stamp(at: Any) -> str | None:
    # A row that was just created still holds the database's expression for "now".
    return at.isoformat(timespec="seconds") if isinstance(at, datetime) else None


def _scopes(given: list[str] | None) -> Any:
    from agentcache.gateway.ports import Scope

    if not given:
        return None
    try:
        return frozenset(Scope(scope) for scope in given)
    except ValueError:
        known = ", ".join(scope.value for scope in Scope)
        raise typer.BadParameter(f"{', '.join(given)}: use {known}", param_hint="--scope") from None


def _duration(text: str) -> timedelta:
    if len(text) < 2 or not text[:-1].isdecimal() or text[-1] not in _UNITS or not 0 < int(text[:-1]) <= 100_000:
        raise typer.BadParameter(f"{text!r} is no lifetime; write it as 15m, 12h or 30d", param_hint="--expires-in")
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
