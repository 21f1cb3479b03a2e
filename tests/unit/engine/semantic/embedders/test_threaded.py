"""What the event loop does while a model runs on its thread."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest

from agentcache.engine.semantic.embedders.guarded import GuardedEmbedder
from agentcache.engine.semantic.embedders.port import EmbedderUnavailable, Vector
from agentcache.engine.semantic.embedders.threaded import ThreadedEmbedder
from agentcache.kit.clock import ManualClock

PATIENT = 60.0


class Model:
    """Ends a text when it is let go on."""

    id, dimensions, is_multilingual = "model:1", 2, False

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.begun: list[str] = []

    def load(self) -> None:
        pass

    def embed_one(self, text: str) -> Vector:
        self.begun.append(text)
        assert self.goes_on.wait(PATIENT)
        if text == "bad":
            raise ValueError(text)
        return np.array([1, 0], np.float32)

    def count_tokens(self, text: str) -> int:
        return len(text)

    def pieces(self, text: str) -> bytes:
        return b""

    def close(self) -> None:
        pass


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
async def embedder(model: Model) -> AsyncIterator[ThreadedEmbedder]:
    embedder = ThreadedEmbedder(model)
    yield embedder
    model.goes_on.set()
    await embedder.aclose()


async def test_a_caller_does_something_while_the_model_runs(embedder: ThreadedEmbedder, model: Model) -> None:
    done = []

    def meanwhile() -> None:
        done.append(threading.current_thread())
        # The model waits for this: were it not called before the end, neither would end.
        model.goes_on.set()

    assert len(await embedder.embed(["one", "two"], meanwhile=meanwhile)) == 2
    assert done == [threading.current_thread()], "once, on the loop's thread"


async def test_what_a_caller_raises_meanwhile_is_his_and_ends_the_embedding(
    embedder: ThreadedEmbedder, model: Model
) -> None:
    lost: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: lost.append(told))
    guarded = GuardedEmbedder(embedder, seconds=PATIENT, clock=ManualClock())
    model.goes_on.set()
    await guarded.warm()

    def meanwhile() -> None:
        raise LookupError

    for text in ("bad", "good"):
        model.goes_on.clear()
        with pytest.raises(LookupError):
            await guarded.embed([text, "behind it"], meanwhile=meanwhile)
        model.goes_on.set()
    assert guarded.breaker.lets_through, "no trouble of the embedder's"
    assert len(await guarded.embed(["last"])) == 1
    assert "behind it" not in model.begun, "nobody waited for it"
    gc.collect()
    assert not lost, "no error that nobody took"
    await guarded.breaker.close()


async def test_of_a_caller_that_gave_up_nothing_is_done_meanwhile(embedder: ThreadedEmbedder, model: Model) -> None:
    first = asyncio.create_task(embedder.embed(["first"]))
    done: list[str] = []
    second = asyncio.create_task(embedder.embed(["second"], meanwhile=lambda: done.append("second")))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    model.goes_on.set()
    assert len(await first) == 1
    assert len(await embedder.embed(["third"])) == 1
    assert (done, model.begun) == ([], ["first", "third"])


async def test_what_waits_is_told_when_it_is_closed(embedder: ThreadedEmbedder, model: Model) -> None:
    under_way, waiting = (asyncio.create_task(embedder.embed([text])) for text in ("under way", "waiting"))
    while not model.begun:
        await asyncio.sleep(0)
    closing = asyncio.create_task(embedder.aclose())
    await asyncio.sleep(0)
    model.goes_on.set()
    await closing
    assert len(await under_way) == 1
    with pytest.raises(EmbedderUnavailable, match="closed"):
        await waiting
    await embedder.aclose()
