"""What a reply says of a near question: headers on hits, and on answers from the provider why it was none."""

from __future__ import annotations

from agentcache.engine.semantic.verifier import Verifier
from agentcache.gateway.asgi_types import HeaderList
from agentcache.gateway.semantic.looking import NORMALISED, Candidate, Look


def hit_detail(candidate: Candidate) -> str:
    """Return the `detail` of `Cache-Status`, which is the usage event's reason too."""
    return "semantic-normalised" if candidate.verifier == NORMALISED else "semantic"


def near_headers(look: Look, candidate: Candidate, verifier: Verifier) -> HeaderList:
    """Return the headers that tell of the neighbour whose answer is served."""
    reasons = ", ".join(
        f"{name}={value:.4g};effect={effect:.4g}" for name, value, effect in candidate.reasons(verifier)
    )
    return [
        (b"x-agentcache-semantic", result_value("hit", look, candidate)),
        (b"x-agentcache-similarity", b"%.4f" % candidate.cosine),
        (b"x-agentcache-score", b"%.4f" % candidate.score),
        (b"x-agentcache-matched", candidate.key.hex().encode()),
        (b"x-agentcache-reasons", reasons.encode()),
    ]


def passed_headers(look: Look, result: str) -> HeaderList:
    """Return the headers of an answer that came from the provider although the tier was asked."""
    nearest = look.found or (look.candidates[0] if look.candidates else None)
    headers: HeaderList = [(b"x-agentcache-semantic", result_value(result, look, nearest))]
    if nearest is not None:
        headers.append((b"x-agentcache-similarity", b"%.4f" % nearest.cosine))
        headers.append((b"x-agentcache-score", b"%.4f" % nearest.score))
    return headers


def result_value(result: str, look: Look, candidate: Candidate | None) -> bytes:
    """Return the value of `X-AgentCache-Semantic` in replies: a word of `RESULTS`, and what it was measured by."""
    word, _, reason = result.partition(":")
    reason = reason or look.held
    value = f"{word}; mode={look.asking.mode}"
    if reason:
        value += f"; reason={reason}"
    if candidate is not None:
        value += f"; threshold={look.threshold:.4g}; verifier={candidate.verifier}"
        if candidate.risk is not None and look.risk_limit is not None:
            value += f"; risk={candidate.risk:.4f}; risk-limit={look.risk_limit:.4f}"
        if candidate.veto:
            value += f"; veto={candidate.veto}"
    return value.encode("ascii", "replace")
