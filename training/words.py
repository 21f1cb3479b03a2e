"""Make the vectors of single words that `engine/semantic/word_vectors.py` reads: `make train-verifier` with `--words`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np

from agentcache.engine.semantic.embedders.minilm_files import TOKENS_NAME
from agentcache.engine.semantic.lexicon import base_form, lexicon
from agentcache.engine.semantic.word_vectors import DIMENSIONS
from agentcache.engine.semantic.words import STOP
from training.embedding import VectorCache

FOLDER: Final = Path(__file__).parent.parent / "src/agentcache/engine/semantic/lexicon"


def write_word_vectors(cache: VectorCache, tokens_folder: Path, folder: Path = FOLDER) -> int:
    """Write the vectors of all words that the embedder or the word lists know, in base form; return how many."""
    cache.model.load()
    pieces = json.loads((tokens_folder / TOKENS_NAME).read_text(encoding="utf-8"))["model"]["vocab"]
    known = {piece for piece in pieces if piece.isalpha() and piece.isascii() and len(piece) > 1}
    known |= {word for word in lexicon().words if word.isalpha()}
    words = sorted(STOP & known | {word for word in known if base_form(word) == word})
    cache.add(words)
    vectors = cache.matrix(words)
    centred = vectors - vectors.mean(axis=0)
    # The directions in which words differ most; the signs of the axes do not matter.
    _, axes = np.linalg.eigh(centred.T @ centred)
    rows = centred @ axes[:, -DIMENSIONS:]
    rows = np.rint(rows * (127 / np.abs(rows).max(axis=1, keepdims=True))).astype(np.int8)
    (folder / "vectors.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "vectors.int8").write_bytes(rows.tobytes())
    return len(words)
