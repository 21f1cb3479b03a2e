"""F23: servers are replaced one by one under load; what is open ends well or says that it did not."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections import Counter

import httpx
import psutil
import pytest

from tests.faults.scenes import CHAT_PATH, MESSAGES_PATH, chat, client, headers, message
from tests.support.gateway import FullGateway
from tests.support.guarded import wait_until
from tests.support.reliability import record

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(360)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, _provider):
    """First its processes are replaced, then it is stopped."""
    settings = {"AGENTCACHE_DRAIN_SECONDS": "3", "AGENTCACHE_STORE_BUDGET_MS": "5000"}
    with FullGateway(tmp_path_factory.mktemp("restarted"), _provider, workers=2, **settings) as gateway:
        yield gateway


def servers(gateway):
    found = set()
    for child in psutil.Process(gateway.server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end, or be a zombie, while it is looked at
            if "agentcache.supervisor.server" in child.cmdline():
                found.add(child.pid)
    return found


def is_leaving(pid):
    """Say whether a server has shut its door, which is the first thing it does when it is told to stop."""
    try:
        return not any(each.status == psutil.CONN_LISTEN for each in psutil.Process(pid).net_connections("inet"))
    except psutil.NoSuchProcess:
        return True


async def test_f23_a_rolling_restart_fails_no_new_request_and_ends_open_streams_honestly(gateway, provider):
    before = servers(gateway)
    stop = asyncio.Event()
    outcomes = Counter()

    async def keep_asking(caller, *, fresh):
        """Ask over kept connections, or over a new one each time."""
        number = 0
        async with client(gateway) as kept:
            while not stop.is_set():
                number += 1
                question = chat(f"f23 {caller} {number % 20}", stream=number % 2 == 0)
                try:
                    if fresh:
                        async with client(gateway) as http:
                            answer = await http.post(CHAT_PATH, json=question, headers=headers(gateway))
                    else:
                        answer = await kept.post(CHAT_PATH, json=question, headers=headers(gateway))
                    outcomes[answer.status_code] += 1
                except httpx.HTTPError as error:
                    outcomes[repr(error)] += 1
                await asyncio.sleep(0.02)

    async def open_stream(number, script):
        path, question = (CHAT_PATH, chat) if number % 4 < 2 else (MESSAGES_PATH, message)
        async with client(gateway) as http:
            body = question(f"f23 open {number}", stream=True)
            given = headers(gateway, script=script)
            return (await http.post(path, json=body, headers=given)).text

    async with asyncio.TaskGroup() as group:
        # Those that end well are held until a server is on its way out, so that they end while it drains.
        scripts = [{"hold_after": 3}, {"stall_after": 3}]
        streams = [group.create_task(open_stream(number, scripts[number % 2])) for number in range(40)]
        await asyncio.to_thread(provider.wait_for_calls, 40)
        callers = [group.create_task(keep_asking(caller, fresh=caller % 2 == 0)) for caller in range(6)]
        await asyncio.sleep(0.5)
        gateway.server.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(wait_until, lambda: any(map(is_leaving, before)), 60)
        assert not any(stream.done() for stream in streams)
        provider.release()
        await asyncio.to_thread(wait_until, lambda: len(servers(gateway)) == 2 and not servers(gateway) & before, 60)
        await asyncio.sleep(0.5)
        stop.set()
        await asyncio.gather(*callers)
    assert set(outcomes) == {200}
    for number, stream in enumerate(task.result() for task in streams):
        whole = "[DONE]" in stream or "message_stop" in stream
        if number % 2 == 0:
            assert whole, stream[-300:]
        else:
            assert not whole
            assert '"error"' in stream.rstrip().rsplit("data: ", 1)[1]
            assert "flight_aborted" in stream or "stopped" in stream
    record("F23 rolling restart", requests=outcomes[200], failed=0, streams=40, ended_well=20, ended_in_an_error=20)


def test_f23_a_server_that_is_told_to_stop_answers_what_is_under_way_and_takes_nothing_new(gateway, provider):
    provider.script(hold=True, times=1)
    answers = []
    with httpx.Client(base_url=gateway.url, timeout=30) as http:
        assert http.get("/readyz").status_code == 200
        held = threading.Thread(
            target=lambda: answers.append(
                httpx.post(gateway.url + CHAT_PATH, json=chat("f23 held"), headers=headers(gateway), timeout=30)
            )
        )
        held.start()
        provider.wait_for_calls(1)
        gateway.server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refused(gateway), 60, "new connections to be refused")
        provider.release()
        held.join(20)
    # What was under way is answered, and nothing new is taken.
    assert [answer.status_code for answer in answers] == [200]
    assert gateway.server.stop() == 0
    record("F23 stop", in_flight_answered=1, failed=0)


def refused(gateway):
    try:
        httpx.get(f"{gateway.url}/healthz", timeout=2)
    except httpx.ConnectError:
        return True
    except httpx.HTTPError:
        return False
    return False
