"""`agentcache usage`: look after what is recorded about requests."""

from __future__ import annotations

from typing import Annotated

import typer

from agentcache.cli.records import open_records

app = typer.Typer(no_args_is_help=True)


@app.callback()
def usage() -> None:
    """Look after what is recorded about requests."""
    # With a callback `recount` stays a command of its own, though it is the only one.


@app.command("recount")
def recount(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Have the job worker bring requests into the sums that are not in them. What is in them is left alone.

    After an upgrade from a release without sums this happens by itself.
    """
    settings = open_records()
    from agentcache.analytics.services import enqueue_back_fill
    from agentcache.cli.output import console, print_json
    from agentcache.supervisor.preparation import database_errors

    with database_errors(settings):
        is_new = enqueue_back_fill()
    if as_json:
        print_json({"enqueued": is_new})
        return
    console().print("The job worker does it now." if is_new else "It is waiting to be done already.")
