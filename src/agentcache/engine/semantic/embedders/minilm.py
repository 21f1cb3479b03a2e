"""The built-in embedder: MiniLM-L6-v2 in int8, in this process, on a thread of its own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentcache.engine.semantic.embedders.minilm_files import MODEL_DIGEST, ensure_files, read_checked
from agentcache.engine.semantic.embedders.piece_ids import REMEMBERED, REMEMBERED_CHARS, PieceIdsOf
from agentcache.engine.semantic.embedders.port import (
    EmbedderUnavailable,
    SemanticNotInstalled,
    Vector,
    estimated_tokens,
)

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float32]]


class MinilmModel:
    """English texts to 384 dimensions, 1 ms for 8 tokens, 3 ms for 22, on one core; loaded at first use.

    One text at a time: the inputs of int8 products are scaled by the largest number among all texts of a call, so
    that a text's vector would depend on whose text came with it.
    """

    id = f"minilm-l6-v2-int8:{MODEL_DIGEST[:16]}"
    dimensions = 384
    #: Of a piece: those of `minilm_export.PLACED_LAYERS` one after the other.
    hidden_dimensions = 768
    is_multilingual = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loading = threading.Lock()
        self._session: Any = None
        self._piece_ids_of: PieceIdsOf | None = None
        self._pieces: dict[str, bytes] = {}

    @property
    def is_loaded(self) -> bool:
        """Whether the first use is over."""
        return self._session is not None

    def load(self) -> None:
        """Load the model, made first where it is not there. Blocks: 0.3 s, or some seconds. Raises `EmbedderUnavailable`."""
        with self._loading:
            if self._session is not None:
                return
            ensure_files(self._folder)
            model, tokens = read_checked(self._folder)
            try:
                piece_ids_of, session = _opened(model, tokens)
            except ImportError as wrong:
                raise SemanticNotInstalled(f"{wrong}. Run: pip install 'agentcache-server[semantic]'") from wrong
            except Exception as wrong:  # the runtime's errors have no common class
                raise EmbedderUnavailable(f"the embedding model cannot be loaded: {wrong}") from wrong
            self._piece_ids_of, self._session = piece_ids_of, session

    def embed_one(self, text: str) -> Vector:
        """Return the vector of one text. Blocks; loads the model if need be."""
        from agentcache.engine.semantic.pieces import projection

        vector, hidden = self.hidden(text)
        by = projection()
        if by is not None and len(text) <= REMEMBERED_CHARS:
            # In its old place it would be the next to go.
            self._pieces.pop(text, None)
            while len(self._pieces) >= REMEMBERED:
                # The one that is longest there; another thread may have been quicker.
                self._pieces.pop(next(iter(self._pieces)), None)
            self._pieces[text] = by.pack(hidden)
        return vector

    def pieces(self, text: str) -> bytes:
        """Return the pieces of a text that was embedded a moment ago, as `Projection.pack` keeps them; empty where they are not at hand."""
        return self._pieces.get(text, b"")

    def hidden(self, text: str) -> tuple[Vector, Floats]:
        """Return the vector of one text, and `hidden_dimensions` numbers for each of its pieces in it, without the marks at its ends."""
        vectors, hidden = self._run(text, "vectors", "hidden")
        return vectors[0], hidden[0, 1:-1]

    def _run(self, text: str, *outputs: str) -> list[Floats]:
        import numpy as np

        if self._session is None:
            self.load()
        assert self._piece_ids_of is not None
        ids = np.array([self._piece_ids_of(text)[0]], np.int64)
        return self._session.run(list(outputs), {"ids": ids})  # type: ignore[no-any-return]  # the runtime ships no types

    def count_tokens(self, text: str) -> int:
        """Return how many word pieces the text has, or an estimate before the model is loaded."""
        piece_ids_of = self._piece_ids_of
        return estimated_tokens(text) if piece_ids_of is None else piece_ids_of(text)[1]

    def close(self) -> None:
        """Forget the model."""
        self._session = self._piece_ids_of = None
        self._pieces.clear()


def _opened(model: bytes, tokens: bytes) -> tuple[PieceIdsOf, Any]:
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    # One core for each server process, as for everything else in it; errors only, on standard error.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena would keep the room of the longest text for ever.
    options.enable_cpu_mem_arena = False
    piece_ids_of = PieceIdsOf(Tokenizer.from_buffer(tokens))
    return piece_ids_of, onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
