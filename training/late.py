"""Fits the projection of word pieces: which pieces matter, and in which directions two of them are to be alike.

The log-odds that one answer serves both prompts are those of the trees, less, for each piece, its weight times how far the nearest piece
of the other prompt is. Projection and weights are fitted together by gradient descent (Adam) on that, so that they learn what the
trees do not see. Written in numpy, for it is little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from agentcache.engine.semantic.pieces import DIMENSIONS, PIECES_MAX, Projection
from training.hidden import HiddenCache
from training.pairs import Pair

Floats = np.ndarray[Any, np.dtype[np.float32]]
Places = np.ndarray[Any, np.dtype[np.int64]]

EPOCHS: Final = 2
RATE: Final = 5e-4
BATCH: Final = 128
#: Of the learning rate, what the weigher moves at, and the single numbers.
WEIGHER_RATE: Final = 0.5
NUMBER_RATE: Final = 5.0
#: What the axes with the most variance are scaled by at first, and what a piece weighs before anything is known: softplus of it.
AXES_SCALE: Final = 0.3
OFFSET: Final = -1.5
#: Rows that mean, spread and first axes are taken from.
SAMPLE: Final = 40_000


@dataclass(frozen=True, slots=True)
class Scale:
    """What hidden vectors are brought to before anything is fitted, and the axes along which they differ most."""

    mean: Floats
    spread: Floats
    axes: Floats

    @classmethod
    def of(cls, cache: HiddenCache) -> Scale:
        """Return it for a sample of all rows; the layers have a spread each."""
        count = len(cache.rows)
        at = np.sort(np.random.RandomState(0).permutation(count)[:SAMPLE])
        rows = cache.rows[at].astype(np.float32)
        mean = rows.mean(axis=0)
        parts = np.split(rows - mean, rows.shape[1] // 384, axis=1)
        spread = np.concatenate([np.full(384, part.std(), np.float32) for part in parts])
        centred = (rows - mean) / spread
        _, axes = np.linalg.eigh(centred.T @ centred)
        return cls(mean, spread, axes[:, ::-1][:, :DIMENSIONS].astype(np.float32))


class Net:
    """The parameters under way, with Adam's averages."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self.values: dict[str, Floats] = {
            "axes": scale.axes * np.float32(AXES_SCALE), "weigher": np.zeros(len(scale.mean), np.float32),
            "offset": np.full(1, OFFSET, np.float32), "bias": np.zeros(1, np.float32), "margin": np.full(1, 0.5, np.float32),
        }  # fmt: skip
        self._means = {name: np.zeros_like(value) for name, value in self.values.items()}
        self._squares = {name: np.zeros_like(value) for name, value in self.values.items()}
        self._steps = 0

    def projection(self) -> bytes:
        """Return the file of the projection."""
        scale = self._scale
        axes = self.values["axes"] / scale.spread[:, None]
        rows = np.concatenate([scale.mean[None], (self.values["weigher"] / scale.spread)[None], axes.T])
        return np.concatenate([rows.ravel(), self.values["offset"]]).astype("<f2").tobytes()

    def step(self, ours: Batch, theirs: Batch, labels: Floats, weights: Floats, margins: Floats, rate: float) -> None:
        """Go one step down the gradient of the log loss."""
        left, right = self._placed(ours), self._placed(theirs)
        inside = ours.mask[:, :, None] & theirs.mask[:, None, :]
        cosines = np.where(inside, left.units @ right.units.transpose(0, 2, 1), np.float32(-2))
        to_right, to_left = cosines.argmax(axis=2), cosines.argmax(axis=1)
        left_far = np.where(ours.mask, 1 - cosines.max(axis=2), 0)
        right_far = np.where(theirs.mask, 1 - cosines.max(axis=1), 0)
        cost = (left.weights * left_far).sum(axis=1) + (right.weights * right_far).sum(axis=1)
        log_odds = self.values["bias"][0] + self.values["margin"][0] * margins - cost
        slope = (weights * (1 / (1 + np.exp(-log_odds)) - labels) / weights.sum()).astype(np.float32)
        of_cosines = np.zeros_like(cosines)
        batch, rows, columns = np.arange(len(labels))[:, None], *(np.arange(size)[None] for size in cosines.shape[1:])
        of_cosines[batch, rows, to_right] += np.where(ours.mask, slope[:, None] * left.weights, 0)
        of_cosines[batch, to_left, columns] += np.where(theirs.mask, slope[:, None] * right.weights, 0)
        of_left = left.back(of_cosines @ right.units)
        of_right = right.back(of_cosines.transpose(0, 2, 1) @ left.units)
        # The slope of softplus is the logistic function, of which the weights themselves tell.
        left_weights = -slope[:, None] * left_far * (1 - np.exp(-left.weights))
        right_weights = -slope[:, None] * right_far * (1 - np.exp(-right.weights))
        self._move(
            {
                "axes": _product(ours.rows, of_left) + _product(theirs.rows, of_right),
                "weigher": _product(ours.rows, left_weights) + _product(theirs.rows, right_weights),
                "offset": np.array([left_weights.sum() + right_weights.sum()]),
                "bias": np.array([slope.sum()]),
                "margin": np.array([(slope * margins).sum()]),
            },
            rate,
        )

    def _placed(self, batch: Batch) -> _Placed:
        rows = batch.rows @ self.values["axes"]
        lengths = np.sqrt(np.square(rows).sum(axis=-1, keepdims=True) + np.float32(1e-6))
        weights = np.logaddexp(0, batch.rows @ self.values["weigher"] + self.values["offset"])
        return _Placed(rows / lengths, lengths, weights)

    def _move(self, slopes: dict[str, Any], rate: float) -> None:
        self._steps += 1
        for name, slope in slopes.items():
            mean, square = self._means[name], self._squares[name]
            mean += 0.1 * (slope - mean)
            square += 0.001 * (np.square(slope) - square)
            move = mean / (1 - 0.9**self._steps) / (np.sqrt(square / (1 - 0.999**self._steps)) + 1e-8)
            share = 1.0 if name == "axes" else WEIGHER_RATE if name == "weigher" else NUMBER_RATE
            self.values[name] -= np.float32(rate * share) * move.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some prompts: their rows `[prompts, pieces, hidden]`, zero where the mask says that there is none."""

    rows: Floats
    mask: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def of(cls, cache: HiddenCache, scale: Scale, spans: Places) -> Batch:
        """Return the prompts whose rows lie in these spans."""
        counts = np.minimum(spans[:, 1] - spans[:, 0], PIECES_MAX)
        along = np.arange(max(1, int(counts.max())))[None]
        mask = along < counts[:, None]
        rows = cache.rows[np.where(mask, spans[:, :1] + along, 0)].astype(np.float32)
        return cls((rows - scale.mean) / scale.spread * mask[:, :, None], mask)


@dataclass(frozen=True, slots=True)
class _Placed:
    units: Floats
    lengths: Floats
    weights: Floats

    def back(self, slope: Floats) -> Floats:
        """Return the slope by the rows before they were made of length 1."""
        found: Floats = (slope - self.units * (self.units * slope).sum(axis=-1, keepdims=True)) / self.lengths
        return found


def _product(rows: Floats, slopes: Floats) -> Floats:
    """Return the slope by what `rows` were multiplied with."""
    flat = rows.reshape(-1, rows.shape[-1]).T
    return flat @ (slopes.reshape(-1, slopes.shape[-1]) if slopes.ndim == rows.ndim else slopes.ravel())


def fit_projection(pairs: list[Pair], margins: Floats, cache: HiddenCache, scale: Scale) -> Projection:
    """Return the projection for pairs whose log-odds by the model of their texts, out of fold, are `margins`."""
    return Projection.read(fitted(pairs, margins, cache, scale))


def fitted(pairs: list[Pair], margins: Floats, cache: HiddenCache, scale: Scale) -> bytes:
    """Return the file of `fit_projection`."""
    stored, asked = (
        np.array([cache.span(text) for text in texts], np.int64)
        for texts in ([pair.stored for pair in pairs], [pair.asked for pair in pairs])
    )
    labels = np.array([pair.is_same for pair in pairs], np.float32)
    weights = np.array([pair.weight for pair in pairs], np.float32)
    longest = np.maximum(stored[:, 1] - stored[:, 0], asked[:, 1] - asked[:, 0])
    net, rng = Net(scale), np.random.RandomState(0)
    total = EPOCHS * -(-len(pairs) // BATCH)
    step = 0
    for _ in range(EPOCHS):
        # Pairs of about one length together: little is padding.
        order = np.argsort(longest + 3 * rng.rand(len(pairs)), kind="stable")
        starts = np.arange(0, len(pairs), BATCH)
        rng.shuffle(starts)
        for start in starts:
            step += 1
            at = order[start : start + BATCH]
            rate = RATE * min(1.0, step / 200) * (1 - step / (total + 1))
            ours, theirs = (Batch.of(cache, scale, spans[at]) for spans in (stored, asked))
            net.step(ours, theirs, labels[at], weights[at], margins[at].astype(np.float32), rate)
    return net.projection()
