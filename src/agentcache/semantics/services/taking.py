"""Near questions of the gateway: taken into the database, counted, and looked at for what answers too much."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from agentcache.audit.services import Actor
from agentcache.gateway.ports import SemanticEvent
from agentcache.kit.logs import get_logger
from agentcache.semantics.diversity import PROMPTS_MAX, PROMPTS_MIN, WINDOW_DAYS, diversity, is_diverse
from agentcache.semantics.models import EventKind, NearQuestion, QuarantinedEntry, QuarantineReason
from agentcache.semantics.sealed_texts import TeamTexts
from agentcache.semantics.services.counting import count
from agentcache.semantics.services.quarantining import Found, name_of, put_in
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.tenancy import rows_of

_ROWS_AT_ONCE: Final = 300
#: An entry that somebody released is not looked at again for so long.
RELEASED_FOR: Final = timedelta(days=30)
_ANSWERED: Final = (EventKind.HIT.value, EventKind.SHADOW.value)
_log = get_logger(__name__)


def take_events(secrets: ServerSecrets, events: Sequence[SemanticEvent]) -> int:
    """Keep near questions and count them, all or none, each exactly once by its id; return how many are new.

    Events of teams that are gone are dropped. What was reported, or answers too much, is in quarantine when this returns; the
    index is told of it next.
    """
    by_id = {event.id: event for event in events}
    with transaction.atomic():
        teams = {team.pk: team for team in Team.objects.filter(pk__in={event.tenant_id for event in events})}
        known = set(NearQuestion.objects.filter(pk__in=by_id).values_list("pk", flat=True))
        wanted = [event for event in by_id.values() if event.id not in known and event.tenant_id in teams]
        if not wanted:
            return 0
        texts = {team_id: TeamTexts.of(secrets, teams[team_id]) for team_id in {one.tenant_id for one in wanted}}
        rows = [_row(event, texts[event.tenant_id]) for event in wanted]
        NearQuestion.objects.bulk_create(rows, batch_size=_ROWS_AT_ONCE)
        count(rows)
        _quarantine_reported(teams, rows)
        for team_id, entry_keys in _answered(rows).items():
            _quarantine_diverse(teams[team_id], texts[team_id], entry_keys)
    return len(rows)


def _row(event: SemanticEvent, texts: TeamTexts) -> NearQuestion:
    return NearQuestion(
        id=event.id[:32],
        team_id=event.tenant_id,
        namespace=_plain(event.namespace, 128),
        at=datetime.fromtimestamp(event.at_ms / 1000, UTC),
        kind=event.kind if event.kind in EventKind else EventKind.JUDGED,
        request_id=_plain(event.request_id, 64),
        entry_key=_plain(event.entry_key, 64),
        sealed=event.sealed,
        note=event.note,
        asked_digest=texts.asked_digest(event.id, event.sealed),
        cosine=event.cosine,
        score=event.score,
        threshold=event.threshold,
        risk=event.risk,
        risk_limit=event.risk_limit,
        agreement=event.agreement,
        verifier=_plain(event.verifier, 64),
        veto=_plain(event.veto, 64),
        features=event.features,
        reasons=[list(reason) for reason in event.reasons],
        agreed=event.agreed,
        judged_by=_plain(event.judged_by, 16),
        share=event.share,
        saved_usd_nanos=event.saved_usd_nanos,
        writer=_plain(event.writer, 32),
        api_key_id=_plain(event.api_key_id, 32),
        dialect=_plain(event.dialect, 64),
        model=_plain(event.model, 200),
        asked_key=_plain(event.asked_key, 64),
    )


def _plain(text: str, chars_max: int) -> str:
    """Return a text as every database takes it."""
    return text[:chars_max].replace("\0", "")


def _quarantine_reported(teams: dict[str, Team], rows: Iterable[NearQuestion]) -> None:
    for row in rows:
        if row.kind == EventKind.REPORTED and row.agreed is False and row.entry_key:
            actor = Actor(api_key_id=row.api_key_id)
            put_in(teams[row.team_id], Found.of(row, QuarantineReason.REPORTED), by=name_of(actor), actor=actor)


def _answered(rows: Iterable[NearQuestion]) -> dict[str, set[str]]:
    """Return the entries by team that were near enough to answer."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.kind in _ANSWERED:
            found[row.team_id].add(row.entry_key)
    return found


def _quarantine_diverse(team: Team, texts: TeamTexts, entry_keys: set[str]) -> None:
    now = timezone.now()
    held = set(
        rows_of(team, QuarantinedEntry)
        .filter(entry_key__in=entry_keys)
        .exclude(released_at__lt=now - RELEASED_FOR)
        .values_list("entry_key", flat=True)
    )
    for entry_key in sorted(entry_keys - held):
        rows = _distinct(team, entry_key, now - timedelta(days=WINDOW_DAYS))
        if len(rows) < PROMPTS_MIN:
            continue
        prompts = [pair.asked for row in rows if (pair := texts.find_pair(row)) is not None]
        if is_diverse(prompts):
            found = Found.of(rows[0], QuarantineReason.DIVERSE, diversity=diversity(prompts), prompts=len(prompts))
            put_in(team, found, by="")
            _log.info("entry_quarantined", tenant_id=team.pk, object_id=entry_key, reason=found.reason.value)


def _distinct(team: Team, entry_key: str, since: datetime) -> list[NearQuestion]:
    """Return the newest different questions that an entry answered, or would have."""
    rows = (
        rows_of(team, NearQuestion)
        .filter(entry_key=entry_key, at__gte=since, kind__in=_ANSWERED)
        .exclude(sealed=b"")
        .order_by("-at")[: PROMPTS_MAX * 10]
    )
    by_question = {bytes(row.asked_digest): row for row in reversed(rows) if row.asked_digest}
    return list(reversed(by_question.values()))[:PROMPTS_MAX]
