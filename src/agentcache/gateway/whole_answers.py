"""Reading an upstream's plain answer to its end, for what has to be understood before it can be passed on."""

from __future__ import annotations

import msgspec

from agentcache.gateway.calls import Head
from agentcache.kit.egress.upstream import UpstreamResponse
from agentcache.kit.errors import UpstreamInvalid
from agentcache.kit.inflating import Cut, Damaged, TooLarge, Window, inflate
from agentcache.providers.dialect import Json

#: Set by what stands before a provider, on the first answer of every connection: OpenAI's and Anthropic's come through
#: Cloudflare, so a cache that took these for a person's would store nothing of theirs.
_BALANCER_COOKIES = frozenset(
    b"""__cf_bm _cfuvid __cflb __cfruid __cfseq awsalb awsalbcors awsalbtg awsalbtgcors gclb arraffinity
    arraffinitysamesite""".split()
)


class AnswerTooLarge(UpstreamInvalid):
    """The provider's answer is larger than what can be taken apart here."""

    code = "upstream_answer_too_large"


async def read_whole(response: UpstreamResponse, limit: int) -> tuple[Head, bytes]:
    """Return head and body (at most `limit` bytes, gzip and deflate undone) and give the connection back."""
    try:
        pieces: list[bytes] = []
        size = 0
        async for piece in response.chunks():
            size += len(piece)
            if size > limit:
                raise AnswerTooLarge(f"The provider's answer exceeds {limit} bytes.")
            pieces.append(piece)
    finally:
        await response.aclose()
    body = b"".join(pieces)
    return decompressed(body, Head(response.status, response.headers, streamed=False), limit)


def decompressed(body: bytes, head: Head, limit: int) -> tuple[Head, bytes]:
    """Undo gzip and deflate, within bounds; anything else stays as it is. Raises `UpstreamInvalid`."""
    coding = next((value for name, value in head.headers if name.lower() == b"content-encoding"), b"").lower()
    if coding not in (b"gzip", b"x-gzip", b"deflate"):
        return head, body
    try:
        plain = inflate(body, limit, Window.ZLIB if coding == b"deflate" else Window.EITHER)
    except Damaged:
        raise UpstreamInvalid("The provider's compressed answer is damaged.") from None
    except (Cut, TooLarge):
        raise UpstreamInvalid("The provider's compressed answer is cut or far too large.") from None
    headers = [pair for pair in head.headers if pair[0].lower() != b"content-encoding"]
    return Head(head.status, headers, head.streamed), plain


def decoded_object(body: bytes) -> Json | None:
    """Return the JSON object that `body` holds, or None."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return answer if type(answer) is dict else None


def sets_cookie(head: Head) -> bool:
    """Say whether the answer carries a cookie that marks it as one person's; balancers' cookies mark nobody."""
    return any(
        name.lower() == b"set-cookie" and value.partition(b"=")[0].strip().lower() not in _BALANCER_COOKIES
        for name, value in head.headers
    )
