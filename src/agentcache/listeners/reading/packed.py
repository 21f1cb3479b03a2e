"""Documents that come packed by gzip."""

from __future__ import annotations

from typing import Final

from agentcache.kit.inflating import Cut, Damaged, TooLarge, Window, inflate
from agentcache.listeners.reading.errors import NotReadable

#: As large as a document may be that comes as it is.
UNPACKED_BYTES_MAX: Final = 5 * 1024 * 1024
_MAGIC: Final = b"\x1f\x8b\x08"
#: A packed file may be packed once more on its way.
_LAYERS_MAX: Final = 2


def unpacked(body: bytes, bytes_max: int = UNPACKED_BYTES_MAX) -> bytes:
    """Return a document as it is; raise `NotReadable` for one that is damaged or larger than `bytes_max` unpacked."""
    for _ in range(_LAYERS_MAX):
        if not body.startswith(_MAGIC):
            return body
        try:
            body = inflate(body, bytes_max, Window.GZIP)
        except TooLarge:
            raise NotReadable(f"Unpacked, the document is larger than {bytes_max // 1024 // 1024} MiB.") from None
        except (Damaged, Cut):
            raise NotReadable("The packed document is damaged or cut.") from None
    return body
