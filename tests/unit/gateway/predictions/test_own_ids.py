from __future__ import annotations

import pytest

from agentcache.gateway.predictions.own_ids import looks_own, make_own_id, read_own_id
from tests.support.entries import make_key, make_tenant

TENANT = make_tenant()


def test_an_id_says_which_entry_and_when():
    made = make_own_id(TENANT, make_key(1), 1_800_000_000.1234)
    own = read_own_id(TENANT, made)
    assert own.key == make_key(1)
    assert own.answered_at == pytest.approx(1_800_000_000.123, abs=0.001)
    assert looks_own(made)


def test_every_id_is_fresh():
    assert len({make_own_id(TENANT, make_key(1), 1.0) for _ in range(100)}) == 100


def test_an_id_fits_in_the_path_of_a_prediction():
    made = make_own_id(TENANT, make_key(1), 1.0)
    assert made.isalnum()
    assert made == made.lower()
    assert len(made) <= 128


def test_another_team_s_id_says_nothing():
    assert read_own_id(make_tenant("team_b"), make_own_id(TENANT, make_key(1), 1.0)) is None


def test_a_changed_id_says_nothing():
    made = make_own_id(TENANT, make_key(1), 1.0)
    for position in range(2, len(made), 7):
        changed = made[:position] + ("a" if made[position] != "a" else "b") + made[position + 1 :]
        assert read_own_id(TENANT, changed) is None


@pytest.mark.parametrize("text", ["", "ac", "rrr4z55ocneqzikepnug6xezpe", "ac" + "a" * 80, "ac" + "1" * 80, "é" * 82])
def test_what_is_no_id_of_ours_says_nothing(text):
    assert read_own_id(TENANT, text) is None
    assert looks_own("rrr4z55ocneqzikepnug6xezpe") is False
