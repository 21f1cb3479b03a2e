"""Near questions in the native API: verdicts on answers, and what `explain` says of neighbours."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from agentcache.engine.entries import EntryMeta
from agentcache.engine.semantic.embedders.port import EmbedderUnavailable
from agentcache.engine.semantic.index.port import IndexUnavailable
from agentcache.engine.semantic.settings import NOTHING_ASKED, SemanticMode, parse_asked, settings_for
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.gateway.native.exchange import Exchange, InvalidMember
from agentcache.gateway.native.near_schemas import (
    FeedbackReply,
    FeedbackRequest,
    NearCandidate,
    NearExplained,
    NearReason,
)
from agentcache.gateway.native.targets import Target
from agentcache.gateway.semantic.learning import Filled
from agentcache.gateway.semantic.looking import Asking, Candidate, Look
from agentcache.gateway.semantic.tier import SemanticTier
from agentcache.kit.errors import NotFound
from agentcache.providers.dialect import Json

_BODY_BYTES_MAX: Final = 64 * 1024
#: Somebody who wants an explanation waits longer than a call does.
_EXPLAIN_SECONDS: Final = 5.0


class NearAnswerUnknown(NotFound):
    """No answer to a near question is known under this id or key; one of just now may take a few seconds to be known."""

    code = "near_answer_unknown"


async def give_feedback(exchange: Exchange) -> None:
    """Answer `POST /api/cache/feedback`: what is reported as wrong answers no near question any more."""
    asked = await exchange.read(FeedbackRequest, _BODY_BYTES_MAX)
    if (asked.key is UNSET) == (asked.request_id is UNSET):
        raise InvalidMember("Give either the key or the request_id of the answer.", param="key")
    tier, principal = exchange.parts.semantic, exchange.principal
    if not isinstance(tier, SemanticTier):
        raise NearAnswerUnknown
    is_right = asked.verdict == "right"
    request_id = "" if asked.request_id is UNSET else asked.request_id
    served = tier.recent.find(principal.tenant.id, request_id)
    if served is not None:
        key = served.entry_key
    elif asked.key is not UNSET:
        key = bytes.fromhex(asked.key)
    else:
        key = await _entry_of(exchange, request_id)
    entry = (await exchange.parts.entries.get(principal.tenant, key)).entry
    if entry is None and served is None and not request_id:
        raise NearAnswerUnknown
    if not is_right:
        await tier.index.quarantine(principal.tenant, key, until=None, reason="reported")
    event = tier.report(
        principal,
        key,
        request_id=request_id,
        served=served,
        meta=entry.meta if entry is not None else None,
        is_right=is_right,
        note=asked.note,
    )
    await exchange.reply(FeedbackReply(id=event.id, key=key.hex(), verdict=asked.verdict, quarantined=not is_right))


async def _entry_of(exchange: Exchange, request_id: str) -> bytes:
    """Return the key of the entry that answered a request of the team, by the usage that was recorded."""
    found: str | None = None
    if exchange.totals is not None:
        found = await exchange.totals.near_answer(exchange.principal.tenant.id, request_id)
    if not found:
        raise NearAnswerUnknown
    return bytes.fromhex(found)


async def explain_near(exchange: Exchange, target: Target, headers: dict[str, str]) -> NearExplained | None:
    """Return what near questions come to for a request; None where its namespace has them off."""
    asking = _asking(exchange, target, headers)
    if asking is None or target.bypass is not None:
        return None
    tier = exchange.parts.semantic
    if not isinstance(tier, SemanticTier):
        return _explained(Look(asking, "not_installed"), None)
    if asking.mode is SemanticMode.OFF:
        return _explained(Look(asking, "off"), None)
    try:
        look = await tier.look(asking, _EXPLAIN_SECONDS)
    except (EmbedderUnavailable, IndexUnavailable, StoreUnavailable) as error:
        return _explained(Look(asking, f"skipped:{error.code}"), None)
    return _explained(look, tier)


def learn_placed(exchange: Exchange, target: Target, answer: Json, meta: EntryMeta, headers: dict[str, str]) -> None:
    """Have the question of a placed answer learned, under the rules of answers that are fetched. Never waits."""
    asking = _asking(exchange, target, headers)
    if asking is None or target.endpoint is None:
        return
    filled = Filled(
        tenant=exchange.principal.tenant,
        api_key_id=exchange.principal.api_key_id,
        namespace=target.namespace,
        request_id=exchange.request_id,
        dialect=target.dialect_name,
        model=target.model,
        endpoint=target.endpoint,
        key=target.key,
        answer=answer,
        meta=meta,
    )
    exchange.parts.semantic.placed(filled, asking)


def _asking(exchange: Exchange, target: Target, headers: dict[str, str]) -> Asking | None:
    """Return what a request asks the tier; None where its namespace has near questions off."""
    principal, policy = exchange.principal, target.policy
    allowed = policy.semantic if policy is not None else None
    settings = settings_for(principal.semantics, target.namespace, allowed)
    if settings.mode is SemanticMode.OFF:
        return None
    assert target.material is not None and target.endpoint is not None and target.request is not None
    given = next((value for name, value in headers.items() if name.lower() == "x-agentcache-semantic"), None)
    return Asking(
        tenant=principal.tenant,
        settings=settings,
        endpoint=target.endpoint.name,
        body=target.request,
        material=target.material,
        key=target.key,
        asked=(parse_asked(given) if given is not None else None) or NOTHING_ASKED,
    )


def _explained(look: Look, tier: SemanticTier | None) -> NearExplained:
    result, _, reason = look.result.partition(":")
    settings = look.asking.settings
    return NearExplained(
        result=result,
        reason=reason or look.held or None,
        mode=str(look.asking.mode),
        threshold=look.threshold if tier is not None else None,
        risk_limit=look.risk_limit,
        target=settings.target,
        candidates=[_candidate(one, look, tier) for one in look.candidates] if tier is not None else [],
    )


def _candidate(candidate: Candidate, look: Look, tier: SemanticTier) -> NearCandidate:
    verdict = "answers" if candidate is look.found else look.why_not(candidate, tier.verifier) or "outranked"
    return NearCandidate(
        key=candidate.key.hex(),
        question=candidate.question,
        similarity=round(candidate.cosine, 4),
        score=round(candidate.score, 4),
        verifier=candidate.verifier,
        veto=candidate.veto,
        risk=round(candidate.risk, 4) if candidate.risk is not None else None,
        agreement=round(candidate.agreement, 4) if candidate.agreement is not None else None,
        trap=candidate.trap,
        verdict=verdict,
        features={name: round(value, 4) for name, value in candidate.named_features().items()},
        reasons=[
            NearReason(feature=name, value=round(value, 4), effect=round(effect, 4))
            for name, value, effect in candidate.reasons(tier.verifier)
        ],
    )
