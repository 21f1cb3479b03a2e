"""Ids: unique, ordered by time, valid UUIDs of version 7."""

import time
import uuid

import pytest

from agentcache.kit import ids
from agentcache.kit.ids import made_at_ms, new_id


def test_an_id_is_a_version_7_uuid_with_the_time_in_it():
    before = time.time_ns() // 1_000_000
    made = new_id("req_")
    after = time.time_ns() // 1_000_000
    parsed = uuid.UUID(made.removeprefix("req_"))
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert before <= made_at_ms(made) <= after


def test_ids_do_not_repeat():
    assert len({new_id() for _ in range(20_000)}) == 20_000


def test_ids_sort_by_time():
    earlier = new_id()
    time.sleep(0.002)
    assert earlier < new_id()


def test_ids_of_one_millisecond_sort_by_time(monkeypatch):
    moments = range(1_000_000 * 7 - 250 * 2_000, 1_000_000 * 7 + 250 * 2_000, 250)
    ticking = iter(moments)
    monkeypatch.setattr(ids, "time_ns", lambda: next(ticking))
    made = [new_id() for _ in moments]
    assert made == sorted(made)
    assert [made_at_ms(one) for one in made] == [moment // 1_000_000 for moment in moments]


@pytest.mark.parametrize("text", ["", "req_", "0" * 32, "zz" * 16 + "7"])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(ValueError, match=r"time-ordered id|invalid literal"):
        made_at_ms(text)
