"""Counters that all workers share, for limits: monthly counts, a rate per minute, and money that is set aside.

Asking is all or nothing: when one limit of a call is reached, none of its other limits is charged.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

MINUTE_US = 60_000_000
#: Money is set aside in half-hour generations; what a killed worker had set aside is free again after two.
HOLD_SECONDS = 1800


class Kind(IntEnum):
    """What a limit counts."""

    COUNT = 1
    RATE = 2
    HOLD = 3


@dataclass(frozen=True, slots=True)
class Ask:
    """One limit that a call wants room under. Names are the tenant's own; money is 1e-9 USD."""

    kind: Kind
    tenant_id: str
    name: str
    limit: int
    #: Calendar month (year * 100 + month) for counts and money; without meaning for rates.
    period: int = 0
    #: What the database knows to be used already: a counter that was lost begins here.
    floor: int = 0
    want: int = 1


@dataclass(frozen=True, slots=True)
class Got:
    """What came of an ask: how much was granted, and where the counter stands now.

    The value of a rate is the time in microseconds at which its allowance is whole again.
    """

    granted: int
    value: int


class Tally(Protocol):
    """Counters shared by all workers."""

    async def ask(self, asks: Sequence[Ask], now: float) -> list[Got]:
        """Take what is asked for, all or nothing. Raises `StoreUnavailable`."""

    async def settle(self, ask: Ask, generation: int, cost: int) -> None:
        """Free what a HOLD set aside in a generation, and count what was really spent. Raises `StoreUnavailable`."""

    async def close(self) -> None:
        """Release what is held."""


