"""Fit the networks that stand beside the trees: plain numpy, Adam on the log loss, monotone by projection.

Written here because no library of the training environment fits monotone networks, and none other would be needed for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from agentcache.engine.semantic.networks import CLIP

Floats = np.ndarray[Any, np.dtype[np.float32]]

#: Units of the hidden layers.
HIDDEN: Final = (96, 32)
SEEDS: Final = (0, 1, 2)
EPOCHS: Final = 24
BATCH: Final = 256
RATE: Final = 2e-3
#: Share of hidden units that are left out of a step.
DROPPED: Final = 0.15
DECAY: Final = 1e-4


def fit_networks(
    rows: np.ndarray, labels: np.ndarray, weights: np.ndarray, directions: Sequence[int], seeds: Sequence[int] = SEEDS
) -> dict[str, Any]:
    """Return the networks for rows of features, labels 0/1 and weights, as the model file has them.

    `directions` are those of the features: 1 and -1 where the score may only rise and only fall with them, 0 where either.
    """
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-3
    held = np.array(directions)
    turned = np.where(held < 0, -1.0, 1.0)
    inputs = (((rows - mean) / scale).clip(-CLIP, CLIP) * turned).astype(np.float32)
    shares = (weights / weights.mean()).astype(np.float32)
    nets = []
    for seed in seeds:
        layers = _Fit(seed, held != 0).run(inputs, labels.astype(np.float32), shares)
        # What never changes taught nothing: its weights are those it began with.
        layers[0] = (layers[0][0] * (turned * (rows.std(axis=0) > 0))[:, None], layers[0][1])
        nets.append([(_rounded(of), _rounded(biases)) for of, biases in layers])
    return {"mean": _rounded(mean), "scale": _rounded(scale), "nets": nets}


def _rounded(values: np.ndarray) -> list[Any]:
    return [_rounded(value) if value.ndim else float(f"{value:.4g}") for value in np.asarray(values)]


class _Fit:
    """One network while it learns."""

    def __init__(self, seed: int, is_held: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        self._chance = np.random.default_rng(seed)
        sizes = (len(is_held), *HIDDEN, 1)
        self._weights: list[Floats] = []
        self._biases: list[Floats] = []
        #: Where a weight may not be negative.
        self._held: list[np.ndarray[Any, np.dtype[np.bool_]]] = []
        for place, (wide, out) in enumerate(pairwise(sizes)):
            weights = self._chance.standard_normal((wide, out)) * np.sqrt(2 / wide)
            held = np.repeat(is_held[:, None], out, axis=1) if not place else np.ones((wide, out), bool)
            # Weights of one sign add up instead of cancelling out: smaller ones keep the first steps in bounds.
            weights = np.where(held, np.abs(weights) * (0.4 if place else 0.3), weights)
            self._weights.append(weights.astype(np.float32))
            self._biases.append(np.zeros(out, np.float32))
            self._held.append(held)
        parts = [*self._weights, *self._biases]
        self._means, self._squares = [np.zeros_like(of) for of in parts], [np.zeros_like(of) for of in parts]
        self._steps = 0

    def run(self, inputs: Floats, labels: Floats, shares: Floats) -> list[tuple[Floats, Floats]]:
        """Return the fitted layers."""
        batches = len(inputs) // BATCH
        for epoch in range(EPOCHS):
            order = self._chance.permutation(len(inputs))
            for number in range(batches):
                chosen = order[number * BATCH : (number + 1) * BATCH]
                progress = (epoch * batches + number) / (EPOCHS * batches)
                self._step(inputs[chosen], labels[chosen], shares[chosen], RATE * (1 + np.cos(np.pi * progress)) / 2)
        return list(zip(self._weights, self._biases, strict=True))

    def _step(self, inputs: Floats, labels: Floats, shares: Floats, rate: float) -> None:
        values, bends = [inputs], []
        last = len(self._weights) - 1
        for place, (weights, biases) in enumerate(zip(self._weights, self._biases, strict=True)):
            sums = values[-1] @ weights + biases
            if place < last:
                half = sums.shape[1] // 2
                is_open = np.concatenate([sums[:, :half] > 0, sums[:, half:] < 0], axis=1)
                kept = self._chance.random(sums.shape, np.float32) > DROPPED
                bends.append((is_open & kept) / np.float32(1 - DROPPED))
                sums = sums * bends[-1]
            values.append(sums)
        likely = 1 / (1 + np.exp(-values[-1][:, 0].clip(-30, 30)))
        error = ((likely - labels) * shares / len(labels))[:, None].astype(np.float32)
        by_weights, by_biases = [], []
        for place in reversed(range(last + 1)):
            by_weights.append(values[place].T @ error + DECAY * self._weights[place])
            by_biases.append(error.sum(axis=0))
            if place:
                error = (error @ self._weights[place].T) * bends[place - 1]
        self._move([*by_weights[::-1], *by_biases[::-1]], rate)

    def _move(self, gradients: list[Floats], rate: float) -> None:
        """Go one step of Adam (Kingma and Ba, 2015), and back to where the network is monotone."""
        self._steps += 1
        first, second = 1 - 0.9**self._steps, 1 - 0.999**self._steps
        for place, part in enumerate([*self._weights, *self._biases]):
            self._means[place] += 0.1 * (gradients[place] - self._means[place])
            self._squares[place] += 0.001 * (gradients[place] ** 2 - self._squares[place])
            step = (self._means[place] / first) / (np.sqrt(self._squares[place] / second) + 1e-8)
            np.subtract(part, np.float32(rate) * step, out=part, casting="same_kind")
        for weights, held in zip(self._weights, self._held, strict=True):
            np.maximum(weights, 0, out=weights, where=held)
