"""A gateway for tests of near questions: with the built-in embedder, whose model is made once for the working copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from agentcache.demo.fake_provider import FakeProvider
from agentcache.engine.semantic.embedders.minilm_files import ensure_files
from agentcache.engine.semantic.settings import SemanticSettings
from agentcache.gateway.semantic.tier import SemanticTier
from tests.support.gateway import LightGateway, Reply

_MODELS = Path(__file__).parents[2] / "build" / "models"


class NearGateway(LightGateway):
    """A light gateway with the semantic tier, and time enough for every look-up on a busy machine."""

    is_semantic = True

    def __init__(self, folder: Path, provider: FakeProvider, **settings: str) -> None:
        ensure_files(_MODELS)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "models").exists():
            (folder / "models").symlink_to(_MODELS)
        super().__init__(folder, provider, **{"AGENTCACHE_SEMANTIC_BUDGET_MS": "10000", **settings})

    @property
    def tier(self) -> SemanticTier:
        """The tier of the running gateway."""
        tier = self.parts.semantic
        assert isinstance(tier, SemanticTier)
        return tier

    def settle(self) -> None:
        """Return once everything is learned from the answers so far."""
        self.run(self.tier.learner.settle())


class NearTeam:
    """One team that asks over plain HTTP; every question is a chat of one turn unless turns are given."""

    def __init__(self, gateway: NearGateway, client: httpx.Client, team: str, settings: SemanticSettings) -> None:
        self.gateway = gateway
        self.client = client
        self.team = team
        self.settings = settings
        self.key = self.new_key()

    def new_key(self, **options: Any) -> str:
        """Return one more key of the team with its settings."""
        return self.gateway.new_key(self.team, **{"semantics": {"*": self.settings}, **options})

    def send(self, *turns: str | dict[str, Any], key: str = "", **more: Any) -> httpx.Response:
        """Ask, and return once what follows from it is learned; `headers` are added, other members go into the body."""
        messages = [turn if isinstance(turn, dict) else {"role": "user", "content": turn} for turn in turns]
        headers = {"x-agentcache-key": key or self.key, "authorization": "Bearer sk-test", **more.pop("headers", {})}
        response = self.client.post(
            f"{self.gateway.url}/openai/v1/chat/completions",
            headers=headers,
            json={"model": "gpt-4o-mini", "messages": messages, **more},
        )
        self.gateway.settle()
        return response

    def api(self, path: str, body: dict[str, Any], key: str = "") -> httpx.Response:
        """Call the native API."""
        headers = {"x-agentcache-key": key or self.key}
        return self.client.post(f"{self.gateway.url}/api/cache/{path}", headers=headers, json=body)

    def last_reply(self) -> Reply:
        """Return the gateway's last answer to anybody."""
        return self.gateway.replies[-1]


def result(response: httpx.Response) -> str:
    """Return the word that the reply has for what near questions came to; "" where it says nothing of them."""
    return response.headers.get("x-agentcache-semantic", "").partition(";")[0]


def text(response: httpx.Response) -> str:
    """Return what the model says."""
    content: str = response.json()["choices"][0]["message"]["content"]
    return content
