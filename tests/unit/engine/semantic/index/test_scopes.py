"""What servers of vectors are told: turned vectors keep every angle and show no direction."""

from __future__ import annotations

import numpy as np
import pytest

from agentcache.engine.semantic.index.scopes import shown_vector
from tests.support.entries import make_tenant
from tests.support.questions import direction, near

SEALED = make_tenant("team_a", data_key=bytes(range(32)))


@pytest.mark.parametrize("dimensions", [384, 256, 768, 1536, 100, 7])
def test_turned_vectors_keep_lengths_and_angles(dimensions: int) -> None:
    asked = direction("asked", dimensions)
    other = near(asked, 0.83)
    turned, turned_other = shown_vector(SEALED, asked), shown_vector(SEALED, other)
    assert np.linalg.norm(turned) == pytest.approx(1, abs=1e-5)
    assert turned @ turned_other == pytest.approx(0.83, abs=1e-5)
    assert (shown_vector(SEALED, asked) == turned).all(), "the same every time"


def test_the_direction_does_not_show_and_differs_by_key() -> None:
    sparse = np.zeros(384, np.float32)
    sparse[5] = 1
    turned = shown_vector(SEALED, sparse)
    assert np.abs(turned).max() < 0.4, "one component is spread over all"
    another = shown_vector(make_tenant("team_b", data_key=bytes(32)), sparse)
    assert abs(float(turned @ another)) < 0.3
    assert (shown_vector(make_tenant("team_c"), sparse) == sparse).all(), "without a data key it is as it was"


def test_no_fixed_turn_of_signs_and_places_gives_them_back() -> None:
    """Components of real vectors have means of their own; turned, none keeps it."""
    many = np.stack([direction(f"v {number}") + 0.2 for number in range(200)]).astype(np.float32)
    means = np.abs(np.stack([shown_vector(SEALED, vector) for vector in many]).mean(axis=0))
    assert (means > 0.15).mean() < 0.5
