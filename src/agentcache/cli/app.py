"""The commands and how their errors reach the terminal. Each command imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from agentcache.cli import cache_invalidate, demo, doctor, keys, operate, operators, serve, usage
from agentcache.cli.exit_codes import exit_code_of
from agentcache.cli.output import print_error
from agentcache.kit.errors import AgentCacheError


class OneLineErrors(TyperGroup):
    """Turns our errors into one line and an exit code; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except AgentCacheError as error:
            print_error(error.message)
            raise typer.Exit(exit_code_of(error)) from None


app = typer.Typer(
    cls=OneLineErrors,
    name="agentcache",
    help="A cache for AI API calls: run it, look after it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("worker")(operate.worker)
app.command("migrate")(operate.migrate)
app.add_typer(keys.app, name="keys")
app.add_typer(cache_invalidate.app, name="cache")
app.add_typer(operators.app, name="operators")
app.add_typer(usage.app, name="usage")
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


@app.command("version")
def version(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the version of AgentCache and of the libraries that hold your records."""
    from agentcache.cli.versions import versions

    found = versions()
    if as_json:
        from agentcache.cli.output import print_json

        print_json(found)
        return
    for name, text in found.items():
        typer.echo(f"{name} {text}")
