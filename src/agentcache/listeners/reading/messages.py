"""What the two sides of the reader say to each other: MessagePack, each message behind its length in 4 bytes."""

from __future__ import annotations

from typing import Final

import msgspec

#: A document is bounded by the door it came through, a reading by `TEXT_CHARS_MAX`; this is for both and a margin.
MESSAGE_BYTES_MAX: Final = 32 * 1024 * 1024
LENGTH_BYTES: Final = 4
#: Kinds of documents, and what people call one.
DOCUMENT_KINDS: Final = {
    "html": "a web page", "json": "JSON", "text": "plain text", "pdf": "a PDF", "feed": "a feed", "sitemap": "a sitemap",
}  # fmt: skip


class ReadDocument(msgspec.Struct, tag="document", frozen=True):
    """Say what a document holds."""

    url: str
    content_type: str
    body: bytes
    #: CSS selector, or JSON path when it begins with `$`; "" for the whole document.
    selector: str = ""


class CompareTexts(msgspec.Struct, tag="texts", frozen=True):
    """Say what differs between two readings."""

    before: str
    after: str
    #: Whether each line is an item of its own, with its URL at the beginning.
    is_list: bool = False


class JudgeRobots(msgspec.Struct, tag="robots", frozen=True):
    """Say what a robots.txt lets an agent fetch."""

    text: str
    url: str
    agent: str


class CheckSelector(msgspec.Struct, tag="selector", frozen=True):
    """Say whether a selector means anything."""

    selector: str


class Reading(msgspec.Struct, tag="reading", frozen=True):
    """What a document says."""

    #: One of `DOCUMENT_KINDS`.
    kind: str
    #: At most `TEXT_CHARS_MAX` of it, but whole for lists; `digest` is of all.
    text: str
    digest: bytes
    is_list: bool = False
    #: URLs of the sitemaps that an index of sitemaps names.
    parts: list[str] = []


class Difference(msgspec.Struct, tag="difference", frozen=True):
    """What changed between two readings."""

    #: Lines that begin with `+`, `-`, a blank, or `@@` where lines are left out; at most `DIFF_CHARS_MAX`.
    diff: str
    added: int
    removed: int
    #: URLs of items that came, went or changed; for lists only.
    items: list[str] = []


class Verdict(msgspec.Struct, tag="verdict", frozen=True):
    """What a robots.txt says of one URL."""

    is_allowed: bool
    #: Seconds that it wants between two requests, 0 when it says nothing.
    delay_seconds: float = 0.0


class Unreadable(msgspec.Struct, tag="unreadable", frozen=True):
    """The document, or the selector, is of no use; `reason` is for people."""

    reason: str


Question = ReadDocument | CompareTexts | JudgeRobots | CheckSelector
Answer = Reading | Difference | Verdict | Unreadable

encode: Final = msgspec.msgpack.Encoder().encode
decode_question: Final = msgspec.msgpack.Decoder(Question).decode
decode_answer: Final = msgspec.msgpack.Decoder(Answer).decode
