"""What the word pieces of two prompts lack of each other: symmetric, and dear where it matters."""

from __future__ import annotations

import numpy as np
import pytest

from agentcache.engine.semantic.embedders.minilm import MinilmModel
from agentcache.engine.semantic.interaction import INTERACTION, kept_interaction, kept_interactions
from agentcache.engine.semantic.pieces import PIECES_MAX, is_readable, projection, unpack
from tests.support.semantic_models import models_folder


@pytest.fixture(scope="module")
def model() -> MinilmModel:
    return MinilmModel(models_folder())


def kept(model: MinilmModel, text: str) -> bytes:
    model.embed_one(text)
    return model.pieces(text)


def named(model: MinilmModel, one: str, other: str) -> dict[str, float]:
    return dict(zip(INTERACTION, kept_interaction(kept(model, one), kept(model, other)), strict=True))


def test_it_is_the_same_in_both_directions_and_little_between_equal_prompts(model: MinilmModel) -> None:
    one, other = "how do I get a refund without a receipt", "how do I get a refund"
    assert named(model, one, other) == named(model, other, one)
    assert named(model, one, one)["pieces_lost"] == pytest.approx(0, abs=1e-3)


def test_a_condition_that_only_one_has_costs_more_than_another_wording(model: MinilmModel) -> None:
    asked = "how do I get a refund"
    reworded = named(model, asked, "how can I get my money back")
    narrowed = named(model, asked, "how do I get a refund without a receipt")
    assert narrowed["pieces_worst"] > reworded["pieces_worst"]


def test_small_talk_that_only_one_has_costs_less_than_a_condition(model: MinilmModel) -> None:
    asked = "how do I get a refund"
    polite = named(model, asked, "hello there, please tell me how do I get a refund")
    narrowed = named(model, asked, "how do I get a refund without a receipt")
    assert polite["pieces_worst"] < narrowed["pieces_worst"]


def test_several_at_once_are_what_each_is_alone(model: MinilmModel) -> None:
    """Also beside rows without pieces, and of another projection: those have nothing."""
    asked = kept(model, "how do I get a refund")
    texts = ("how can I get my money back", "refund", "how do I get a refund without a receipt for shoes", "No")
    others = [kept(model, text) for text in texts]
    alone = [kept_interaction(asked, one) for one in others]
    assert all(alone)
    assert kept_interactions(asked, others) == alone
    damaged = [b"", others[0][:-1], b"abcd" + others[0][4:], others[0][:4]]
    mixed = [damaged[0], others[0], *damaged[1:], *others[1:]]
    assert kept_interactions(asked, mixed) == [[], alone[0], [], [], [], *alone[1:]]
    for unreadable in damaged:
        assert kept_interactions(unreadable, others) == [[]] * len(others)
        assert kept_interaction(asked, unreadable) == []


def test_a_piece_is_kept_in_32_bytes_and_read_as_it_was(model: MinilmModel) -> None:
    by = projection()
    assert by is not None
    _, hidden = model.hidden("turn the light on")
    kept = by.pack(hidden)
    assert len(kept) == 4 + 32 * len(hidden) == 4 + 32 * model.count_tokens("turn the light on")
    found, starts = unpack([kept])
    assert starts == [0]
    exact = (hidden @ by.columns - by.shift)[:, :-1]
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    assert (found.rows * found.scales[:, None] * exact).sum(axis=1).min() > 0.999
    assert len(by.pack(np.zeros((300, len(by.columns)), np.float32))) == 4 + 32 * PIECES_MAX


@pytest.mark.parametrize("kept", [b"", b"abcd", b"abcd" + bytes(32), b"ab"])
def test_what_another_projection_kept_is_not_read(kept: bytes) -> None:
    assert not is_readable(kept)


def test_a_prompt_without_pieces_has_none_and_only_a_few_are_remembered(model: MinilmModel) -> None:
    for text in ("", *(f"question {number}" for number in range(300))):
        model.embed_one(text)
        assert is_readable(model.pieces(text)) == bool(text)
    assert model.pieces("") == model.pieces("question 1") == model.pieces("never asked") == b""
    old = [text for text in (f"question {number}" for number in range(300)) if model.pieces(text)][1]
    for text in (old, "one more", "and another"):
        model.embed_one(text)
    assert is_readable(model.pieces(old)), "it was embedded a moment ago"
