"""The hidden vectors of the word pieces of many texts, kept between runs: some 24 kB a text, 2 GB for all that is trained on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from agentcache.engine.semantic.embedders.minilm import MinilmModel
from agentcache.engine.semantic.pieces import PIECES_MAX

Halves = np.ndarray[Any, np.dtype[np.float16]]

#: So many new texts are kept at once: an interrupted run loses a minute at most.
_KEPT_AT_ONCE = 5_000


class HiddenCache:
    """Texts to the hidden vectors of their pieces."""

    def __init__(self, model: MinilmModel, folder: Path) -> None:
        self._model = model
        stem = model.id.replace(":", "-")
        self._texts_path, self._rows_path = folder / f"{stem}.hidden.jsonl", folder / f"{stem}.hidden.f16"
        self._spans: dict[str, tuple[int, int]] = {}
        self._end = 0
        self._rows: Halves | None = None
        if self._texts_path.exists():
            for line in self._texts_path.read_text(encoding="utf-8").splitlines():
                text, count = json.loads(line)
                self._remember(text, count)

    def add(self, texts: Iterable[str]) -> None:
        """Read those texts that are not there yet, in 1 to 15 ms each."""
        new = [text for text in dict.fromkeys(texts) if text not in self._spans]
        for start in range(0, len(new), _KEPT_AT_ONCE):
            part = new[start : start + _KEPT_AT_ONCE]
            rows = [self._model.hidden(text)[1][:PIECES_MAX].astype(np.float16) for text in part]
            # Rows first: of a run that ends between the two, the lines say where the known ones end.
            with self._rows_path.open("r+b" if self._rows_path.exists() else "wb") as file:
                file.seek(self._end * rows[0].shape[1] * 2)
                file.writelines(of.tobytes() for of in rows)
                file.truncate()
            with self._texts_path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps([text, len(of)]) + "\n" for text, of in zip(part, rows, strict=True))
            for text, of in zip(part, rows, strict=True):
                self._remember(text, len(of))
            self._rows = None

    def span(self, text: str) -> tuple[int, int]:
        """Return where the rows of a text that was added begin and end."""
        return self._spans[text]

    @property
    def rows(self) -> Halves:
        """All rows, read from the file as they are needed."""
        if self._rows is None:
            width = self._model.hidden_dimensions
            self._rows = np.memmap(self._rows_path, np.float16, "r", shape=(self._end, width))
        return self._rows

    def of(self, text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return the rows of a text that was added."""
        start, end = self._spans[text]
        return self.rows[start:end].astype(np.float32)

    def _remember(self, text: str, count: int) -> None:
        self._spans[text] = self._end, self._end + count
        self._end += count
