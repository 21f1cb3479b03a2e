"""Near questions: taken once, counted by day, learned of, reported, put into quarantine, forgotten."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import pytest

from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.gateway.semantic.spool import open_semantic_files, semantic_dir
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import SystemClock
from agentcache.semantics import queries, services
from agentcache.semantics.diversity import diversity, is_diverse
from agentcache.semantics.drafts import SettingsDraft
from agentcache.semantics.errors import NearQuestionNotFound, NotInQuarantine
from agentcache.semantics.jobs import Taking
from agentcache.semantics.models import DayFigures, Evidence, NearQuestion, QuarantinedEntry
from agentcache.semantics.queries import Figures, HitFilters
from agentcache.semantics.sealed_texts import Pair, TeamTexts
from agentcache.teams.secrets import current_secrets
from agentcache.webhooks.models import Message
from tests.support.semantics import ENTRY_KEY, near_event, take
from tests.support.teams import join, make_team
from tests.support.webhooks import make_endpoint

SYSTEM = Actor.system()
NOW = datetime.now(UTC)
TODAY = NOW.date()
PARAPHRASES = [
    f"{polite} {verb} my password {where}{end}"
    for polite in ("How do I", "How can I")
    for verb in ("reset", "change", "recover")
    for where, end in (("on the website", "?"), ("for my account", ""))
]
UNLIKE = [
    "How do I reset my password?", "Which planet is the largest?", "Translate good morning into Danish.",
    "List three sorting algorithms.", "When was the Magna Carta signed?", "Give me a recipe for pancakes.",
    "Explain recursion to a child.", "What is the boiling point of ethanol?", "Who painted Guernica?",
    "Write a haiku about rain.", "How tall is Mount Kilimanjaro?", "Convert seven miles to kilometres.",
]  # fmt: skip


@pytest.fixture
def team(sqlite_project):
    return make_team()


def figures(team, namespace=""):
    return Figures.total(queries.days_of(team, TODAY - timedelta(days=3), TODAY, namespace))


def test_events_are_taken_once_and_counted_by_day(project):
    team = make_team()
    events = [
        near_event(team),
        near_event(team, "shadow", agreed=True, share=0.05),
        near_event(team, "shadow", agreed=False, share=0.05, namespace="prod"),
        near_event(team, "shadow"),
        near_event(team, "judged", agreed=True, score=0.4, at=NOW - timedelta(days=2)),
        near_event(team, "judged", score=0.4),
    ]
    gone = near_event(make_team("Gone"))
    gone.tenant_id = "nobody"
    assert take([*events, gone, events[0]]) == 6
    assert take(events) == 0
    found = figures(team)
    assert (found.hits, found.shadowed, found.judged, found.wrong) == (1, 3, 2, 1)
    assert (found.below, found.below_agreed) == (1, 1)
    assert (found.saved_usd_nanos, found.missed_usd_nanos) == (2_000_000, 6_000_000)
    assert figures(team, "prod").wrong == 1
    assert [one.below for one in queries.days_of(team, TODAY - timedelta(days=3), TODAY)] == [0, 1, 0, 0]
    assert {row.namespace: row.decided for row in Evidence.objects.filter(team=team)} == {"default": 2, "prod": 1}
    assert 0.0 < found.interval[0] < 0.5 < found.interval[1] < 1.0
    other = make_team("Others")
    assert figures(other) == Figures()
    assert queries.near_questions(other, HitFilters()).rows == []


def test_texts_are_sealed_and_come_back_for_their_team_alone(team):
    asked, matched = "Is our merger with Initech off?", "Is our merger with Initech on?"
    take([near_event(team, asked=asked, matched=matched)])
    row = NearQuestion.objects.get()
    assert b"Initech" not in b"".join(bytes(value) for value in (row.sealed, row.asked_digest))
    assert TeamTexts.of(current_secrets(), team).find_pair(row) == Pair(asked, matched)
    assert TeamTexts.of(current_secrets(), make_team("Others")).find_pair(row) is None


def test_a_list_goes_on_where_it_ended(team):
    at = NOW - timedelta(hours=1)
    take([near_event(team, at=at) for _ in range(5)] + [near_event(team, at=at - timedelta(hours=1)) for _ in range(5)])
    seen, before = [], ""
    while True:
        page = queries.near_questions(team, HitFilters(), before=before, limit=3)
        seen += [row.pk for row in page.rows]
        if not (before := page.cursor):
            break
    assert len(seen) == 10
    assert seen == [row.pk for row in NearQuestion.objects.order_by("-at", "-id")]


async def test_the_job_takes_files_learns_and_tells_the_index(team, tmp_path):
    class Index:
        def __init__(self):
            self.told = []

        async def quarantine(self, tenant, key, *, until, reason):
            self.told.append(("quarantine", tenant.id, key.hex(), until, reason))

        async def release(self, tenant, key):
            self.told.append(("release", tenant.id, key.hex()))

    clock = SystemClock()
    files = open_semantic_files(tmp_path, clock)
    threads = DatabaseThreads(answer_within_seconds=60)
    index = Index()
    job = Taking(threads, current_secrets(), index, semantic_dir(tmp_path), clock, encrypt_entries=False)
    try:
        await threads.run(
            partial(services.save_settings, team, "default", SettingsDraft("shadow", verifier="cosine"), actor=SYSTEM)
        )
        hit = await threads.run(partial(near_event, team))
        for event in [hit, await threads.run(partial(near_event, team, "reported", agreed=False))]:
            files.add(event)
        for _ in range(60):
            files.add(await threads.run(partial(near_event, team, "shadow", agreed=True, score=0.97)))
        impossible = await threads.run(partial(near_event, team))
        impossible.at_ms = 10**18
        files.add(impossible)
        await files.flush()
        (semantic_dir(tmp_path) / "000-broken.semantic").write_bytes(msgspec.msgpack.encode("no events"))
        await job({})
        assert list(semantic_dir(tmp_path).iterdir()) == []
        assert await threads.run(NearQuestion.objects.count) == 62
        assert index.told == [("quarantine", team.pk, ENTRY_KEY, None, "reported")]
        learned = await threads.run(partial(Evidence.objects.get, team=team))
        assert (learned.decided, learned.learned_from, learned.verifier, learned.target) == (61, 61, "cosine", 0.02)
        await threads.run(partial(services.release, team, ENTRY_KEY, actor=SYSTEM))
        await job({})
        await job({})
        assert index.told[1:] == [("release", team.pk, ENTRY_KEY)]
    finally:
        threads.close()


def test_a_threshold_is_learned_after_every_fifty_judgements_and_closes_on_evidence(team):
    services.save_settings(team, "default", SettingsDraft("shadow", verifier="cosine", target=0.05), actor=SYSTEM)
    take([near_event(team, "shadow", agreed=True, score=0.97) for _ in range(49)])
    assert services.learn_due(NOW) == 0
    take([near_event(team, "shadow", agreed=True, score=0.97) for _ in range(151)])
    assert services.learn_due(NOW) == 1
    evidence = Evidence.objects.get(team=team)
    assert (evidence.learned_threshold, evidence.learned_from) == (0.97, 200)
    assert services.learn_due(NOW) == 0
    take([near_event(team, "shadow", agreed=False, score=0.98) for _ in range(100)])
    assert services.learn_due(NOW) == 1
    evidence.refresh_from_db()
    assert evidence.learned_threshold > 1
    told = AuditEvent.objects.filter(team_id=team.pk, action="semantics.threshold_learned").order_by("at", "id")
    assert [(event.before["threshold"], event.after["threshold"]) for event in told] == [
        (None, 0.97), (0.97, evidence.learned_threshold),
    ]  # fmt: skip
    services.save_settings(
        team, "default", SettingsDraft("shadow", verifier="cosine", target=0.2), actor=SYSTEM, based_on=1
    )
    evidence.refresh_from_db()
    assert evidence.target == 0.2


def test_scores_of_another_verifier_and_vetoed_pairs_teach_nothing(team):
    services.save_settings(team, "default", SettingsDraft("shadow", verifier="cosine"), actor=SYSTEM)
    take([
        *(near_event(team, "shadow", agreed=True, verifier="trees-1") for _ in range(60)),
        *(near_event(team, "judged", agreed=False, veto="numbers", score=0.99) for _ in range(60)),
    ])  # fmt: skip
    assert services.learn_due(NOW) == 1
    assert Evidence.objects.get(team=team).learned_threshold is None


def test_a_reported_hit_is_evidence_and_its_entry_is_in_quarantine_until_it_is_released(team):
    member = join(team, "ada@example.com").user
    actor = Actor(user_id=str(member.pk), user_email=member.email)
    hit = near_event(team)
    take([hit])
    row = services.report_bad_hit(team, hit.request_id, actor=actor)
    again = services.report_bad_hit(team, hit.request_id, actor=actor)
    assert (row.pk, row.entry_key, row.reason, row.by) == (again.pk, ENTRY_KEY, "reported", "ada@example.com")
    assert (figures(team).reported, Evidence.objects.get(team=team).decided) == (1, 1)
    assert queries.reported_requests(team, [hit.request_id, "other"]) == {hit.request_id}
    assert queries.find_of_request(team, hit.request_id).kind == "hit"
    with pytest.raises(NearQuestionNotFound):
        services.report_bad_hit(make_team("Others"), hit.request_id, actor=actor)
    with pytest.raises(NotInQuarantine):
        services.release(make_team("More"), ENTRY_KEY, actor=actor)
    services.note_told(row.pk, None)
    assert not services.release(team, ENTRY_KEY, actor=actor).is_told
    assert (queries.quarantine_of(team), len(queries.quarantine_of(team, is_ended=True))) == ([], 1)
    with pytest.raises(NotInQuarantine):
        services.release(team, ENTRY_KEY, actor=actor)
    actions = AuditEvent.objects.filter(team_id=team.pk).order_by("at", "id").values_list("action", flat=True)
    assert list(actions) == ["semantics.bad_hit_reported", "semantics.quarantined", "semantics.released"]


def test_webhooks_are_told_of_what_goes_to_quarantine(team):
    make_endpoint(team, event_types=["semantic.quarantined"])
    hit = near_event(team, namespace="prod")
    take([hit])
    services.report_bad_hit(team, hit.request_id, actor=SYSTEM)
    services.report_bad_hit(team, hit.request_id, actor=SYSTEM)
    take([near_event(team, asked=asked, entry_key="cd" * 32) for asked in UNLIKE])
    bodies = Message.objects.filter(event_type="semantic.quarantined").values_list("body", flat=True)
    told = {one["entry_key"]: one for one in (json.loads(body)["data"] for body in bodies)}
    assert len(bodies) == len(told) == 2
    reported, diverse = told[ENTRY_KEY], told["cd" * 32]
    assert (reported["namespace"], reported["reason"], reported["prompts"]) == ("prod", "reported", None)
    assert (diverse["reason"], diverse["prompts"]) == ("diverse", len(UNLIKE))


def test_what_the_index_was_told_late_does_not_count_for_what_came_after(team):
    hit = near_event(team)
    take([hit])
    row = services.report_bad_hit(team, hit.request_id, actor=SYSTEM)
    services.release(team, ENTRY_KEY, actor=SYSTEM)
    services.note_told(row.pk, None)
    assert [one.pk for one in queries.untold()] == [row.pk]


def test_an_entry_that_answers_diverse_prompts_goes_to_quarantine_and_one_that_answers_paraphrases_does_not(team):
    take([near_event(team, asked=asked, entry_key="cd" * 32) for asked in PARAPHRASES])
    take([near_event(team, asked=asked) for asked in UNLIKE[:11] * 3])
    assert not QuarantinedEntry.objects.exists()
    take([near_event(team, asked=asked) for asked in UNLIKE[11:]])
    row = QuarantinedEntry.objects.get()
    assert (row.entry_key, row.reason, row.prompts) == (ENTRY_KEY, "diverse", len(UNLIKE))
    assert row.diversity >= 0.95
    services.release(team, ENTRY_KEY, actor=SYSTEM)
    take([near_event(team, asked="What is a monad?")])
    assert queries.quarantine_of(team) == []


def test_diversity_is_one_less_the_mean_share_of_common_words():
    assert diversity(["red apples", "red apples"]) == 0
    assert diversity(["red apples", "green pears"]) == 1
    assert diversity(["ripe apples", "ripe pears"]) == pytest.approx(2 / 3)
    assert diversity(["alone"]) == 0
    assert diversity(PARAPHRASES) < 0.8
    assert diversity(UNLIKE) > 0.98
    assert is_diverse(UNLIKE)
    assert not is_diverse(UNLIKE[:11])
    assert not is_diverse(PARAPHRASES)


def test_texts_go_first_then_rows_then_figures(team):
    for days in (1, 45, 100):
        take([near_event(team, at=NOW - timedelta(days=days))])
    DayFigures.objects.create(team=team, namespace="old", day=TODAY - timedelta(days=500))
    services.prune(NOW)
    rows = list(NearQuestion.objects.order_by("-at"))
    assert [bool(row.sealed) for row in rows] == [True, False]
    assert TeamTexts.of(current_secrets(), team).find_pair(rows[1]) is None
    assert not DayFigures.objects.filter(namespace="old").exists()
    assert DayFigures.objects.count() == 3
