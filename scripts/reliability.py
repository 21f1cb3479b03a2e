"""Write docs/reference/reliability.md: what is promised when things break, which tests hold it, what a run measured.

Tests, and suites that many of them inherit, are found by the scenario ids in their docstrings and in their calls of `record`, figures come from `reliability.jsonl`, which a test run
writes. A scenario without a line there keeps the figures that the page has.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeGuard

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "reliability.md"
RUN = ROOT / "reliability.jsonl"
NOTE = "<!-- Made by `scripts/reliability` from the tests and the last run's figures. Do not edit. -->"

#: Scenario id -> (what goes wrong, or what is asked; what is promised).
SCENARIOS: dict[str, tuple[str, str]] = {
    "C1": ("two requests that differ in one field", "different keys, unless the field is on the ignore list"),
    "C2": ("one JSON value in two spellings", "one key; strings byte for byte"),
    "C3": ("hostile JSON: duplicates, NaN, huge numbers, deep nesting", "400 with a stable code, nothing stored"),
    "C4": ("values that hold separators, or look like another tenant", "no two requests collide"),
    "C5": ("another hash seed, process or release", "the same keys, or a new key version"),
    "C6": ("code, pickles and absurd lengths planted in a store", "a miss and a removed row; nothing is executed"),
    "C7": ("bad endings: cut, refused, filtered, too long, invalid tool calls", "never stored, and no end is invented"),
    "C8": ("streams of every shape, cut anywhere on the wire", "a replay parses to the same object, streamed or plain"),
    "C9": ("many identical misses at once", "one upstream call"),
    "C10": ("the caller that leads hangs up", "the others get the answer, and it is stored"),
    "C11": ("the leading call fails", "one replacement at most; a failure is never stored"),
    "C12": ("a follower that reads slowly", "the others are not held up, and memory is bounded"),
    "C13": (
        "an answer past its lifetime, under load; its refresh fails, hangs, or two workers want it",
        "stale at once inside the window, one refresh, and an error after it",
    ),
    "C14": ("the clock jumps, back and by years, also during a refresh", "nothing immortal, no negative age"),
    "C15": ("an invalidation while a fill is under way", "the old answer never comes back"),
    "C16": (
        "an invalidation beside other workers; connections cut, or the worker killed before the rows are gone",
        "nothing old is served after the reply",
    ),
    "C17": (
        "near misses: a negation, an opposite, another number, unit, name, date, language; last turns alike after other turns",
        "at most 1 % of near misses are served in `safe`, and no conversation's answer to another",
    ),
    "C18": (
        "somebody of the team searches for a suffix that lets a planted answer meet others' questions",
        "at most 2 % of targets are met; other tenants are not reached at all",
    ),
    "C19": (
        "an embedder that changed, gives other dimensions or NaN, fails, or hangs",
        "no vector is better than a wrong one; two calls pay the budget, then none",
    ),
    "C20": (
        "`no-store`, ages, credentials, methods and ranges of callers; 304, moved documents and bad dates of watched sources",
        "as RFC 9110 and 9111 say, or refused in so many words",
    ),
    "C21": ("random histories of gets, puts, removals, expiry, restarts", "every store equals a dictionary"),
    "C22": ("more entries than fit, and a tenant that wants all room", "the bound holds; others keep their share"),
    "C23": ("every way in which a request can be answered", "the headers say which one it was"),
    "T1": ("fifty tenants ask the same things, with faults", "no answer, header or event crosses a tenant"),
    "T2": ("a tenant repeats another's request", "a miss, with an unrelated key"),
    "T4": ("the same vectors in two tenants, a crowd of others' nearer ones", "the filter comes before the search"),
    "T5": ("callers that give up at any moment, a slow store", "nobody gets a reply meant for another"),
    "T10": (
        "tenants with different provider keys, cookies from upstream",
        "the right credential each time, no cookies",
    ),
    "T11": ("cookies, proxy and hop-by-hop headers", "neither forwarded nor replayed"),
    "T12": ("keys and prompts in every request, failing ones too", "not in logs, metrics, errors or traces"),
    "T6": ("every route, by everybody who may not", "what the table says; a foreign id is a 404"),
    "T7": ("a role is lost while requests run", "lost for the next request"),
    "T8": ("members of a body that nobody may set", "refused or ignored, never stored"),
    "T9": ("ids of other teams, and ids that nobody has", "the same answer, in the same time"),
    "F1": ("processes killed while they write", "what was acknowledged is there, entries are whole"),
    "F3": ("an old SQLite library; several writers and checkpoints", "start is refused; the file stays sound"),
    "F4": ("the disk is full", "calls go on, and the store recovers by itself"),
    "F7": ("damaged files", "never a wrong value; the cache is set aside, records are refused with advice"),
    "F8": ("Redis is frozen", "every call is answered; the breaker opens and closes in time"),
    "F9": ("Redis refuses, loads, is full, or talks nonsense", "each is recognised, none hangs"),
    "F10": ("Redis is slow, the pool is empty", "callers go past it; that is not taken for an outage"),
    "F11": ("Redis comes back while hundreds wait", "one probe finds out"),
    "F12": ("an open breaker under load", "one log line per change of state"),
    "F15": ("a provider that never answers", "an error within the deadline that names the provider"),
    "F16": ("a provider that stalls or drips", "an error event, a closed connection, nothing stored"),
    "F17": ("garbage from a provider", "bounded memory, no reused connection, 502"),
    "F19": ("clients that vanish at any moment", "no call is left behind; the figures are right"),
    "F21": ("oversized and endless requests", "refused early, without being buffered"),
    "F23": (
        "a stop with open streams; a rolling restart",
        "streams end well or in an error event; no new request fails",
    ),
    "F24": ("watched pages that change at random, under load", "no answer from before an acknowledged change"),
    "F27": ("each fault, and the health endpoints", "they tell the truth"),
    "F28": (
        "migrations killed in every step; a former schema; a restore from a backup",
        "done anew; brought up; the same sums",
    ),
    "F29": ("configurations that cannot work", "one clear line, and nothing is written"),
    "A1": ("addresses with and without an account, at every door", "the same answer, in the same time"),
    "A2": ("passwords of every length and kind", "accepted or refused by length and by list, nothing else"),
    "A3": ("guessing, from one address and from many", "bounded at every door; the owner gets in"),
    "A4": ("hundreds of sign-ins at once", "two hashes at a time, a short queue, then 503; hits go on"),
    "A5": ("a stored hash as a password; hashes in answers", "refused; in no answer"),
    "A6": ("sessions that ended, were planted, or outlived their limits", "never accepted again"),
    "A7": (
        "mailed links, raced, replayed, late, built from a forged host",
        "one use, and links to our own address only",
    ),
    "A8": ("a stranger who claims an address first", "gets nothing when its owner comes"),
    "A9": ("almost right API keys", "refused, without asking the database"),
    "A10": ("credentials in several headers", "one resolver; what conflicts is refused"),
    "A11": ("SQL, markup, formats and log lines as input", "text, everywhere"),
    "A12": ("every route without a key, in every spelling", "closed, unless it is meant to be open"),
    "A13": ("codes and passkeys, replayed, early, late, foreign", "refused, and counted together"),
    "A14": ("what cannot be undone, with a sign-in of 16 minutes ago", "asks who it is"),
    "A15": ("databases, Redis, logs and files, after a run full of secrets", "no secret in clear"),
    "A16": ("invitations, replayed, late, of others, beyond the inviter's role", "refused"),
    "A17": ("a key, a session, a member ended, with two workers and with Redis gone", "refused everywhere within 5 s"),
    "E1": ("hostile text wherever somebody's words are taken", "shown as text on every page, in mails and in files"),
    "E2": ("every route, as everybody, refused or not", "every header; no loose policy"),
    "E3": ("requests that other sites make with somebody's cookie", "403, and nothing changes; keys are not concerned"),
    "E4": ("frames, windows and ways back that lead elsewhere", "nothing is framed, steered or led away"),
    "E5": ("what stays in a browser, also after signing out", "no secret and no page; “back” asks to sign in"),
    "E7": ("errors, slow and half answers, no network, an ended session", "a message, a way on, and what was written"),
    "E8": ("every page with the network closed but for us", "whole, and asks nobody else"),
    "E9": ("every refusal and error, for axe-core", "no serious finding, and a way on"),
    "S1": ("requests that users aim at every internal address", "no connection"),
    "S2": ("internal addresses in every spelling, and wrapped in others", "no connection"),
    "S3": ("a name that changes its address between look-ups", "the address that was judged, or none"),
    "S4": ("a name with public and internal addresses", "no connection"),
    "S5": ("redirects that lead inside", "no connection"),
    "S6": ("other ports and schemes", "no connection"),
    "S7": ("sources that are internal, closed or not there", "one and the same answer, and no connection"),
    "S9": (
        "answers and documents that are huge, endless, packed or broken",
        "a failed check in bounded time and memory",
    ),
    "S10": ("an address that was edited in the database", "judged when connecting: no connection"),
    "S11": ("a request that tries to move a credential to another host", "it never goes there"),
    "S12": ("an HTTP client outside the one door", "the checks fail"),
    "S13": ("a thousand listeners on one host", "one request a second"),
    "W1": ("our webhooks, checked by others' verifiers; every byte flipped", "valid ones pass, all others fail"),
    "W2": ("a webhook secret is replaced", "old and new sign for a day, without a gap"),
    "W3": ("the worker killed while it delivers", "each event arrives, under one id; nothing without its cause"),
    "W4": ("500 for days, 410, 429 with a time to wait", "10 tries over 75 h; told, then switched off; waited for"),
    "W5": ("receivers that hang and drip", "the others get theirs in the same time"),
    "W6": ("internal addresses and redirects as endpoints", "no connection; a redirect is a failure"),
    "W9": ("a webhook secret, after it was shown", "in no answer, page, log or record"),
    "L1": ("a changed hash, another index", "the installation fails"),
    "L7": ("credentials in files and history", "none"),
    "L8": ("pickle, eval, floats for money, raw clients", "the checks fail"),
    "L9": ("a server without a network", "it works, and never tries to leave the machine"),
}
_IDS = re.compile(r"\b([CTFAESWL])(\d{1,2})(?:\s*(?:-|–|to)\s*\1?(\d{1,2}))?\b")
_UNITS = {"ms": "ms", "seconds": "s", "us": "µs", "bytes": "bytes", "mib": "MiB", "percent": "%"}
_CASES_SHOWN = 3


def find_tests() -> dict[str, list[str]]:
    """Return scenario id -> test files whose docstrings name it, as paths below the project."""
    found: dict[str, list[str]] = {}
    suites = (ROOT / "tests/contract").glob("[!t]*.py")
    for path in sorted([*(ROOT / "tests").rglob("test_*.py"), *suites]):
        for scenario_id in set(_named(path)) & SCENARIOS.keys():
            found.setdefault(scenario_id, []).append(path.relative_to(ROOT).as_posix())
    return found


def _named(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [ast.get_docstring(tree) or ""]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            texts.append(ast.get_docstring(node) or "")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "record":
            texts += [str(part.value) for part in ast.walk(node) if _is_text(part)]
    for kind, first, last in _IDS.findall("\n".join(texts)):
        yield from (f"{kind}{number}" for number in range(int(first), int(last or first) + 1))


def _is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def read_run() -> tuple[dict[str, dict[str, dict[str, Any]]], list[str]]:
    """Return scenario id -> case -> its newest line, and the machines on which these were measured."""
    cases: dict[str, dict[str, dict[str, Any]]] = {}
    lines = RUN.read_text(encoding="utf-8").splitlines() if RUN.exists() else []
    for line in map(json.loads, lines):
        scenario_id, _, case = line["id"].partition(" ")
        # Figures that are words tell one case from another: which door, which way.
        words = [value for value in line["figures"].values() if isinstance(value, str)]
        line["figures"] = {name: value for name, value in line["figures"].items() if not isinstance(value, str)}
        cases.setdefault(scenario_id, {})[", ".join(filter(None, [case, *words]))] = line
    machines = {line["machine"] for by_case in cases.values() for line in by_case.values()}
    return cases, sorted(machines)


def figure(cases: dict[str, dict[str, Any]]) -> str:
    """Put the figures of a scenario's cases into one cell."""
    violations = sum(line["violations"] for line in cases.values())
    said = [f"{violations} violations" + (f" in {len(cases)} cases" if len(cases) > 1 else "")]
    if len(cases) <= _CASES_SHOWN:
        for case, line in cases.items():
            figures = ", ".join(_shown(name, [value]) for name, value in line["figures"].items())
            said.append(f"{case}: {figures}" if case and figures else figures or case)
    else:
        values: dict[str, list[Any]] = {}
        for line in cases.values():
            for name, value in line["figures"].items():
                values.setdefault(name, []).append(value)
        said.extend(_shown(name, found) for name, found in values.items())
    return "; ".join(filter(None, said))


