"""Undoes compression within a bound, whatever the compressed bytes promise: a small body may hold gigabytes."""

from __future__ import annotations

import zlib
from enum import IntEnum


class Window(IntEnum):
    """How the compressed bytes are framed."""

    ZLIB = zlib.MAX_WBITS
    GZIP = 16 + zlib.MAX_WBITS
    #: Either, told by the first bytes.
    EITHER = 32 + zlib.MAX_WBITS


class Damaged(Exception):
    """The compressed bytes are damaged."""


class Cut(Exception):
    """The compressed bytes end before their end."""


class TooLarge(Exception):
    """There is more in the compressed bytes than is wanted."""


def inflate(body: bytes, bytes_max: int, window: Window) -> bytes:
    """Return what was compressed, at most `bytes_max` bytes. Raises `Damaged`, `Cut` or `TooLarge`."""
    inflater = zlib.decompressobj(wbits=window)
    try:
        # Never more than the bound and a byte is made.
        plain = inflater.decompress(body, bytes_max + 1)
    except zlib.error:
        raise Damaged from None
    if len(plain) > bytes_max:
        raise TooLarge
    if not inflater.eof:
        raise Cut
    return plain
