import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from agentcache.supervisor.child import HOPELESS_DEATHS, Child
from tests.support.children import WITH_LIFELINE, kept_running

STAYS = WITH_LIFELINE + "lifeline.ready()\ntime.sleep(60)"
COMPLAINS = WITH_LIFELINE + "lifeline.not_ready('the store is away')\nlifeline.ready()\ntime.sleep(60)"
#: Serves, dies; the supervisor shall bring it back.
DIES_LATER = WITH_LIFELINE + "lifeline.ready()\ntime.sleep(0.05)\nsys.exit(7)"
DIES_AT_ONCE = "import sys\nsys.exit(9)"
IGNORES_SIGTERM = (
    WITH_LIFELINE + "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nlifeline.ready()\ntime.sleep(60)"
)


class Watcher:
    def __init__(self):
        self.seen = []
        self.died = asyncio.Event()

    def child_ready(self, name):
        self.seen.append(("ready", name))

    def child_not_ready(self, name, reason):
        self.seen.append(("not ready", name, reason))

    def child_died(self, name, exit_code, pause_seconds):
        self.seen.append(("died", name, exit_code, pause_seconds))
        if sum(event[0] == "died" for event in self.seen) == 3:
            self.died.set()


@asynccontextmanager
async def running(program, pause_seconds=0.01):
    watcher = Watcher()
    child = Child("server 1", ["-c", program], watcher, environ=os.environ, pause_seconds=pause_seconds)
    async with kept_running(child) as task:
        yield child, watcher, task


async def test_a_child_that_serves_is_ready_until_it_is_asked_to_end():
    async with running(STAYS) as (child, watcher, task):
        await child.is_ready.wait()
        assert child.pid is not None
        child.terminate()
        await task
        assert child.pid is None
        assert not child.is_ready.is_set()
        assert watcher.seen == [("ready", "server 1")]


async def test_a_child_tells_why_it_is_not_ready():
    async with running(COMPLAINS) as (child, watcher, _):
        await child.is_ready.wait()
        assert watcher.seen[0] == ("not ready", "server 1", "the store is away")


async def test_a_child_that_dies_is_started_again_with_growing_pauses():
    async with running(DIES_LATER) as (child, watcher, _):
        await watcher.died.wait()
        assert [event[2] for event in watcher.seen if event[0] == "died"] == [7, 7, 7]
        assert [event[3] for event in watcher.seen if event[0] == "died"] == [0.01, 0.02, 0.04]
        assert not child.is_hopeless.is_set()


async def test_a_child_that_never_serves_is_given_up():
    async with running(DIES_AT_ONCE) as (child, watcher, task):
        await child.is_hopeless.wait()
        await task
        assert len(watcher.seen) == HOPELESS_DEATHS - 1


async def test_a_child_is_not_started_again_while_it_pauses_and_is_asked_to_end():
    async with running(DIES_LATER, pause_seconds=30) as (child, watcher, task):
        while not any(event[0] == "died" for event in watcher.seen):
            await asyncio.sleep(0.01)
        child.terminate()
        await task
        assert sum(event[0] == "ready" for event in watcher.seen) == 1


async def test_a_child_that_will_not_leave_is_killed():
    async with running(IGNORES_SIGTERM) as (child, _, task):
        await child.is_ready.wait()
        child.terminate()
        child.kill()
        await task
        assert child.pid is None


def test_a_process_ends_when_the_supervisor_is_gone():
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", STAYS, "--lifeline", str(theirs.fileno())]
    with subprocess.Popen(command, pass_fds=[theirs.fileno()]) as process:
        theirs.close()
        assert ours.recv(64) == b'{"state": "ready"}\n'
        ours.close()
        assert process.wait(10) == -signal.SIGTERM


@pytest.mark.parametrize("how", ["terminate", "kill"])
async def test_ending_a_child_that_has_not_begun_is_harmless(how):
    child = Child("server 1", ["-c", STAYS], Watcher(), environ=os.environ)
    getattr(child, how)()
    await child.keep_running()
    assert child.pid is None
