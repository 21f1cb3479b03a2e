"""Policies as people write them: what is refused, and what is kept."""

import pytest

from agentcache.policies.drafts import POLICIES_MAX, MatchDraft, PolicyDraft, checked, compiled
from agentcache.policies.errors import InvalidPolicy, TooManyPolicies
from agentcache.policies.presets import PRESETS

DIALECTS = ("openai", "anthropic")
HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"id": "no id!"}, "id"),
        ({"lifetime_seconds": 0}, "lifetime_seconds"),
        ({"lifetime_seconds": 10**10}, "lifetime_seconds"),
        ({"stale_while_revalidate_seconds": -1}, "stale_while_revalidate_seconds"),
        ({"stale_if_error_seconds": -1}, "stale_if_error_seconds"),
        ({"stores": False, "lifetime_seconds": 5}, "stores"),
        ({"match": MatchDraft(dialects=["acme"])}, "dialects"),
        ({"match": MatchDraft(models=[""])}, "models"),
        ({"match": MatchDraft(tags=["x"] * 33)}, "tags"),
        ({"match": MatchDraft(source_hosts=["https://example.com"])}, "source_hosts"),
        ({"match": MatchDraft(source_hosts=["*example.com"])}, "source_hosts"),
        ({"match": MatchDraft(temperature_min=-1)}, "temperature_min"),
        ({"match": MatchDraft(temperature_max=3)}, "temperature_max"),
        ({"match": MatchDraft(temperature_min=1, temperature_max=0.5)}, "temperature_min"),
        ({"match": MatchDraft(prompt="(")}, "prompt"),
        ({"match": MatchDraft(prompt="(?=x)")}, "prompt"),
        ({"ignore": ["a..b"]}, "ignore"),
        *(({"ignore": [path]}, "ignore") for path in (
            "messages", "messages[*]", "messages[0]", "messages[0].content", "messages[*].content[0].text", "model",
            "$.prompt", "input", "input.prompt", "tools", "system",
        )),
    ],
)  # fmt: skip
def test_what_is_refused_names_the_member(given, param):
    with pytest.raises(InvalidPolicy) as caught:
        checked([PolicyDraft(**{"name": "A", **given})], DIALECTS)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "path", ["metadata.request_id", "metadata", "messages[0].cache_marker", "input.webhook_id", "tools[*].id", "seed"]
)
def test_paths_that_do_not_change_the_question_are_kept(path):
    (kept,) = checked([PolicyDraft("A", ignore=[path])], DIALECTS)
    assert kept.ignore == [path]


def test_a_list_keeps_its_order_and_gives_ids():
    kept = checked([PolicyDraft("B"), PolicyDraft(" A ", id="mine")], DIALECTS)
    assert [one.name for one in kept] == ["B", "A"]
    assert kept[0].id and kept[1].id == "mine"
    assert checked(kept, DIALECTS) == kept
    with pytest.raises(InvalidPolicy, match="called"):
        checked([PolicyDraft("a"), PolicyDraft("A")], DIALECTS)
    with pytest.raises(InvalidPolicy, match="id"):
        checked([PolicyDraft("a", id="x"), PolicyDraft("b", id="x")], DIALECTS)
    with pytest.raises(TooManyPolicies):
        checked([PolicyDraft(str(number)) for number in range(POLICIES_MAX + 1)], DIALECTS)


def test_a_document_comes_back_as_it_was():
    draft = PolicyDraft(
        "A", match=MatchDraft(models=["gpt*"], temperature_max=0.5), lifetime_seconds=5, ignore=["seed"]
    )
    (kept,) = checked([draft], DIALECTS)
    assert PolicyDraft.of_document(kept.as_document()) == kept
    # Of a later release.
    assert PolicyDraft.of_document({**kept.as_document(), "more": 1}) == kept


def test_what_is_off_decides_nothing():
    policies = compiled(3, [PolicyDraft("A", is_on=False), PolicyDraft("B", lifetime_seconds=7)])
    assert (policies.version, [policy.name for policy in policies.policies]) == (3, ["B"])
    assert policies.policies[0].lifetime_seconds == 7.0


@pytest.mark.parametrize(
    ("code", "lifetime", "until"),
    [
        ("news", HOUR, 6 * HOUR),
        ("pricing", DAY, 7 * DAY),
        ("docs", 7 * DAY, 30 * DAY),
        ("general", 30 * DAY, 30 * DAY),
    ],
)
def test_presets_hold_and_go_stale_as_they_say(code, lifetime, until):
    (kept,) = checked([PRESETS[code].draft], DIALECTS)
    assert kept.lifetime_seconds == lifetime
    assert kept.lifetime_seconds + kept.stale_while_revalidate_seconds == until
    assert kept.lifetime_seconds + kept.stale_if_error_seconds == until
