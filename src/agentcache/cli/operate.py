"""`agentcache worker` and `agentcache migrate`: the parts of `serve`, for installations on many machines."""

from __future__ import annotations

from typing import Annotated

import typer


def worker() -> None:
    """Run one more job worker against the same database. Ctrl-C or SIGTERM lets running jobs end."""
    from agentcache.settings import Settings
    from agentcache.supervisor.private_memory import keep_memory_private
    from agentcache.supervisor.worker import run_worker

    settings = Settings.load()
    keep_memory_private(settings)
    run_worker(settings)


def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Change nothing; print what would be applied.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring the database up to date. `serve` does it by itself; this is for running it apart, before an upgrade."""
    from agentcache.cli.output import console, print_json
    from agentcache.settings import Settings
    from agentcache.supervisor.preflight import preflight
    from agentcache.supervisor.preparation import database_errors, open_control_plane

    settings = Settings.load()
    preflight(settings)
    open_control_plane(settings)
    from agentcache.web import schema

    with database_errors(settings):
        names = schema.schema_state().pending if plan else schema.migrate()
    if as_json:
        print_json({"pending" if plan else "applied": list(names)})
        return
    verb = "would be applied" if plan else "applied"
    for name in names:
        console().print(f"{name} {verb}")
    if not names:
        console().print("The database is up to date.")
