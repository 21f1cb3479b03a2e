from __future__ import annotations

import os
import pickle
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcache.engine.stores.framing import (
    PLAIN,
    SEALED,
    Corrupt,
    head_meta,
    mark_trailer,
    open_frame,
    open_head,
    pack_head,
    read_trailers,
    split_frame,
    stale_trailer,
)
from tests.support.entries import make_entry, make_key

ENTRY = make_entry("a", b"body " * 20, tags=("t",), parts={"model": b"12345678"})
HEAD = pack_head(ENTRY.key, ENTRY.meta, ENTRY.body)
FRAME = HEAD + ENTRY.body


def test_a_frame_opens_to_what_was_packed() -> None:
    assert open_frame(ENTRY.key, HEAD, ENTRY.body) == ENTRY
    assert open_frame(ENTRY.key, *split_frame(FRAME)[:2]) == ENTRY
    assert open_head(ENTRY.key, FRAME[: len(HEAD)]) == (ENTRY.meta, len(ENTRY.body))


def test_every_flipped_bit_is_noticed() -> None:
    for bit in range(len(FRAME) * 8):
        damaged = bytearray(FRAME)
        damaged[bit // 8] ^= 1 << (bit % 8)
        if bit // 8 == 3:
            continue  # the reserved byte means nothing yet
        with pytest.raises(Corrupt):
            open_frame(ENTRY.key, *split_frame(bytes(damaged))[:2])


def test_every_cut_and_every_addition_is_noticed() -> None:
    for length in range(len(FRAME)):
        with pytest.raises(Corrupt):
            open_frame(ENTRY.key, *split_frame(FRAME[:length])[:2])
    with pytest.raises(Corrupt):
        open_frame(ENTRY.key, *split_frame(FRAME + b"x")[:2])


def test_a_frame_opens_under_its_own_key_and_kind_only() -> None:
    with pytest.raises(Corrupt):
        open_frame(make_key("b"), HEAD, ENTRY.body)
    with pytest.raises(Corrupt):
        open_frame(ENTRY.key, HEAD, ENTRY.body, SEALED)
    with pytest.raises(Corrupt):
        open_head(make_key("b"), HEAD, PLAIN)


def test_metadata_of_another_format_does_not_open() -> None:
    other = msgspec.structs.replace(ENTRY.meta, format=ENTRY.meta.format + 1)
    with pytest.raises(Corrupt):
        open_frame(ENTRY.key, pack_head(ENTRY.key, other, ENTRY.body), ENTRY.body)


class _Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_only_a_corrupt_frame(tmp_path: Path, protocol: int) -> None:
    bomb = pickle.dumps(_Bomb(str(tmp_path / "exploded")), protocol)
    for planted in (bomb, b"AC\x01\x00" + bomb):
        with pytest.raises(Corrupt):
            open_frame(ENTRY.key, *split_frame(planted)[:2])
        with pytest.raises(Corrupt):
            open_frame(ENTRY.key, planted, bomb)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=500, deadline=None)
@given(head=st.binary(max_size=200), body=st.binary(max_size=50))
def test_noise_never_opens(head: bytes, body: bytes) -> None:
    for packed in (head, b"AC\x01\x00" + head):
        with pytest.raises(Corrupt):
            open_frame(ENTRY.key, packed, body)
        with pytest.raises(Corrupt):
            open_head(ENTRY.key, packed)


@pytest.mark.parametrize("mark", [None, 0, 2**63])
@pytest.mark.parametrize("stale_at", [None, 1_800_000_000.25])
def test_trailers_say_the_mark_and_since_when_an_answer_is_outdated(mark: int | None, stale_at: float | None) -> None:
    frame = FRAME + (mark_trailer(mark) if mark is not None else b"")
    frame += stale_trailer(stale_at) if stale_at is not None else b""
    head, body, trailers = split_frame(frame)
    assert open_frame(ENTRY.key, head, body) == ENTRY
    assert read_trailers(trailers) == (mark or 0, stale_at)


@pytest.mark.parametrize("trailer", [stale_trailer(1_800_000_000.25), mark_trailer(77)])
def test_every_flipped_bit_of_a_trailer_is_noticed(trailer: bytes) -> None:
    for bit in range(len(trailer) * 8):
        damaged = bytearray(trailer)
        damaged[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(Corrupt):
            read_trailers(split_frame(FRAME + bytes(damaged))[2])


def test_half_a_trailer_is_no_frame() -> None:
    with pytest.raises(Corrupt):
        open_frame(ENTRY.key, *split_frame(FRAME + stale_trailer(1.0)[:-1])[:2])


@pytest.mark.parametrize("version", [PLAIN, SEALED])
def test_metadata_can_be_read_whatever_the_frame_version(version: int) -> None:
    assert head_meta(ENTRY.key, pack_head(ENTRY.key, ENTRY.meta, ENTRY.body, version)) == ENTRY.meta
    with pytest.raises(Corrupt):
        head_meta(ENTRY.key, b"AC")
