"""Figures of near questions by day, and how many of a namespace are decided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date

from django.db.models import F

from agentcache.semantics.models import DayFigures, EventKind, Evidence, NearQuestion


def count(rows: Iterable[NearQuestion]) -> None:
    """Add near questions to the figures of their days, and to what their namespaces have decided."""
    _add((row, _figures(row)) for row in rows)


def count_verdict(row: NearQuestion) -> None:
    """Add what was decided of a near question that was counted while it was undecided."""
    _add([(row, _decided_figures(row))])


def _add(counted: Iterable[tuple[NearQuestion, dict[str, int]]]) -> None:
    days: dict[tuple[str, str, date], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    decided: dict[tuple[str, str], int] = defaultdict(int)
    for row, figures in counted:
        sums = days[row.team_id, row.namespace, row.at.astimezone(UTC).date()]
        for name, value in figures.items():
            sums[name] += value
        decided[row.team_id, row.namespace] += row.is_decided
    # In one order, so that two that count at once wait for each other and do not block each other.
    for (team_id, namespace, day), sums in sorted(days.items(), key=lambda item: [str(part) for part in item[0]]):
        found, _ = DayFigures.objects.get_or_create(team_id=team_id, namespace=namespace, day=day)
        added = {name: F(name) + value for name, value in sums.items() if value}
        if added:
            DayFigures.objects.filter(pk=found.pk).update(**added)
    for (team_id, namespace), number in sorted(decided.items()):
        if number:
            evidence, _ = Evidence.objects.get_or_create(team_id=team_id, namespace=namespace)
            Evidence.objects.filter(pk=evidence.pk).update(decided=F("decided") + number)


def _figures(row: NearQuestion) -> dict[str, int]:
    if row.kind == EventKind.HIT:
        return {"hits": 1, "saved_usd_nanos": row.saved_usd_nanos}
    if row.kind == EventKind.SHADOW:
        return {"shadowed": 1, "missed_usd_nanos": row.saved_usd_nanos, **_decided_figures(row)}
    if row.kind == EventKind.JUDGED:
        return _decided_figures(row)
    return {"reported": int(row.agreed is False)}


def _decided_figures(row: NearQuestion) -> dict[str, int]:
    if row.kind == EventKind.SHADOW:
        return {"judged": int(row.is_decided), "wrong": int(row.agreed is False)}
    return {"below": int(row.is_decided), "below_agreed": int(row.agreed is True)}
