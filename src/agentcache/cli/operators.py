"""`agentcache operators`: who may open the operator console."""

from __future__ import annotations

from typing import Annotated

import typer

from agentcache.cli.records import open_records

app = typer.Typer(no_args_is_help=True)


@app.callback()
def operators() -> None:
    """Invite the people who run this installation."""
    # With a callback `invite` stays a command of its own, though it is the only one.


@app.command("invite")
def invite(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print a link that makes whoever opens it an operator. It works once, for 30 minutes, and ends any link before.

    Its address is AGENTCACHE_PUBLIC_URL, or else AGENTCACHE_HOST and AGENTCACHE_PORT: run it with the server's settings.
    """
    settings = open_records()
    from agentcache.cli.output import console, print_json
    from agentcache.cli.serve import setup_url
    from agentcache.operators.services import LINK_LIFETIME, create_setup_link
    from agentcache.supervisor.preparation import database_errors

    with database_errors(settings):
        url = setup_url(settings.origin, create_setup_link())
    if as_json:
        print_json({"url": url, "expires_in_seconds": int(LINK_LIFETIME.total_seconds())})
        return
    console().print(f"Operator: {url} (30 minutes, once)")
