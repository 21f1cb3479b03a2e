"""What a chart counts as empty, and which page of the side bar an address belongs to."""

from datetime import UTC, datetime, timedelta

import pytest

from agentcache.design import formats
from agentcache.design.charts import Chart, Series
from agentcache.design.navigation import SECTIONS, links
from agentcache.design.templatetags.design import said, stat, words
from agentcache.teams.permissions import Permission

STARTS = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2)]


def chart(unit, values, before=None):
    return Chart("c", "C", "", "bars", unit, STARTS, [Series("One", values, "hit", before)])


@pytest.mark.parametrize(
    ("unit", "values", "before", "is_empty"),
    [
        ("count", [0, None], None, True),
        ("count", [0, 1], None, False),
        ("count", [0, 0], [0, 3], False),
        ("percent", [None, None], None, True),
        # A hit rate of nothing is a figure.
        ("percent", [0.0, None], None, False),
    ],
)
def test_sums_of_nothing_are_no_chart(unit, values, before, is_empty):
    assert chart(unit, values, before).is_empty is is_empty


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/dashboard", "Overview"),
        ("/dashboard/keys/x/rotate", "API keys"),
        ("/dashboard/team", "Members"),
        ("/dashboard/team/invites/new", "Members"),
        ("/dashboard/team/members/x", "Members"),
        ("/dashboard/team/usage", "Usage and limits"),
        ("/dashboard/team/settings", "Team settings"),
        ("/dashboard/team/delete", "Team settings"),
        ("/settings/profile", None),
    ],
)
def test_a_page_is_marked_in_the_side_bar(sqlite_project, path, label):
    found = [
        link.label
        for _, entries in links(path, [str(one) for one in Permission])
        for link in entries
        if link.is_current
    ]
    assert found == ([label] if label else [])


@pytest.mark.parametrize(
    ("change", "is_more_good", "shown", "trend"),
    [
        (0.11, True, "11 %", "good"),
        (-0.11, True, "11 %", "bad"),
        (0.11, False, "11 %", "bad"),
        (0.001, True, "0 %", "quiet"),
    ],
)
def test_a_change_says_how_much_and_whether_that_is_good(change, is_more_good, shown, trend):
    figure = stat("Requests", "1", change=change, is_more_good=is_more_good)
    assert (figure["change"], figure["trend"]) == (shown, trend)
    assert (figure["has_risen"], figure["has_fallen"]) == (
        trend != "quiet" and change > 0,
        trend != "quiet" and change < 0,
    )


def test_recorded_values_are_said_as_people_say_them():
    assert [said(value) for value in (None, True, False, [], ["a", "b"], 3)] == [
        "none",
        "yes",
        "no",
        "none",
        "a, b",
        "3",
    ]
    assert words("expires_at") == "expires at"


def test_times_are_short_and_whole_in_the_tip():
    now = datetime(2026, 11, 27, tzinfo=UTC)
    assert formats.stamp(now - timedelta(days=20), now) == "7 Nov 00:00:00"
    assert formats.stamp(now - timedelta(days=400), now) == "23 Oct 2025 00:00:00"


def test_no_two_pages_have_the_same_key():
    keys = [entry.key for _, entries in SECTIONS for entry in entries]
    assert len(keys) == len(set(keys))


def test_a_recorded_time_and_a_record_of_many_members_are_said_in_words():
    assert said("2026-11-28T07:16:48.797319+00:00") == "2026-11-28 07:16:48 UTC"
    policy = {"id": "01a2", "name": "News", "is_on": True, "match": {"models": ["gpt-*"], "tags": []}, "semantic": None}
    told = "name News, is on yes, match models gpt-*"
    assert (said(policy), said([policy, policy]), said({})) == (told, f"{told}; {told}", "none")
