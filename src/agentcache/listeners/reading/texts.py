"""Text made comparable: one form for blanks, and nothing that changes although nothing has changed."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

#: So much of a reading is kept to show what changed; the digest is of the whole.
TEXT_CHARS_MAX: Final = 100_000
#: Items of a feed, addresses of a sitemap.
ITEMS_MAX: Final = 10_000
_DIGEST_BYTES: Final = 16
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DATE = rf"(?:\d{{4}}-\d\d-\d\d|\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}|\d{{1,2}}\.? {_MONTHS},? \d{{4}}|{_MONTHS} \d{{1,2}},? \d{{4}})"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?[ap]\.?m\.?)?(?: ?(?:z|utc|gmt|[ce]e?s?t|[+-]\d\d:?\d\d))?"
_MOMENT = rf"{_DATE}(?:t|,? (?:at )?){_CLOCK}(?![\w:])"
#: What tells when a page was made or looked at, not what it says. A date alone stays, it may be what the page is about.
_TIMES: Final = re.compile(
    "|".join(
        (
            _MOMENT,
            rf"\b(?:last )?(?:updated?|modified|refreshed|generated|rendered|checked|retrieved)(?: (?:at|on))?:? ?(?:{_MOMENT}|{_DATE}|{_CLOCK}(?![\w:]))",
            r"\b(?:\d{1,6}|an?|one|a few|just) (?:seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?) ago\b",
            r"\b(?:generated|rendered|served|loaded) in \d{1,6}(?:[.,]\d{1,9})? ?(?:ms|s|secs?|seconds?)\b",
            r"(?:©|\(c\)|copyright) ?(?:\d{4} ?[–-] ?)?\d{4}\b",
        )
    ),
    re.IGNORECASE,
)
#: How often something was looked at, liked, or talked about.
_COUNTS: Final = re.compile(
    r"\b\d{1,3}(?:[,.\u202f ]?\d{3}){0,4}(?:[.,]\d)?[km]? (?:views?|likes?|shares?|comments?|online|readers?|followers?)\b",
    re.IGNORECASE,
)
#: What every line that one of the two could change holds: asking for these first makes most lines cost nothing.
_SIGNS_OF_TIME: Final = (
    ":", " ago", "updat", "modified", "refreshed", "generated", "rendered", "checked", "retrieved", "served", "loaded",
    "©", "(c)", "copyright",
)  # fmt: skip
_SIGNS_OF_COUNTS: Final = ("view", "like", "share", "comment", "online", "reader", "follower")
_BLANKS: Final = re.compile(r"[^\S\n]+")


def comparable(text: str) -> str:
    """Return a text without times and counters, NFC, one blank between words, no empty lines."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    lines = (_lasting(line).strip() for line in _BLANKS.sub(" ", text).split("\n"))
    return "\n".join(line for line in lines if line and (any(map(str.isalnum, line)) or _is_sign(line)))


def _lasting(line: str) -> str:
    lowered = line.lower()
    if any(sign in lowered for sign in _SIGNS_OF_TIME):
        line = _TIMES.sub("", line)
    if any(sign in lowered for sign in _SIGNS_OF_COUNTS):
        line = _COUNTS.sub("", line)
    return line


def plain(text: str) -> str:
    """Return a text of which every word counts: line ends in one form, no blanks at the ends of lines."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def storable(text: str) -> str:
    """Return a text that every database takes: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def digest(text: str) -> bytes:
    """Return what two equal texts share."""
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def body_digest(body: bytes) -> bytes:
    """Return what two equal documents share."""
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _is_sign(line: str) -> bool:
    """Whether a line without letters and digits still says something: ✓ in a table, an emoji."""
    return any(unicodedata.category(char) in {"So", "Sm", "Sc"} for char in line)
