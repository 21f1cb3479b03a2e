"""Every setting: what it is, where it comes from, what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agentcache.cli.checks.finding import Finding, fail, ok
from agentcache.settings import SETTINGS, UPSTREAM_PREFIX, Settings, check_environ

PART = "settings"


def check_settings(environ: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """Return the settings, or None, and one finding for each setting or problem."""
    settings, problems = check_environ(environ)
    findings = [fail(PART, str(problem.param), *_split(problem.message)) for problem in problems]
    wrong = {problem.param for problem in problems}
    findings += [finding for finding in _rows(environ) if finding.check not in wrong]
    return settings, findings


def _rows(environ: Mapping[str, str]) -> Iterator[Finding]:
    for setting in SETTINGS:
        if setting.is_family:
            for name in sorted(name for name in environ if name.startswith(UPSTREAM_PREFIX)):
                if name not in {row.name for row in SETTINGS} and environ[name].strip():
                    yield ok(PART, name, environ[name].strip() if "@" not in environ[name] else "set")
            continue
        text = environ.get(setting.name, "").strip()
        if text:
            yield ok(PART, setting.name, "set" if setting.is_secret else text)
        elif setting.default:
            yield ok(PART, setting.name, f"{setting.default} (default)")
        else:
            yield ok(PART, setting.name, "not set")


def _split(message: str) -> tuple[str, str]:
    """Part a settings error into what is wrong and how to mend it, at the end of the first sentence."""
    wrong, _, mend = message.partition(". ")
    return wrong, mend
