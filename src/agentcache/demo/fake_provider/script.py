"""What a test asks the fake provider to do wrong, or merely differently, for one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

#: Faults below the level of the API: what the bytes of the HTTP answer do.
Wire = Literal[
    "never-answer",  # accept the request, send nothing
    "garbage",  # bytes that are not HTTP
    "bad-chunk-length",  # a chunk-size line that is not hexadecimal
    "truncated-chunk",  # a chunk announced longer than what follows, then FIN
    "content-length-long",  # announces more bytes than it sends, then FIN
    "content-length-short",  # announces fewer bytes than it sends
    "cl-and-te",  # Content-Length and Transfer-Encoding together
    "huge-header",  # one header of 1 MB
    "continue-flood",  # 10,000 interim 100 answers, then the real one
    "gzip",  # correctly compressed
    "gzip-error",  # Content-Encoding: gzip over bytes that are not
    "gzip-bomb",  # 64 MiB of zeros in 64 KiB
    "endless",  # a body without end
    "invalid-utf8",  # a body or event with a byte that is not UTF-8
    "not-json",  # 200 with an HTML page
]


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one call goes. As JSON it is the value of `X-Fake-Script`. Times are seconds, `*_after` counts start at 0.

    In a plain (not streamed) answer the body counts as one chunk.
    """

    #: Answer with this status; outside 2xx the body is the dialect's own error.
    status: int = 200
    #: Replaces the dialect's error code (`insufficient_quota`, `overloaded_error`).
    code: str = ""
    #: Sent as `Retry-After`, as it stands: `0`, `3600`, a date or nonsense.
    retry_after: str = ""
    #: Added response headers, in order; names may repeat.
    headers: tuple[tuple[str, str], ...] = ()
    set_cookie: str = ""

    #: Wait before the status line.
    delay: float = 0.0
    #: Wait before every chunk.
    chunk_delay: float = 0.0
    #: Wait for `FakeProvider.release()` before the status line.
    hold: bool = False
    #: Wait for `FakeProvider.release()` after so many chunks.
    hold_after: int | None = None
    #: Send nothing more after so many chunks, until the client goes away.
    stall_after: int | None = None

    fin_after_chunks: int | None = None
    fin_after_bytes: int | None = None
    rst_after_chunks: int | None = None
    rst_after_bytes: int | None = None
    wire: Wire | None = None

    #: Leave out `[DONE]`, `message_stop`, `response.completed`; the body still ends cleanly.
    no_terminal: bool = False
    #: Every choice keeps `finish_reason: null`, `stop_reason: null`.
    no_finish_reason: bool = False
    #: `length`, `content_filter`, `max_tokens`, `refusal`, `pause_turn`, ...
    finish_reason: str = ""
    #: Replace everything after so many events by the dialect's error event.
    error_after: int | None = None
    #: A tool call whose arguments are cut off in the middle.
    bad_tool_json: bool = False
    #: Make so many tool calls instead of one.
    tool_calls: int | None = None
    #: Answer with exactly this text.
    text: str | None = None
    #: Answer with the request's headers, as JSON text.
    echo_headers: bool = False
    refusal: str = ""
    #: So many input tokens are reported as read from the provider's prompt cache.
    cached_tokens: int = 0

    #: Final state of a prediction, and how long it takes to get there.
    prediction_status: Literal["succeeded", "failed", "canceled", "aborted"] = "succeeded"
    prediction_seconds: float | None = None
    #: Exactly this prediction output.
    output: Any = None
    #: Seconds until files of this prediction are gone.
    file_lifetime: float | None = None

    @property
    def changes_bytes(self) -> bool:
        """Whether sending needs more than writing the whole answer at once."""
        return bool(
            self.wire
            or self.delay
            or self.chunk_delay
            or self.hold
            or self.hold_after is not None
            or self.stall_after is not None
            or self.fin_after_chunks is not None
            or self.fin_after_bytes is not None
            or self.rst_after_chunks is not None
            or self.rst_after_bytes is not None
        )


PLAIN = Script()
_decoder = msgspec.json.Decoder(Script)


def parse_script(text: str) -> Script:
    """Read the value of `X-Fake-Script`. Raises `ValueError` that names the member at fault."""
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"X-Fake-Script: {error}") from error


@dataclass(slots=True)
class Queued:
    """A script waiting for the calls it is meant for."""

    script: Script
    #: How many calls it still serves; None for all.
    remaining: int | None
    matches: Callable[[Any], bool]
