"""Small neural networks beside the verifier's trees: the same features, smooth where trees are stepped.

Monotone where the features are: weights on the way of a feature that may only lower the score are nowhere negative once its sign is turned,
and of each hidden layer one half of the units bends upwards and the other half downwards, so that the whole may do both (Runje and
Shankaranarayana, Constrained Monotonic Neural Networks, 2023). Several that began elsewhere are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float64]]

#: Features count up to so many standard deviations from their mean.
CLIP: Final = 5.0

#: Of one layer: weights `[in][out]`, and biases `[out]`.
Layer = tuple[list[list[float]], list[float]]


class Networks:
    """Networks of one shape, as the model file has them: `mean` and `scale` of the features, and `nets`, each a list of layers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._mean: list[float] = document["mean"]
        self._scale: list[float] = document["scale"]
        self._nets: list[list[Layer]] = document["nets"]
        #: Features of a row beyond so many are none of theirs.
        self._count = len(self._mean)

    def log_odds(self, rows: Sequence[Sequence[float]] | Floats) -> list[float]:
        """Return for each row of features the mean of what the networks say; of three rows in some 40 us where numpy is installed."""
        if len(rows) == 0:
            return []
        if self._layers is None:
            return [sum(_walked(net, self._scaled(row)) for net in self._nets) / len(self._nets) for row in rows]
        import numpy as np

        mean, scale = self._units
        wide = (np.asarray(rows, np.float64)[:, : self._count] - mean) / scale
        np.minimum(np.maximum(wide, -CLIP, out=wide), CLIP, out=wide)
        # Rows and networks one by one within one operation: a row's value does not depend on what comes with it.
        values = wide[:, None, None, :]
        for place, (weights, biases) in enumerate(self._layers):
            values = values @ weights
            values += biases
            if place < len(self._layers) - 1:
                np.maximum(values, 0, out=values)
        found: list[float] = (np.add.reduce(values, axis=1) / len(self._nets))[:, 0, 0].tolist()
        return found

    def _scaled(self, row: Sequence[float]) -> list[float]:
        return [
            min(CLIP, max(-CLIP, (value - mean) / scale))
            for value, mean, scale in zip(row[: self._count], self._mean, self._scale, strict=True)
        ]

    @cached_property
    def _units(self) -> tuple[Floats, Floats]:
        import numpy as np

        return np.array(self._mean), np.array(self._scale)

    @cached_property
    def _layers(self) -> list[tuple[Floats, Floats]] | None:
        """All networks in one array a layer; None without numpy.

        Of each hidden layer the half that bends downwards is given the other way up here, and taken so by the next: then both halves
        bend upwards, in one operation, to the same values.
        """
        if find_spec("numpy") is None:
            return None
        import numpy as np

        layers = [
            (np.array([weights for weights, _ in of]), np.array([biases for _, biases in of])[:, None, :])
            for of in zip(*self._nets, strict=True)
        ]
        for (weights, biases), (following, _) in pairwise(layers):
            half = weights.shape[-1] // 2
            weights[..., half:] *= -1
            biases[..., half:] *= -1
            following[:, half:, :] *= -1
        return layers


def _walked(net: Sequence[Layer], values: list[float]) -> float:
    for place, (weights, biases) in enumerate(net):
        sums = list(biases)
        for value, of in zip(values, weights, strict=True):
            if value:
                sums = [total + value * weight for total, weight in zip(sums, of, strict=True)]
        if place == len(net) - 1:
            return sums[0]
        half = len(sums) // 2
        values = [max(0.0, total) for total in sums[:half]] + [min(0.0, total) for total in sums[half:]]
    raise ValueError("A network has at least one layer.")
