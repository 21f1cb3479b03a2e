"""What is kept of a question: rows of an earlier release are read as well."""

from __future__ import annotations

import msgspec

from agentcache.engine.semantic.index.rows import Kept, pack, unpack
from tests.support.entries import make_tenant
from tests.support.questions import digest, make_row

TENANT = make_tenant("team_b")


def test_a_row_that_does_not_say_whose_answer_it_repeats_is_read() -> None:
    row = make_row("one", repeats=digest("key", "first"))
    place = (row.key, row.partition, row.embedder_id, row.normal_digest)
    packed = pack(TENANT, row)
    assert unpack(TENANT, packed, *place).repeats == row.repeats
    *earlier, _ = msgspec.msgpack.decode(packed[1:])
    found = unpack(TENANT, packed[:1] + msgspec.msgpack.encode(earlier), *place)
    assert isinstance(found, Kept)
    assert (found.question, found.repeats) == (row.question, b"")
