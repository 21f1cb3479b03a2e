"""The texts that an embedder is calibrated by: pairs of our own, with the cosines that the embedder that ships gives them.

    paraphrase | 0.9034 | one text | the other

Made by `training/calibration.py`; which embedder measured stands in the file's head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, get_args

#: paraphrase: one answer serves both; trap: they look alike and want two; subject: one subject, two questions; unrelated: neither.
PairKind = Literal["paraphrase", "trap", "subject", "unrelated"]
NAME: Final = "pairs.txt"
_KINDS: Final[dict[str, PairKind]] = {kind: kind for kind in get_args(PairKind)}
_HEAD: Final = "# Made by training/calibration.py, with the cosines of "


@dataclass(frozen=True, slots=True)
class CalibrationPair:
    """Two texts and what the embedder that ships says of them."""

    kind: PairKind
    #: -1 to 1.
    cosine: float
    one: str
    other: str


@dataclass(frozen=True, slots=True)
class CalibrationPairs:
    """All of them, and a digest that changes with any."""

    digest: str
    #: Id of the embedder that measured.
    measured_by: str
    pairs: tuple[CalibrationPair, ...]

    @property
    def texts(self) -> list[str]:
        """Each text once, in a stable order."""
        return list(dict.fromkeys(text for pair in self.pairs for text in (pair.one, pair.other)))


@cache
def load_pairs() -> CalibrationPairs:
    """Return the pairs of this release."""
    written = (files(__package__) / NAME).read_text(encoding="utf-8")
    head, *lines = written.splitlines()
    digest = hashlib.sha256(written.encode()).hexdigest()[:16]
    return CalibrationPairs(digest, head.removeprefix(_HEAD), tuple(map(_read, lines)))


def write_pairs(path: Path, measured_by: str, pairs: Iterable[CalibrationPair]) -> None:
    """Write a file as `load_pairs` reads it."""
    lines = [f"{pair.kind} | {pair.cosine:.4f} | {pair.one} | {pair.other}" for pair in pairs]
    path.write_text("\n".join([_HEAD + measured_by, *lines]) + "\n", encoding="utf-8")


def _read(line: str) -> CalibrationPair:
    kind, cosine, one, other = line.split(" | ")
    return CalibrationPair(_KINDS[kind], float(cosine), one, other)


def cosines_of(kind: PairKind, pairs: Sequence[CalibrationPair], cosines: Sequence[float]) -> list[float]:
    """Return those of `cosines`, one for each pair, that are of pairs of a kind."""
    return [cosine for pair, cosine in zip(pairs, cosines, strict=True) if pair.kind == kind]
