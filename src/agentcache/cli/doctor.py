"""`agentcache doctor`: looks at every setting, store and port, and says how to mend what is wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from agentcache.cli.checks.finding import Finding, Verdict
from agentcache.cli.exit_codes import ExitCode

_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red", Verdict.SKIP: "dim"}


def doctor(
    network: Annotated[
        bool, typer.Option("--network", help="Also connect to each provider (TCP and TLS only).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every setting, store and port, and say how to mend each. Exit code 1 when a check failed. Changes nothing."""
    findings = examine(network=network)
    failed = sum(finding.verdict is Verdict.FAIL for finding in findings)
    if as_json:
        from agentcache.cli.output import print_json

        rows = [
            {"part": f.part, "check": f.check, "verdict": f.verdict.value, "found": f.found, "mend": f.mend}
            for f in findings
        ]
        print_json({"ok": failed == 0, "findings": rows})
    else:
        _print(findings, failed)
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def examine(*, network: bool) -> list[Finding]:
    """Make every check and return what was found, in the order in which one would mend it."""
    from agentcache.cli.checks.machine import check_machine, check_ports
    from agentcache.cli.checks.mails import check_mails
    from agentcache.cli.checks.network import check_upstreams, is_our_server
    from agentcache.cli.checks.semantic import check_semantic
    from agentcache.cli.checks.settings import check_settings
    from agentcache.cli.checks.stores import check_stores
    from agentcache.settings import environ_with

    settings, findings = check_settings(environ_with({}))
    if settings is None:
        return findings
    findings += check_machine(settings)
    findings += check_ports(settings, is_ours=is_our_server(settings))
    findings += check_stores(settings)
    findings += check_semantic(settings, network=network)
    findings += check_mails(settings)
    findings += check_upstreams(settings, network=network)
    return findings


def _print(findings: list[Finding], failed: int) -> None:
    from rich.text import Text

    from agentcache.cli.output import console, print_table

    for part in dict.fromkeys(finding.part for finding in findings):
        rows = [
            (Text(f.verdict.value, style=_STYLES[f.verdict]), f.check, Text("\n".join(filter(None, (f.found, f.mend)))))
            for f in findings
            if f.part == part
        ]
        print_table(part, ("", "check", "found"), rows, empty="")
    warned = sum(finding.verdict is Verdict.WARN for finding in findings)
    summary = f"{len(findings)} checks: {failed} failed, {warned} to look at."
    console().print(f"[bold red]{summary}[/]" if failed else f"[green]{summary}[/]")
