"""Vectors of many texts by the embedder that ships, kept between runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from agentcache.engine.semantic.embedders.minilm import MinilmModel
from training.hidden import HiddenCache

#: So many new texts are kept at once: an interrupted run loses a minute at most.
_KEPT_AT_ONCE = 10_000


class VectorCache:
    """Texts to vectors of unit length; what was embedded once is read from `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.model = MinilmModel(folder)
        #: Of the word pieces, which are read for themselves: not every text needs them.
        self.hidden = HiddenCache(self.model, folder)
        stem = self.model.id.replace(":", "-")
        self._texts_path, self._vectors_path = folder / f"{stem}.jsonl", folder / f"{stem}.f32"
        self._places: dict[str, int] = {}
        self._vectors = np.zeros((0, self.model.dimensions), np.float32)
        if self._texts_path.exists():
            texts = self._texts_path.read_text(encoding="utf-8").splitlines()
            vectors = np.fromfile(self._vectors_path, np.float32).reshape(-1, self.model.dimensions)
            self._vectors = vectors[: len(texts)]
            self._places = {json.loads(text): index for index, text in enumerate(texts[: len(vectors)])}

    def add(self, texts: Iterable[str]) -> None:
        """Embed those texts that are not there yet, in 1 to 15 ms each."""
        new = [text for text in dict.fromkeys(texts) if text not in self._places]
        for start in range(0, len(new), _KEPT_AT_ONCE):
            part = new[start : start + _KEPT_AT_ONCE]
            vectors = np.stack([self.model.embed_one(text) for text in part])
            with (
                self._texts_path.open("a", encoding="utf-8") as texts_file,
                self._vectors_path.open("ab") as vectors_file,
            ):
                texts_file.writelines(json.dumps(text) + "\n" for text in part)
                vectors_file.write(vectors.astype(np.float32).tobytes())
            self._places.update({text: len(self._vectors) + index for index, text in enumerate(part)})
            self._vectors = np.concatenate([self._vectors, vectors])

    def matrix(self, texts: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return the vectors of texts that were added, one a row."""
        return self._vectors[[self._places[text] for text in texts]]

    def cosine(self, one: str, other: str) -> float:
        """Return the cosine of two texts that were added."""
        return float(self._vectors[self._places[one]] @ self._vectors[self._places[other]])
