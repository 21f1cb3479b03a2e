"""The port of embedders: what turns texts into vectors of unit length."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from agentcache.kit.errors import AgentCacheError

if TYPE_CHECKING:
    import numpy as np

    #: float32 `[dimensions]`, of length 1.
    Vector = np.ndarray[Any, np.dtype[np.float32]]
else:
    Vector = Any


#: What a caller has to do anyhow, on the event loop, and may as well do while vectors are made: short, and without waiting.
Meanwhile = Callable[[], None]


class EmbedderUnavailable(AgentCacheError):
    """The embedder cannot be used now."""

    code = "embedder_unavailable"
    status = 503


class SemanticNotInstalled(EmbedderUnavailable):
    """Semantic caching is not installed: pip install 'agentcache-server[semantic]'."""

    code = "semantic_not_installed"
    status = 400


class Embedder(Protocol):
    """Turns texts into vectors whose dot product says how near two texts are."""

    @property
    def id(self) -> str:
        """Name of model, version and digest. Vectors of different ids are never compared."""

    @property
    def dimensions(self) -> int:
        """The length of each vector; 0 before the first where only the service knows."""

    @property
    def is_multilingual(self) -> bool:
        """Whether texts in other languages than English may be compared."""

    async def embed(
        self, texts: Sequence[str], *, seconds: float | None = None, meanwhile: Meanwhile | None = None
    ) -> list[Vector]:
        """Return one vector per text within `seconds` (the configured budget if None), or raise `EmbedderUnavailable`.

        Blocks no event loop, and a text's vector does not depend on the texts that are embedded with it. `meanwhile` is called
        before vectors are returned, once; where this raises it may not have been. What it raises ends the embedding and is passed on.
        """

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the text has; an estimate as long as the model is not loaded, or is elsewhere."""

    def pieces(self, text: str) -> bytes:
        """Return the word pieces of a text that was embedded a moment ago (`engine/semantic/pieces.py`); empty where there are none."""

    async def aclose(self) -> None:
        """Release everything."""


_TOKEN: Final = re.compile(r"[^\W_]{1,6}|[^\w\s]|_")


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has: pieces of up to six letters or digits, and every sign."""
    return len(_TOKEN.findall(text))
