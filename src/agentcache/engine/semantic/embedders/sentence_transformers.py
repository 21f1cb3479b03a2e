"""An embedder of the sentence-transformers library, where the operator has installed it: any of its models by name."""

from __future__ import annotations

import copy
import threading
from typing import Any

from agentcache.engine.semantic.embedders.fingerprints import PROBES, fingerprint
from agentcache.engine.semantic.embedders.port import (
    EmbedderUnavailable,
    SemanticNotInstalled,
    Vector,
    estimated_tokens,
)


class SentenceTransformersModel:
    """Runs in this process, on the processor. Loaded at first use, from the folder or the library's own cache."""

    def __init__(self, name: str, *, is_multilingual: bool) -> None:
        self.is_multilingual = is_multilingual
        self.dimensions = 0
        self._name = name
        self._fingerprint = ""
        self._loading = threading.Lock()
        self._model: Any = None
        self._tokenizer: Any = None

    @property
    def id(self) -> str:
        """Name and fingerprint; the last only once the model is loaded."""
        return f"sentence-transformers:{self._name}:{self._fingerprint}"

    def load(self) -> None:
        """Load the model. Blocks; raises `EmbedderUnavailable`."""
        with self._loading:
            if self._model is not None:
                return
            try:
                import torch
                from sentence_transformers import SentenceTransformer
            except ImportError as wrong:
                raise SemanticNotInstalled(
                    "Not installed: sentence-transformers. Install it into the server's environment, or choose another "
                    "AGENTCACHE_SEMANTIC_EMBEDDER."
                ) from wrong
            # One short text at a time: more threads spin for each other, and take the processor from the event loop.
            torch.set_num_threads(1)
            try:
                model = SentenceTransformer(self._name, device="cpu")
                # A copy to count with, on the event loop: the library's own refuses two threads at a time.
                tokenizer = copy.deepcopy(getattr(model, "tokenizer", None))
                probes = [self._encoded(model, text) for text in PROBES]
            except Exception as wrong:  # the library's errors have no common class
                raise EmbedderUnavailable(f"the model {self._name} cannot be loaded: {type(wrong).__name__}") from wrong
            self.dimensions, self._fingerprint = len(probes[0]), fingerprint(probes)
            self._model, self._tokenizer = model, tokenizer

    def embed_one(self, text: str) -> Vector:
        """Return the vector of one text. Blocks; loads the model if need be."""
        if self._model is None:
            self.load()
        return self._encoded(self._model, text)

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the model makes of the text, or an estimate before it is loaded."""
        tokenizer = self._tokenizer
        return len(tokenizer.tokenize(text)) if tokenizer is not None else estimated_tokens(text)

    def pieces(self, text: str) -> bytes:
        """Return nothing: the trees for pieces were fitted to those of the built-in model."""
        return b""

    def close(self) -> None:
        """Forget the model."""
        self._model = self._tokenizer = None

    @staticmethod
    def _encoded(model: Any, text: str) -> Vector:
        import numpy as np

        vector = model.encode(text, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vector, np.float32)
