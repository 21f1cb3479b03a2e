"""What every index of questions promises. An adapter's test class inherits this and provides `make_index`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.index.port import NEIGHBOURS, NeighbourIndex, went_with
from agentcache.kit.clock import ManualClock
from tests.support.entries import make_tenant
from tests.support.questions import EMBEDDER, STORED_AT, digest, direction, make_row, near
from tests.support.reliability import record

#: Opens one more handle of the same index, as another process would.
IndexMaker = Callable[[], Awaitable[NeighbourIndex]]
PARTITION = digest("partition", "p")


class NeighbourIndexContract:
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(STORED_AT)

    @pytest.fixture
    def tenant(self) -> Tenant:
        return make_tenant("team_a")

    @pytest.fixture
    def stranger(self) -> Tenant:
        return make_tenant("team_b")

    @pytest.fixture
    async def index(self, make_index: IndexMaker) -> AsyncIterator[NeighbourIndex]:
        index = await make_index()
        yield index
        await index.aclose()

    @pytest.fixture
    async def other(self, make_index: IndexMaker) -> AsyncIterator[NeighbourIndex]:
        """The handle of another process."""
        index = await make_index()
        yield index
        await index.aclose()

    async def keys(self, index: NeighbourIndex, tenant: Tenant, asked: np.ndarray, **changes) -> list[bytes]:
        partition = changes.pop("partition", PARTITION)
        embedder_id = changes.pop("embedder_id", EMBEDDER)
        return [found.key for found in await index.nearest(tenant, partition, embedder_id, asked, **changes)]

    async def test_neighbours_come_nearest_first_with_what_was_kept(self, index, tenant):
        asked = direction("asked")
        cosines = {"far": 0.62, "nearest": 0.97, "near": 0.9, "nearer": 0.95, "apart": 0.5}
        for name, cosine in cosines.items():
            pieces = b"pieces of the nearest" if name == "nearest" else b""
            await index.add(tenant, make_row(name, near(asked, cosine, name), pieces=pieces))
        found = await index.nearest(tenant, PARTITION, EMBEDDER, asked, limit=3)
        assert [each.pieces for each in found] == [b"pieces of the nearest", b"", b""]
        assert [each.question for each in found] == [f"What about {name}?" for name in ("nearest", "nearer", "near")]
        assert [each.cosine for each in found] == pytest.approx([0.97, 0.95, 0.9], abs=0.003)
        assert found[0].key == digest("key", "nearest")
        assert (found[0].writer, found[0].stored_at) == ("key_writer", STORED_AT)
        all_near = await self.keys(index, tenant, asked, limit=10)
        assert len(all_near) == 4, "what is below the least cosine is no neighbour"
        assert len(await self.keys(index, tenant, asked, limit=10, cosine_min=0.96)) == 1

    async def test_rows_say_whose_answer_they_repeat(self, index, tenant):
        asked, first = direction("asked"), digest("key", "first")
        await index.add(tenant, make_row("first", near(asked, 0.99, "first")))
        for number in range(NEIGHBOURS):
            await index.add(tenant, make_row(f"{number}", near(asked, 0.9, f"{number}"), repeats=first))
        found = await index.nearest(tenant, PARTITION, EMBEDDER, asked)
        assert [each.repeats for each in found] == [b"", *[first] * (NEIGHBOURS - 1)]
        assert {each.answer for each in found} == {first}

    async def repeated(self, index: NeighbourIndex, tenant: Tenant, asked: np.ndarray) -> dict[bytes, bytes]:
        return {found.key: found.repeats for found in await index.nearest(tenant, PARTITION, EMBEDDER, asked, limit=20)}

    async def test_what_a_row_repeats_is_known_later_and_by_every_process(self, index, other, tenant, stranger, clock):
        asked, names = direction("asked"), ("first", "second", "late", "barred", "short")
        first, second, late, barred, short = (digest("key", name) for name in names)
        for name in names:
            ends = STORED_AT + (60 if name == "short" else 3600)
            await index.add(tenant, make_row(name, near(asked, 0.9, name), expires_at=ends))
        await index.add(tenant, make_row("elsewhere", near(asked, 0.9), partition=digest("partition", "q")))
        await index.add(stranger, make_row("first", near(asked, 0.9)))
        await index.repeat(tenant, second, first)
        # What the other one repeats itself is taken over; who repeats this one has the same answer already.
        await other.repeat(tenant, late, second)
        await other.repeat(tenant, first, second)
        for handle in (index, other):
            assert (await self.repeated(handle, tenant, asked)) == {
                first: b"", second: first, late: first, barred: b"", short: b"",
            }  # fmt: skip
        assert await self.repeated(index, stranger, asked) == {first: b""}
        # What is not to be found gives no answer to others, and takes none.
        await index.quarantine(tenant, barred, until=None, reason="reported")
        clock.move(61)
        for one in (barred, short, digest("key", "unknown"), digest("key", "elsewhere")):
            await index.repeat(tenant, first, one)
            await index.repeat(tenant, one, first)
        assert await self.repeated(index, tenant, asked) == {first: b"", second: first, late: first}
        await index.release(tenant, barred)
        assert (await self.repeated(index, tenant, asked))[barred] == b""
        # All else of the row is as it was.
        (found,) = await index.nearest(tenant, PARTITION, EMBEDDER, near(asked, 0.9, "late"), limit=1)
        assert (found.key, found.question, found.writer) == (late, "What about late?", "key_writer")

    async def test_what_has_the_answer_goes_into_quarantine_with_it(self, index, other, tenant, stranger):
        asked = direction("asked")
        first, apart, third = (digest("key", name) for name in ("first", "apart", "3"))
        alike = [digest("key", f"{number}") for number in range(NEIGHBOURS + 2)]
        await index.add(tenant, make_row("first", near(asked, 0.99, "first")))
        await index.add(stranger, make_row("theirs", near(asked, 0.95), repeats=first))
        await index.add(tenant, make_row("other", near(asked, 0.9, "other"), repeats=apart))
        for number in range(NEIGHBOURS + 2):
            await index.add(tenant, make_row(f"{number}", near(asked, 0.9, f"{number}"), repeats=first))
        await index.quarantine(tenant, digest("key", "4"), until=None, reason="diverse")
        assert await self.keys(other, tenant, asked, limit=20) == [digest("key", "other")], "whoever has the answer"
        await index.release(tenant, digest("key", "4"))
        found = await self.repeated(other, tenant, asked)
        assert found == {digest("key", "other"): apart, first: b"", **dict.fromkeys(alike, b"")}, "known no more"
        # Asked of any that has the answer: the report is about the answer, not about its first row.
        for key in alike[:5]:
            await index.repeat(tenant, key, first)
        await index.quarantine(tenant, alike[4], until=None, reason="diverse")
        await other.quarantine(tenant, third, until=None, reason="reported")
        await other.quarantine(tenant, digest("key", "unknown"), until=None, reason="reported")
        with_it = {one.key: one.reason for one in await index.quarantined(tenant)}
        assert with_it == {
            alike[4]: "diverse", third: "reported", digest("key", "unknown"): "reported",
            first: went_with(alike[4]), **dict.fromkeys(alike[:3], went_with(alike[4])),
        }  # fmt: skip
        assert await self.repeated(index, stranger, asked) == {digest("key", "theirs"): first}
        assert await index.find_normalised(tenant, PARTITION, digest("normal", "1")) is None
        # What is in quarantine for a reason of its own stays there.
        await index.release(tenant, alike[4])
        assert [one.key for one in await other.quarantined(tenant) if one.reason == "reported"] == sorted(
            [third, digest("key", "unknown")]
        )
        assert set(await self.keys(other, tenant, asked, limit=20)) == {digest("key", "other"), first, *alike} - {third}

    async def test_what_is_added_with_an_answer_in_quarantine_follows_it(self, index, other, tenant, clock):
        """As answers do that were compared before somebody reported the one that they repeat."""
        asked, first, second = direction("asked"), digest("key", "first"), digest("key", "second")
        await index.add(tenant, make_row("first", near(asked, 0.99)))
        await index.add(tenant, make_row("second", near(asked, 0.95), repeats=first))
        await index.quarantine(tenant, second, until=STORED_AT + 60, reason="reported")
        for name, repeats in (("late", first), ("later", second)):
            await other.add(tenant, make_row(name, near(asked, 0.9, name), repeats=repeats))
        await other.add(tenant, make_row("apart", near(asked, 0.9, "apart")))
        assert await self.keys(index, tenant, asked) == [digest("key", "apart")]
        reasons = {one.key: (one.reason, one.until) for one in await index.quarantined(tenant)}
        assert reasons.pop(second) == ("reported", STORED_AT + 60)
        assert reasons == dict.fromkeys(
            (first, digest("key", "late"), digest("key", "later")), (went_with(second), STORED_AT + 60)
        )
        clock.move(61)
        assert set((await self.repeated(index, tenant, asked)).values()) == {b""}
        # What is over holds nothing up.
        await index.add(tenant, make_row("new", near(asked, 0.9, "new"), repeats=first))
        assert (await self.repeated(index, tenant, asked))[digest("key", "new")] == first
        await index.quarantine(tenant, first, until=None, reason="reported")
        assert digest("key", "new") not in await self.keys(index, tenant, asked)

    async def test_the_same_question_is_as_near_as_can_be(self, index, tenant):
        await index.add(tenant, make_row("same"))
        (found,) = await index.nearest(tenant, PARTITION, EMBEDDER, direction("same"))
        assert found.cosine == pytest.approx(1, abs=0.002)
        assert found.cosine <= 1

    async def test_an_empty_index_has_no_neighbours(self, index, tenant):
        assert await self.keys(index, tenant, direction("asked")) == []
        assert await index.find_normalised(tenant, PARTITION, digest("normal", "x")) is None
        assert await index.count(tenant) == 0
        assert await index.quarantined(tenant) == []

    async def test_tenants_partitions_and_embedders_never_meet(self, index, tenant, stranger):
        asked = direction("asked")
        await index.add(tenant, make_row("mine", asked))
        await index.add(tenant, make_row("elsewhere", asked, partition=digest("partition", "q")))
        await index.add(tenant, make_row("formerly", asked, embedder_id="test-embedder:2"))
        await index.add(stranger, make_row("theirs", asked))
        assert await self.keys(index, tenant, asked, limit=10) == [digest("key", "mine")]
        assert await self.keys(index, stranger, asked, limit=10) == [digest("key", "theirs")]
        assert await self.keys(index, tenant, asked, embedder_id="test-embedder:2") == [digest("key", "formerly")]
        assert await self.keys(index, tenant, asked, embedder_id="test-embedder:3") == []
        nobody = make_tenant("team_c", data_key=tenant.data_key)
        assert await self.keys(index, nobody, asked) == []

    async def test_the_filter_comes_before_the_search(self, index, tenant, stranger):
        """A crowd of nearer rows of others takes no place from the one row that may be found."""
        asked = direction("asked")
        for number in range(80):
            crowd = make_row(f"crowd {number}", near(asked, 0.99, f"crowd {number}"))
            await index.add(stranger, crowd)
            await index.add(tenant, make_row(f"q {number}", crowd.vector, partition=digest("partition", "q")))
        await index.add(tenant, make_row("mine", near(asked, 0.7)))
        assert await self.keys(index, tenant, asked) == [digest("key", "mine")]
        everyone = await index.nearest(stranger, PARTITION, EMBEDDER, asked, limit=100)
        assert len(everyone) == 80

    async def test_normal_forms_are_found_within_their_partition(self, index, tenant, stranger):
        await index.add(tenant, make_row("one"))
        normal = digest("normal", "one")
        assert await index.find_normalised(tenant, PARTITION, normal) == digest("key", "one")
        assert await index.find_normalised(tenant, digest("partition", "q"), normal) is None
        assert await index.find_normalised(stranger, PARTITION, normal) is None
        assert await index.find_normalised(tenant, PARTITION, digest("normal", "two")) is None
        await index.add(tenant, make_row("newer", normal_digest=normal, stored_at=STORED_AT + 1))
        assert await index.find_normalised(tenant, PARTITION, normal) == digest("key", "newer")

    async def test_a_key_has_one_row(self, index, tenant):
        await index.add(tenant, make_row("first", key=digest("key", "k")))
        await index.add(tenant, make_row("second", key=digest("key", "k"), question="What now?"))
        assert await index.count(tenant) == 1
        assert await self.keys(index, tenant, direction("first")) == []
        (found,) = await index.nearest(tenant, PARTITION, EMBEDDER, direction("second"))
        assert found.question == "What now?"
        assert await index.find_normalised(tenant, PARTITION, digest("normal", "first")) is None

    async def test_what_another_process_adds_is_found_at_once(self, index, other, tenant):
        asked = direction("asked")
        assert await self.keys(index, tenant, asked) == []
        for number in range(5):
            await other.add(tenant, make_row(f"row {number}", near(asked, 0.9 + number / 100)))
            assert (await self.keys(index, tenant, asked))[0] == digest("key", f"row {number}")

    async def test_what_another_process_removes_is_found_no_more(self, index, other, tenant):
        asked = direction("asked")
        names = [f"row {number}" for number in range(8)]
        for number, name in enumerate(names):
            await index.add(tenant, make_row(name, near(asked, 0.98 - number / 100, name)))
        assert (await self.keys(index, tenant, asked))[0] == digest("key", "row 0")
        await other.remove(tenant, [digest("key", name) for name in names[:5]] + [digest("key", "unknown")])
        assert await self.keys(index, tenant, asked) == [digest("key", name) for name in names[5:]]
        assert await index.find_normalised(tenant, PARTITION, digest("normal", "row 0")) is None
        assert await index.count(tenant) == 3
        await other.remove(tenant, [])

    async def test_expired_rows_are_not_found(self, index, tenant, clock):
        asked = direction("asked")
        await index.add(tenant, make_row("short", near(asked, 0.99), expires_at=STORED_AT + 60))
        await index.add(tenant, make_row("long", near(asked, 0.9)))
        assert len(await self.keys(index, tenant, asked)) == 2
        clock.move(61)
        assert await self.keys(index, tenant, asked) == [digest("key", "long")]
        assert await index.find_normalised(tenant, PARTITION, digest("normal", "short")) is None
        assert await index.count(tenant) == 1

    async def test_a_quarantine_holds_everywhere_until_it_is_released(self, index, other, tenant, stranger):
        asked = direction("asked")
        bad, good = digest("key", "bad"), digest("key", "good")
        await index.add(tenant, make_row("bad", near(asked, 0.99)))
        await index.add(tenant, make_row("good", near(asked, 0.8)))
        await index.add(stranger, make_row("bad", near(asked, 0.99)))
        assert await self.keys(other, tenant, asked) == [bad, good]
        await index.quarantine(tenant, bad, until=None, reason="reported")
        for handle in (index, other):
            assert await self.keys(handle, tenant, asked) == [good]
            assert await handle.find_normalised(tenant, PARTITION, digest("normal", "bad")) is None
            (kept,) = await handle.quarantined(tenant)
            assert (kept.key, kept.until, kept.reason, kept.quarantined_at) == (bad, None, "reported", STORED_AT)
        assert await self.keys(index, stranger, asked) == [bad], "another team's row is another row"
        await index.add(tenant, make_row("bad", near(asked, 0.99)))
        assert await self.keys(index, tenant, asked) == [good], "storing the answer anew does not release it"
        await other.release(tenant, bad)
        assert await self.keys(index, tenant, asked) == [bad, good]
        assert await index.quarantined(tenant) == []

    async def test_a_quarantine_may_end_by_itself(self, index, tenant, clock):
        await index.add(tenant, make_row("bad"))
        await index.quarantine(tenant, digest("key", "bad"), until=STORED_AT + 60, reason="disagreed")
        assert await self.keys(index, tenant, direction("bad")) == []
        clock.move(61)
        assert await self.keys(index, tenant, direction("bad")) == [digest("key", "bad")]
        assert await index.quarantined(tenant) == []

    async def test_a_tenant_is_forgotten_whole(self, index, other, tenant, stranger):
        asked = direction("asked")
        for name in ("one", "two"):
            await index.add(tenant, make_row(name, asked))
            await index.add(stranger, make_row(name, asked))
        await index.quarantine(tenant, digest("key", "one"), until=None, reason="reported")
        assert len(await self.keys(other, tenant, asked)) == 1
        # The one that forgets has neither secret nor data key: they went with the team.
        await index.forget_tenant(Tenant(tenant.id, b""))
        for handle in (index, other):
            assert await self.keys(handle, tenant, asked) == []
            assert await handle.quarantined(tenant) == []
            assert await handle.count(tenant) == 0
            assert len(await self.keys(handle, stranger, asked)) == 2
        await index.add(tenant, make_row("one", asked))
        assert await self.keys(other, tenant, asked) == [digest("key", "one")]

    async def test_dimensions_of_another_model_are_no_trouble(self, index, tenant):
        await index.add(tenant, make_row("small", direction("small", 256), embedder_id="small:1"))
        await index.add(tenant, make_row("large", direction("large", 1536), embedder_id="large:1"))
        assert len(await self.keys(index, tenant, direction("small", 256), embedder_id="small:1")) == 1
        assert len(await self.keys(index, tenant, direction("large", 1536), embedder_id="large:1")) == 1
        assert await self.keys(index, tenant, direction("large", 1536), embedder_id="small:1") == []

    async def test_nothing_is_lost_among_many_at_once(self, index, other, tenant):
        asked = direction("asked")
        rows = [make_row(f"row {number}", near(asked, 0.8, f"row {number}")) for number in range(40)]
        await asyncio.gather(*((index, other)[n % 2].add(tenant, row) for n, row in enumerate(rows)))
        found = await asyncio.gather(*(self.keys(index, tenant, row.vector, limit=1) for row in rows))
        assert [keys[0] for keys in found] == [row.key for row in rows]

    async def test_odd_texts_come_back_as_they_were(self, index, tenant):
        odd = "Was heißt „naïve\u200d“? \x00 {}*|@:\\- 🙂\n"
        await index.add(tenant, make_row("odd", question=odd, writer="key_'\"{}", analysis=bytes(range(256))))
        (found,) = await index.nearest(tenant, PARTITION, EMBEDDER, direction("odd"))
        assert (found.question, found.writer, found.analysis) == (odd, "key_'\"{}", bytes(range(256)))

    async def test_recall_within_a_partition_is_that_of_a_full_search(self, index, tenant, stranger):
        """T4: at least 98 % of what a search of the tenant's rows alone finds, with a crowd of others about."""
        generator = np.random.default_rng(7)
        centres = generator.standard_normal((40, 384))
        rows = centres[generator.integers(0, 40, 900)] + 0.7 * generator.standard_normal((900, 384))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        mine = rows[:600]
        await asyncio.gather(*(index.add(tenant, make_row(f"row {n}", vector)) for n, vector in enumerate(mine)))
        await asyncio.gather(*(index.add(stranger, make_row(f"s {n}", vector)) for n, vector in enumerate(rows[600:])))
        right = 0
        for number in range(100):
            asked = near(mine[number], 0.85, f"asked {number}")
            best = int(np.argmax(mine @ asked))
            keys = await self.keys(index, tenant, asked)
            right += keys[:1] == [digest("key", f"row {best}")]
        assert right >= 98
        record(f"T4 {type(self).__name__}", leaks=0, recall_percent=right)
