"""Maps from an embedder's cosines to the built-in scale: monotone, flat where nothing is told, kept for one model at a time."""

from __future__ import annotations

import math
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcache.engine.semantic.calibration import keeping
from agentcache.engine.semantic.calibration.fitting import Agreement, Scale, fit_scale, why_unfit
from agentcache.engine.semantic.calibration.keeping import Calibration, keep, last_used, read_kept
from agentcache.engine.semantic.calibration.pairs import load_pairs
from agentcache.engine.semantic.embedders.minilm import MinilmModel
from agentcache.engine.semantic.normalising import normalised
from tests.support.calibrations import made_of
from tests.support.semantic_models import models_folder

PAIRS = load_pairs().pairs
OWN = [pair.cosine for pair in PAIRS]
cosines = st.floats(-1, 1)


def test_the_pairs_are_as_the_built_in_embedder_measures_them() -> None:
    model = MinilmModel(models_folder())
    assert load_pairs().measured_by == model.id, "run: make calibration-set"
    for pair in PAIRS[::20]:
        assert float(model.embed_one(pair.one) @ model.embed_one(pair.other)) == pytest.approx(pair.cosine, abs=2e-4)
    model.close()
    assert all(normalised(pair.one) != normalised(pair.other) for pair in PAIRS)
    assert len(load_pairs().texts) <= 300, "each is embedded for every new model"


def test_the_built_in_cosines_stay_what_they_are() -> None:
    scale, agreement = fit_scale(PAIRS, OWN)
    assert all(scale.of(cosine) == pytest.approx(cosine, abs=0.02) for cosine in OWN)
    assert agreement.correlation == pytest.approx(1)
    assert agreement.spread < 1e-6
    assert not why_unfit(agreement)


@pytest.mark.parametrize(
    "shape", [lambda x: 0.9 + x / 10, lambda x: x**3, lambda x: x / 2 - 0.4, lambda x: math.tanh(3 * x)]
)
def test_a_monotone_change_of_cosines_is_undone(shape) -> None:
    scale, agreement = fit_scale(PAIRS, [shape(cosine) for cosine in OWN])
    for wanted in (0.1, 0.6, 0.8, 0.95):
        assert scale.of(shape(wanted)) == pytest.approx(wanted, abs=0.03)
        assert scale.least(wanted) == pytest.approx(shape(wanted), abs=0.03)
    assert not why_unfit(agreement)


@given(st.lists(cosines, min_size=len(PAIRS), max_size=len(PAIRS)), cosines, cosines)
def test_a_scale_rises_whatever_the_embedder_says(own, one, other) -> None:
    scale, agreement = fit_scale(PAIRS, own)
    low, high = sorted((one, other))
    assert -1 <= scale.of(low) <= scale.of(high) <= 1
    assert scale.is_sound
    least = scale.least(0.6)
    assert least == 2 or scale.of(least) == pytest.approx(0.6, abs=1e-6)
    assert 0 <= agreement.over_others <= 1


def test_an_embedder_that_tells_nothing_is_flat_and_unfit() -> None:
    rng = random.Random(1)
    own = [0.99 + rng.random() / 100 for _ in PAIRS]
    scale, agreement = fit_scale(PAIRS, own)
    assert why_unfit(agreement)
    assert scale.of(0.998) < 0.75


def test_equal_cosines_for_everything_are_unfit() -> None:
    scale, agreement = fit_scale(PAIRS, [1.0] * len(PAIRS))
    assert scale.is_sound
    assert agreement.over_others == 0.5
    assert why_unfit(agreement)


def calibration(embedder: str = "openai:m@http://x/v1/embeddings:aa") -> Calibration:
    return made_of(embedder, lambda cosine: cosine)


def test_a_kept_calibration_is_that_of_its_model_alone(tmp_path: Path) -> None:
    kept = calibration()
    keep(tmp_path / "new", kept)
    assert read_kept(tmp_path / "new", kept.embedder) == kept
    assert read_kept(tmp_path / "new", kept.embedder[:-1] + "b") is None
    assert read_kept(tmp_path, kept.embedder) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: replace(kept, pairs="of another release"),
        lambda kept: replace(kept, scale=Scale(((-1.0, -1.0), (0.5, 0.9), (0.5, 0.2), (1.0, 1.0)))),
        lambda kept: replace(kept, embedder="another"),
    ],
)
def test_what_does_not_hold_is_made_again(tmp_path: Path, change) -> None:
    kept = calibration()
    keep(tmp_path, kept)
    (path,) = tmp_path.iterdir()
    keep(tmp_path / "other", change(kept))
    (other,) = (tmp_path / "other").iterdir()
    path.write_bytes(other.read_bytes())
    assert read_kept(tmp_path, kept.embedder) is None
    path.write_bytes(b'{"embedder": "op')
    assert read_kept(tmp_path, kept.embedder) is None


def test_the_one_used_last_speaks_for_a_name_and_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "KEPT_MAX", 2)
    ids = [f"openai:m@u:{mark}" for mark in "abc"]
    for place, embedder in enumerate(ids):
        keep(tmp_path, calibration(embedder))
        for path in tmp_path.iterdir():
            os.utime(path, (path.stat().st_atime, min(path.stat().st_mtime, 1000.0 + place)))
    assert read_kept(tmp_path, ids[0]) is None
    assert read_kept(tmp_path, ids[1]) is not None, "which uses it"
    found = last_used(tmp_path, "openai:m@u:")
    assert found is not None
    assert found.embedder == ids[1]
    assert last_used(tmp_path, "openai:other@u:") is None


def test_agreement_is_told_from_the_ranks_and_not_from_the_scale() -> None:
    _, agreement = fit_scale(PAIRS, [cosine / 10 + 0.9 for cosine in OWN])
    _, same = fit_scale(PAIRS, OWN)
    assert (agreement.over_others, agreement.over_traps, agreement.correlation) == pytest.approx(
        (same.over_others, same.over_traps, same.correlation)
    )
    assert isinstance(agreement, Agreement)
