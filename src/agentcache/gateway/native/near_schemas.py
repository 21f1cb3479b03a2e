"""What the native API takes and gives about near questions."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType


class FeedbackRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A verdict on an answer to a near question: of the request that got it, or of the entry that gave it."""

    verdict: Annotated[
        Literal["wrong", "right"],
        Meta(description="wrong: the entry answers no near question any more, from now on and for every worker."),
    ]
    request_id: (
        Annotated[str, Meta(min_length=1, max_length=128, description="X-AgentCache-Request-Id of the answer.")]
        | UnsetType
    ) = UNSET
    key: (
        Annotated[
            str,
            Meta(pattern="^[0-9a-fA-F]{64}$", description="X-AgentCache-Matched of the answer: the entry's key."),
        ]
        | UnsetType
    ) = UNSET
    note: Annotated[str, Meta(max_length=1000, description="What was wrong, for people.")] = ""


class FeedbackReply(msgspec.Struct, kw_only=True):
    """What became of a verdict."""

    id: str
    key: Annotated[str, Meta(description="The entry that answered.")]
    verdict: str
    quarantined: Annotated[bool, Meta(description="Whether the entry answers its own question only, by this verdict.")]


class NearReason(msgspec.Struct, kw_only=True):
    """A difference of two questions, and by how much log-odds it moved the score."""

    feature: str
    value: float
    effect: float


class NearCandidate(msgspec.Struct, kw_only=True):
    """A stored question near the one that is asked about."""

    key: str
    question: str
    similarity: Annotated[
        float,
        Meta(description="Cosine of both questions' vectors; of another embedder on the scale of the built-in one."),
    ]
    score: Annotated[float, Meta(description="The verifier's, 0 to 1; 0 where a veto came first.")]
    verifier: str
    veto: Annotated[str, Meta(description="What differs that no likeness outweighs; empty for nothing.")]
    risk: (
        Annotated[
            float, Meta(description="How likely it is to want another answer, 0 to 1, by the namespace's evidence.")
        ]
        | None
    )
    agreement: (
        Annotated[
            float,
            Meta(
                description="Which share of the nearest eight is known to have its answer, 0 to 1, each by how near it is; "
                "null where both are the same question."
            ),
        ]
        | None
    )
    trap: Annotated[
        str, Meta(description="What differs that no evidence opens below the balanced threshold; empty for nothing.")
    ]
    verdict: Annotated[
        str,
        Meta(
            description="answers: served in this place; outranked: not the best; below: the score or the cosine is; risky: "
            "the risk is above its limit; trap: it differs in what no evidence opens; veto.",
            extra_json_schema={"enum": ["answers", "outranked", "below", "risky", "trap", "veto"]},
        ),
    ]
    features: dict[str, float]
    reasons: list[NearReason]


class NearExplained(msgspec.Struct, kw_only=True):
    """What near questions come to for a request."""

    result: Annotated[str, Meta(description="A word as in the header X-AgentCache-Semantic.")]
    reason: (
        Annotated[
            str,
            Meta(
                description="Why the request takes no part, or why nothing is served by the embedder: uncalibrated, unfit-embedder."
            ),
        ]
        | None
    )
    mode: str
    threshold: (
        Annotated[
            float, Meta(description="Least score that answers; the floor under the risk where there is a limit to it.")
        ]
        | None
    )
    risk_limit: (
        Annotated[float, Meta(description="Highest risk that answers; null where the threshold alone decides.")] | None
    )
    target: Annotated[float, Meta(description="Share of wrong hits that is aimed at.")]
    candidates: list[NearCandidate]