def _shown(name: str, values: list[Any]) -> str:
    words = name.split("_")
    unit = next((_UNITS[word] for word in reversed(words) if word in _UNITS), "")
    title = " ".join(word for word in words if word not in _UNITS)
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) == len(values) and min(numbers) != max(numbers):
        amount = f"{_number(min(numbers))} to {_number(max(numbers))}"
    else:
        amount = " / ".join(dict.fromkeys(_number(value) if value in numbers else str(value) for value in values))
    return " ".join(filter(None, (title, amount, unit)))


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".")


def published() -> dict[str, str]:
    """Return scenario id -> the figures that the page has now."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    rows = re.findall(r"^\| ([A-Z]\d+) \|.*\| ([^|]*) \|$", text, re.MULTILINE)
    return {scenario_id: cell for scenario_id, cell in rows if cell != "–"}


def rows() -> Iterable[str]:
    """Return the rows of the table."""
    tests, known = find_tests(), published()
    cases, _ = read_run()
    for scenario_id, (fault, promise) in SCENARIOS.items():
        links = ", ".join(f"[{path.rpartition('/')[2]}](../../{path})" for path in tests.get(scenario_id, []))
        measured = figure(cases[scenario_id]) if scenario_id in cases else known.get(scenario_id, "–")
        yield f"| {scenario_id} | {fault} | {promise} | {links or '–'} | {measured} |"


def main() -> int:
    """Write the page."""
    _, machines = read_run()
    head = (
        "Each scenario is run by the test suite; a violation fails it. Figures are from the last published run; "
        "times of a shared machine are the worst that was seen, not a promise."
    )
    where = f"Measured on: {'; '.join(machines)}." if machines else _published_machine()
    table = ["| id | what happens | what is promised | tests | figures |", "| --- | --- | --- | --- | --- |", *rows()]
    parts = ["# Reliability", NOTE, head, where, "\n".join(table)]
    PAGE.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")
    return 0


def _published_machine() -> str:
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    found = re.search(r"^Measured on: .*$", text, re.MULTILINE)
    return found.group() if found else ""


if __name__ == "__main__":
    sys.exit(main())