def generation_of(now: float) -> int:
    """Return the generation in which money is set aside now."""
    return int(now // HOLD_SECONDS)


def rate_after(tat: int, limit: int, want: int, now_us: int) -> tuple[bool, int]:
    """Return whether a rate of `limit` a minute has room, and when its allowance is whole again (GCRA).

    The allowance of a minute may be used at once, and comes back evenly.
    """
    tat = max(tat, now_us)
    after = tat + want * (MINUTE_US // limit)
    return (False, tat) if after - now_us > MINUTE_US else (True, after)


def rate_left(value: int, limit: int, now: float) -> int:
    """Return how many calls a rate still has room for."""
    return max(0, (MINUTE_US - (value - int(now * 1e6))) // (MINUTE_US // limit))


_RECORD = struct.Struct("<16sqq")
_SLOTS = 1 << 15
_PROBES = 64
_LOCK_TRIES = 400
_LOCK_PAUSE_SECONDS = 50e-6
_EMPTY = bytes(16)
_REMEMBERED_MAX = 50_000


class FileTally:
    """Counters in a memory-mapped file of this machine. It outlives its workers, so a kill loses no count."""

    def __init__(self, path: Path, slots: int = _SLOTS) -> None:
        self._path = path
        self._slots = slots
        # Opened when the first limit is met: most servers have none.
        self._file: tuple[int, mmap.mmap] | None = None
        self._offsets: dict[tuple[str, str], tuple[bytes, int]] = {}

    @property
    def _map(self) -> mmap.mmap:
        return self._open()[1]

    def _open(self) -> tuple[int, mmap.mmap]:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(descriptor).st_size < self._slots * _RECORD.size:
                os.ftruncate(descriptor, self._slots * _RECORD.size)
            self._file = descriptor, mmap.mmap(descriptor, self._slots * _RECORD.size)
        return self._file

    def ask_now(self, asks: Sequence[Ask], now: float) -> list[Got]:
        """Take what is asked for, all or nothing."""
        with self._alone():
            found = [self._look(ask, now) for ask in asks]
            refused = [not fits for fits, _value, _writes in found]
            if any(refused):
                return [
                    Got(0 if is_refused else ask.want, self._value(ask))
                    for ask, is_refused in zip(asks, refused, strict=True)
                ]
            for _fits, _value, (tenant_id, name, period, value) in found:
                self._write(tenant_id, name, period, value)
            return [Got(ask.want, value) for ask, (_fits, value, _writes) in zip(asks, found, strict=True)]

    async def ask(self, asks: Sequence[Ask], now: float) -> list[Got]:
        """Take what is asked for, all or nothing."""
        return self.ask_now(asks, now)

    async def settle(self, ask: Ask, generation: int, cost: int) -> None:
        """Free what was set aside, and count what was spent."""
        with self._alone():
            name = _hold_name(ask.name, generation)
            held = self._read(ask.tenant_id, name, generation)
            # Another generation has its place by now, and with it what was held is free already.
            if held:
                self._write(ask.tenant_id, name, generation, max(0, held - ask.want))
            spent = max(self._read(ask.tenant_id, ask.name, ask.period), ask.floor)
            self._write(ask.tenant_id, ask.name, ask.period, spent + cost)

    async def close(self) -> None:
        """Close the file; it stays for the next start."""
        if self._file is not None:
            descriptor, mapped = self._file
            mapped.close()
            os.close(descriptor)
            self._file = None

    def _look(self, ask: Ask, now: float) -> tuple[bool, int, tuple[str, str, int, int]]:
        """Return whether the ask fits, the counter's value then, and the record to write."""
        if ask.kind is Kind.RATE:
            tat = self._read(ask.tenant_id, ask.name, 0)
            fits, after = rate_after(tat, ask.limit, ask.want, int(now * 1e6))
            return fits, after, (ask.tenant_id, ask.name, 0, after)
        used = max(self._read(ask.tenant_id, ask.name, ask.period), ask.floor)
        if ask.kind is Kind.COUNT:
            after = used + ask.want
            return after <= ask.limit, after, (ask.tenant_id, ask.name, ask.period, after)
        generation = generation_of(now)
        name = _hold_name(ask.name, generation)
        held = self._read(ask.tenant_id, name, generation)
        before = self._read(ask.tenant_id, _hold_name(ask.name, generation - 1), generation - 1)
        fits = used < ask.limit and used + held + before + ask.want <= ask.limit
        return fits, used, (ask.tenant_id, name, generation, held + ask.want)

    def _value(self, ask: Ask) -> int:
        return max(self._read(ask.tenant_id, ask.name, 0 if ask.kind is Kind.RATE else ask.period), ask.floor)

    def _read(self, tenant_id: str, name: str, period: int) -> int:
        offset = self._find(tenant_id, name)
        _digest, kept_period, value = _RECORD.unpack_from(self._map, offset)
        return value if kept_period == period else 0

    def _write(self, tenant_id: str, name: str, period: int, value: int) -> None:
        offset = self._find(tenant_id, name)
        _RECORD.pack_into(self._map, offset, self._map[offset : offset + 16], period, value)

    def _find(self, tenant_id: str, name: str) -> int:
        known = self._offsets.get((tenant_id, name))
        if known is not None and self._map[known[1] : known[1] + 16] == known[0]:
            return known[1]
        digest = blake2b(f"{tenant_id}\0{name}".encode(), digest_size=16).digest()
        start = int.from_bytes(digest[:8], "little")
        offsets = [((start + step) % self._slots) * _RECORD.size for step in range(_PROBES)]
        offset = self._choose(digest, offsets)
        if len(self._offsets) >= _REMEMBERED_MAX:
            self._offsets.clear()
        self._offsets[tenant_id, name] = (digest, offset)
        return offset

    def _choose(self, digest: bytes, offsets: list[int]) -> int:
        for offset in offsets:
            kept = self._map[offset : offset + 16]
            if kept == digest:
                return offset
            if kept == _EMPTY:
                _RECORD.pack_into(self._map, offset, digest, 0, 0)
                return offset
        # Full here: rates (period 0) and holds give way first, then old months. A count that was wrongly chosen
        # begins again at what the database knows.
        offset = min(offsets, key=lambda at: _RECORD.unpack_from(self._map, at)[1])
        _RECORD.pack_into(self._map, offset, digest, 0, 0)
        return offset

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor, _mapped = self._open()
        is_held = self._lock(descriptor)
        try:
            yield
        finally:
            if is_held:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _lock(self, descriptor: int) -> bool:
        # Held for microseconds by others; one that was stopped while holding it must not stop everybody.
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_SECONDS)
            else:
                return True
        return False


def _hold_name(name: str, generation: int) -> str:
    return f"{name}:held{generation % 2}"
