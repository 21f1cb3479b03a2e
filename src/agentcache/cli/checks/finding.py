"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the report; `mend` says what to do and is empty where nothing is to be done."""

    part: str
    check: str
    verdict: Verdict
    found: str
    mend: str = ""


def ok(part: str, check: str, found: str) -> Finding:
    """Return a finding with nothing to do."""
    return Finding(part, check, Verdict.OK, found)


def warn(part: str, check: str, found: str, mend: str) -> Finding:
    """Return a finding that works, but should be looked at."""
    return Finding(part, check, Verdict.WARN, found, mend)


def fail(part: str, check: str, found: str, mend: str) -> Finding:
    """Return a finding that keeps the server from working."""
    return Finding(part, check, Verdict.FAIL, found, mend)


def skip(part: str, check: str, found: str, mend: str = "") -> Finding:
    """Return a finding of a check that could not be made, or was not asked for."""
    return Finding(part, check, Verdict.SKIP, found, mend)
