"""Judges of namespaces: keep them, take them away."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from django.db import transaction
from django.utils import timezone

from agentcache.audit.services import Actor
from agentcache.engine.semantic.embedders.port import SemanticNotInstalled
from agentcache.prewarm.errors import CredentialMissing
from agentcache.prewarm.probing import dialects_of, find_dialect
from agentcache.prewarm.queries import find_credential
from agentcache.providers.dialect import Usage
from agentcache.providers.prices import Prices
from agentcache.providers.registry import build_dialects
from agentcache.semantics.drafts import JudgeDraft, checked_judge, checked_namespace
from agentcache.semantics.errors import InvalidJudge, JudgeChanged, JudgeNotFound, JudgePriceUnknown, TooManyNamespaces
from agentcache.semantics.judge_prompt import judge_endpoint
from agentcache.semantics.measuring import missing
from agentcache.semantics.models import Judge
from agentcache.semantics.services.noting import note_change
from agentcache.semantics.services.settings import NAMESPACES_MAX
from agentcache.settings import Settings
from agentcache.teams.models import Team
from agentcache.teams.secrets import current_settings
from agentcache.teams.tenancy import rows_of

#: About one pair; whether there is a price does not hang on it.
_ONE_PAIR: Final = Usage(1_000, 16)


def save_judge(team: Team, namespace: str, draft: JudgeDraft, *, actor: Actor, based_on: int | None = None) -> Judge:
    """Keep a namespace's judge in place of its former one; what held it up is forgotten.

    Raises `InvalidJudge`, `UnknownProvider`, `CredentialMissing`, `JudgePriceUnknown`, `SemanticNotInstalled`, `TooManyNamespaces`,
    and `JudgeChanged` where `based_on`, the revision that the caller has seen (0 for none), is not the one in force.
    """
    namespace, draft = checked_namespace(namespace), checked_judge(draft)
    if draft.is_on:
        _check_usable(team, draft)
    with transaction.atomic():
        locked = Team.objects.select_for_update().get(pk=team.pk)
        row = rows_of(locked, Judge).filter(namespace=namespace).first()
        if based_on is not None and based_on != (row.revision if row is not None else 0):
            raise JudgeChanged
        former = None if row is None else JudgeDraft.of(row)
        if row is None:
            if rows_of(locked, Judge).count() >= NAMESPACES_MAX:
                raise TooManyNamespaces
            row = Judge(team=locked, namespace=namespace)
        elif former != draft:
            row.revision += 1
        row.is_on, row.provider, row.model = draft.is_on, draft.provider, draft.model
        row.daily_budget_usd_nanos = draft.daily_budget_usd_nanos
        row.held_until, row.failures = None, 0
        if former != draft:
            row.changed_at, row.changed_by = timezone.now(), actor.shown
            note_change("semantics.judge_changed", row, actor, before=former, after=draft)
        row.save(force_insert=former is None)
    return row


def remove_judge(team: Team, namespace: str, *, actor: Actor) -> None:
    """Leave a namespace to the judge of every other one. What was spent today stays spent. Raises `JudgeNotFound`."""
    with transaction.atomic():
        row = rows_of(team, Judge).select_for_update().filter(namespace=namespace).first()
        if row is None:
            raise JudgeNotFound(param="namespace")
        note_change("semantics.judge_removed", row, actor, before=JudgeDraft.of(row), after=None)
        row.delete()


def judge_providers(settings: Settings) -> list[str]:
    """Return the providers of this server whose models can be asked for a verdict, by name."""
    return sorted(name for name, dialect in dialects_of(settings).items() if judge_endpoint(dialect) is not None)


def _check_usable(team: Team, draft: JudgeDraft) -> None:
    if problem := missing():
        raise SemanticNotInstalled(problem, param="is_on")
    settings = current_settings()
    dialect = find_dialect(settings, draft.provider)
    if judge_endpoint(dialect) is None:
        raise InvalidJudge(f"provider: models of {dialect.name} cannot be asked for a verdict.", param="provider")
    if find_credential(team, draft.provider) is None:
        raise CredentialMissing(f"The team keeps no credential for {draft.provider}.", param="provider")
    prices = _prices(settings.prices_file, tuple(sorted(settings.upstreams.items())))
    if prices.cost_nanos(draft.provider, draft.model, _ONE_PAIR, timezone.now().timestamp()) is None:
        raise JudgePriceUnknown(param="model")


@lru_cache(8)
def _prices(own_prices: Path | None, upstreams: tuple[tuple[str, str], ...]) -> Prices:
    return Prices(own_prices, build_dialects(dict(upstreams)))
