import asyncio
import os
from contextlib import asynccontextmanager

import pytest

from agentcache.supervisor.errors import CannotStart
from agentcache.supervisor.preparing_child import PreparingChild
from tests.support.children import WITH_LIFELINE, kept_running

#: Prepares, dies, and works once it is started again.
PREPARES = (
    WITH_LIFELINE
    + """
if "--prepare" in sys.argv:
    lifeline.prepared({"key": "ac_live_x"})
    sys.exit(3)
lifeline.ready()
time.sleep(60)
"""
)
#: As long as a message may be that takes several readings.
REASON = "The database is away. " * 1000
REFUSES = WITH_LIFELINE + f"lifeline.refused('database_unreachable', {REASON!r})\nsys.exit(1)"
SAYS_NOTHING = "import sys\nsys.exit(9)"
TAKES_LONG = WITH_LIFELINE + "lifeline.not_ready('it takes long')\ntime.sleep(60)"


class Watcher:
    def __init__(self):
        self.seen = []

    def child_ready(self, name):
        self.seen.append("ready")

    def child_not_ready(self, name, reason):
        self.seen.append(reason)

    def child_died(self, name, exit_code, pause_seconds):
        self.seen.append(exit_code)


@asynccontextmanager
async def running(program):
    watcher = Watcher()
    child = PreparingChild("job worker", ["-c", program], watcher, environ=os.environ)
    async with kept_running(child) as task:
        yield child, watcher, task


async def test_what_it_prepared_is_told_and_a_process_that_dies_later_does_not_prepare_again():
    async with running(PREPARES) as (child, watcher, _):
        assert await child.preparation == {"key": "ac_live_x"}
        await child.is_ready.wait()
        assert watcher.seen == [3, "ready"]


async def test_a_refusal_keeps_its_code_and_ends_it():
    async with running(REFUSES) as (child, watcher, task):
        with pytest.raises(CannotStart) as refused:
            await child.preparation
        assert (refused.value.code, refused.value.message) == ("database_unreachable", REASON)
        await task
        assert watcher.seen == []


async def test_an_end_without_a_word_is_told_by_its_code():
    async with running(SAYS_NOTHING) as (child, watcher, task):
        with pytest.raises(CannotStart, match="ended with code 9 without a word"):
            await child.preparation
        await task
        assert watcher.seen == []


async def test_who_is_told_to_end_while_preparing_has_prepared_nothing():
    async with running(TAKES_LONG) as (child, watcher, task):
        while not watcher.seen:
            await asyncio.sleep(0.01)
        child.terminate()
        await task
        assert not child.preparation.done()
        assert watcher.seen == ["it takes long"]
