"""The command `agentcache`: runs a server and looks after it."""

from __future__ import annotations


def main() -> None:
    """Run the command line and leave the process with one of `exit_codes.ExitCode`."""
    from agentcache.cli.app import app

    app(prog_name="agentcache")
