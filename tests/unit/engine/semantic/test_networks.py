"""The networks beside the verifier's trees."""

from __future__ import annotations

import random

import pytest

from agentcache.engine.semantic.networks import CLIP, Networks

WIDE, HIDDEN = 5, (8, 4)


def made(count: int = 3, seed: int = 1) -> Networks:
    chance = random.Random(seed)

    def layer(wide: int, out: int) -> tuple[list[list[float]], list[float]]:
        return [[chance.gauss(0, 1) for _ in range(out)] for _ in range(wide)], [chance.gauss(0, 1) for _ in range(out)]

    nets = [[layer(WIDE, HIDDEN[0]), layer(*HIDDEN), layer(HIDDEN[1], 1)] for _ in range(count)]
    return Networks({"mean": [0.5] * WIDE, "scale": [2.0] * WIDE, "nets": nets})


def rows(count: int = 7) -> list[list[float]]:
    chance = random.Random(2)
    return [[chance.uniform(-4, 4) for _ in range(WIDE)] for _ in range(count)]


def test_a_row_has_one_value_whatever_comes_with_it() -> None:
    networks = made()
    assert networks.log_odds(rows()) == [networks.log_odds([row])[0] for row in rows()]
    assert networks.log_odds([]) == []


def test_without_numpy_it_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    by_numpy = made().log_odds(rows())
    monkeypatch.setattr("agentcache.engine.semantic.networks.find_spec", lambda _: None)
    assert made().log_odds(rows()) == pytest.approx(by_numpy, abs=1e-9)


def test_a_unit_of_the_first_half_bends_upwards_and_one_of_the_second_downwards() -> None:
    net = [([[1.0, 1.0]], [0.0, 0.0]), ([[1.0], [10.0]], [0.25])]
    networks = Networks({"mean": [0.0], "scale": [1.0], "nets": [net]})
    assert networks.log_odds([[2.0], [-2.0], [100.0]]) == [2.25, -19.75, CLIP + 0.25]


def test_several_are_averaged() -> None:
    one, other = ([[([[weight]], [0.0])]] for weight in (1.0, 4.0))
    networks = Networks({"mean": [0.0], "scale": [1.0], "nets": [*one, *other]})
    assert networks.log_odds([[2.0]]) == [5.0]
