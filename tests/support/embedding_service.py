"""A service that speaks OpenAI's embeddings over a real socket, and misbehaves when it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from tests.support.asgi_server import ASGIServer
from tests.support.questions import direction


class EmbeddingService:
    """An ASGI app; `answers` says how: well, nan, null, short, garbage, error, silent (until `released`), fewer."""

    def __init__(self) -> None:
        self.answers = "well"
        self.model = "model-1"
        self.dimensions = 384
        #: What a text's vector is; unless told otherwise one that says nothing of it.
        self.vector_of: Callable[[str], Any] = lambda text: direction(f"{self.model} {text}", self.dimensions)
        #: More texts in one request are refused, or wait until `released`.
        self.texts_max = self.texts_at_once = 1000
        #: What holds one of these is refused.
        self.refused: frozenset[str] = frozenset()
        self.requests: list[dict[str, Any]] = []
        self.authorization: list[str] = []
        self.released = threading.Event()
        self.server = ASGIServer(self)

    @property
    def url(self) -> str:
        return self.server.url

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        assert (scope["method"], scope["path"]) == ("POST", "/v1/embeddings"), scope["path"]
        self.authorization.append(dict(scope["headers"]).get(b"authorization", b"").decode())
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        asked = json.loads(body)
        self.requests.append(asked)
        if self.answers == "silent":
            # Hangs until the test is over, or the caller is gone.
            while not self.released.is_set() and (await receive())["type"] != "http.disconnect":
                pass
            return
        while len(asked["input"]) > self.texts_at_once and not self.released.is_set():
            await asyncio.sleep(0.01)
        is_refused = self.answers == "error" or len(asked["input"]) > self.texts_max or self.refused & {*asked["input"]}
        status, answer = (500, b"{}") if is_refused else (200, self._answer(asked))
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]}
        )
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, asked: dict[str, Any]) -> bytes:
        if self.answers == "garbage":
            return b"<html>"
        items: list[dict[str, Any]] = []
        for index, text in enumerate(asked["input"]):
            vector: list[Any] = [float(x) for x in self.vector_of(text)]
            if self.answers == "short":
                vector.pop()
            if self.answers in ("nan", "null", "huge"):
                vector[3] = {"nan": float("nan"), "null": None, "huge": 1e300}[self.answers]
            items.append({"object": "embedding", "index": index, "embedding": vector})
        if self.answers == "fewer":
            items.pop()
        return json.dumps({"object": "list", "data": items[::-1], "model": "the-model"}).encode()
