"""`agentcache keys`: the API keys of a team, straight in the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentcache.cli.records import open_records
from agentcache.kit.errors import NotFound

if TYPE_CHECKING:
    from agentcache.teams.models import ApiKey, Team

app = typer.Typer(help="Create, list, rotate and revoke the API keys of a team.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TeamSlug = Annotated[str, typer.Option("--team", help="The team's slug.")]
NetworkList = Annotated[
    list[str] | None,
    typer.Option(
        "--ip",
        help="Address or network that the key may be used from, such as 192.0.2.0/24; may be repeated.",
        show_default=False,
    ),
]
Expiry = Annotated[
    str | None,
    typer.Option(
        "--expires",
        "--expires-in",
        help="When it ends: a lifetime such as 30d, 12h or 15m, or a day or time in UTC such as 2027-01-31.",
        show_default=False,
    ),
]
KeyId = Annotated[str, typer.Argument(help="The id that `keys list` shows.")]

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
    ip: NetworkList = None,
    expires: Expiry = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key and show it, this once: only a hash of it is kept."""
    scopes = _scopes(scope)
    expires_at = None if expires is None else _expiry(expires)
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
            allowed_networks=ip or (),
        )
        shown = _row(created.row, owner)
    if as_json:
        print_json({"key": created.api_key, **shown})
        return
    console().print(f"Your API key, shown this once: [bold]{created.api_key}[/]")
    console().print(f"  may    {', '.join(created.row.scopes)}\n  team   {owner.name}")
    if created.row.allowed_networks:
        console().print(f"  from   {', '.join(created.row.allowed_networks)}")
    if created.row.expires_at:
        console().print(f"  until  {shown['expires_at']}")


@app.command("list")
def list_keys(team: TeamSlug = "local", as_json: AsJson = False) -> None:
    """List the keys of a team, newest first, revoked and expired ones too."""
    settings = open_records()
    from agentcache.cli.output import print_json, print_table
    from agentcache.supervisor.preparation import database_errors
    from agentcache.teams.queries import list_api_keys, rotating_keys

    with database_errors(settings):
        owner = _team(team)
        rotating = rotating_keys(owner)
        rows = [_row(row, owner, rotating) for row in list_api_keys(owner)]
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


@app.command("rotate")
def rotate(
    key_id: KeyId,
    now: Annotated[
        bool, typer.Option("--now", help="End the former value at once: somebody else may have it.")
    ] = False,
    overlap: Annotated[
        str | None,
        typer.Option("--overlap", help="How long the former value works on, up to 30d.", show_default="24h"),
    ] = None,
    team: TeamSlug = "local",
    as_json: AsJson = False,
) -> None:
    """Give a key a new value and show it, this once. Name, rights, limits and usage stay with the key."""
    if now and overlap is not None:
        raise typer.BadParameter("give --now or --overlap, not both", param_hint="--overlap")
    settings = open_records()
    from agentcache.cli.output import console, print_json
    from agentcache.supervisor.preparation import database_errors
    from agentcache.teams.secrets import ServerSecrets
    from agentcache.teams.services import OVERLAP, rotate_api_key

    span = timedelta(0) if now else OVERLAP if overlap is None else _duration(overlap, "--overlap")
    with database_errors(settings):
        owner = _team(team)
        created = rotate_api_key(ServerSecrets.of(settings), owner, key_id, overlap=span)
        shown = _row(created.row, owner)
    if as_json:
        print_json({"key": created.api_key, **shown})
        return
    console().print(f"The new value of {created.row.name}, shown this once: [bold]{created.api_key}[/]")
    former = f"works until {shown['former'][0]['ends_at']}" if span else "ends now: servers refuse it within 5 seconds"
    console().print(f"  the former value {former}")


@app.command("revoke")
def revoke(
    key_id: KeyId,
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
        shown = _row(row, owner)
    if as_json:
        print_json(shown)
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


def _row(row: ApiKey, team: Team, rotating: frozenset[str] | None = None) -> dict[str, Any]:
    """Return everything about a key that is no secret."""
    from agentcache.teams.queries import former_values, key_state, rotating_keys

    if rotating is None:
        rotating = rotating_keys(team)
    return {
        "id": row.id,
        "name": row.name,
        "team": team.slug,
        "team_id": team.id,
        "display": row.display,
        "scopes": list(row.scopes),
        "namespace": row.namespace,
        "allowed_networks": list(row.allowed_networks),
        "is_test": row.is_test,
        "is_shared": row.is_shared,
        "state": key_state(row, rotating).value,
        "created_at": _stamp(row.created_at),
        "created_by": row.created_by.email if row.created_by is not None else None,
        "created_by_key": row.created_by_key_id,
        "expires_at": _stamp(row.expires_at),
        "rotated_at": _stamp(row.rotated_at),
        "revoked_at": _stamp(row.revoked_at),
        "revoked_because": row.revoked_because or None,
        "last_used_at": _stamp(row.last_used_at),
        "former": [
            {"display": one.display, "ends_at": _stamp(one.ends_at), "last_used_at": _stamp(one.last_used_at)}
            for one in (former_values(row) if row.id in rotating else ())
        ],
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


def _expiry(text: str) -> datetime:
    if text[-1:] in _UNITS:
        return datetime.now(UTC) + _duration(text, "--expires")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a lifetime (30d, 12h, 15m) nor a day or time (2027-01-31)", param_hint="--expires"
        ) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _duration(text: str, option: str) -> timedelta:
    if len(text) < 2 or not text[:-1].isdecimal() or text[-1] not in _UNITS or not 0 < int(text[:-1]) <= 100_000:
        raise typer.BadParameter(f"{text!r} is no length of time; write it as 15m, 12h or 30d", param_hint=option)
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
