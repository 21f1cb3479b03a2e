"""A pair of prompts with its truth, and where pairs come from."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: Tests of CheckList that are built on Quora's questions: measured on, never trained on.
QUORA_TESTS: Final = ("NER: Change first and last name", "NER: Change location")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two prompts, and whether one answer serves both."""

    stored: str
    asked: str
    is_same: bool
    #: What the pair tests: `paraphrase`, or the kind of trap.
    kind: str
    #: What must not be on both sides of a split: an intent of the generator, a test, a class.
    group: str
    source: str
    weight: float = 1.0
    #: Best cosine less the next best, where a pair came out of a search; 0 where it did not.
    margin: float = 0.0


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines; none where there is no such file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def shared_pairs(folder: Path, name: str) -> list[Pair]:
    """Return the pairs of a file of the development data."""
    source = name.removesuffix("_dev")
    found = []
    for index, row in enumerate(read_rows(folder / f"{name}.jsonl")):
        kind = row.get("cat") or "paraphrase"
        group = kind.split(":")[0] if source == "synth" else kind if source == "checklist" else f"{source}{index // 25}"
        if source == "synth":
            kind = {"para": "paraphrase", "near": "near-repeat"}.get(kind.split(":")[1], kind.split(":")[1])
        found.append(Pair(row["a"], row["b"], bool(row["y"]), kind, f"{source}/{group}", source))
    return found


def is_quora(pair: Pair) -> bool:
    """Tell whether a pair rests on Quora's questions, which nothing that ships is trained on."""
    return pair.source == "qqp" or pair.kind.startswith(QUORA_TESTS)


def sampled(pairs: list[Pair], count: int, seed: int = 1) -> list[Pair]:
    """Return so many pairs at random, the same ones each time."""
    return pairs if len(pairs) <= count else random.Random(seed).sample(pairs, count)


def by_class(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (prompt, class) of the Banking77 stream in its order."""
    for row in read_rows(folder / "banking77_stream_dev.jsonl"):
        yield row["text"], row["class"]
