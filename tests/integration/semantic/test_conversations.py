"""Conversation traps: a last turn alike after other turns. Through the gateway, in every form that carries conversations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from hashlib import md5

import httpx
import pytest

from agentcache.engine.semantic.settings import SemanticMode, SemanticSettings
from benchmarks.semantic.conversations import FORMS, Case, cases
from tests.support.near import NearGateway, NearTeam, result
from tests.support.reliability import record
from tests.support.tiers import count

#: Whatever is near within the partition is served.
LAXEST = SemanticSettings(SemanticMode.CUSTOM, "cosine", threshold=0.6, shadow_share=0.0)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, _provider) -> Iterator[NearGateway]:
    with NearGateway(tmp_path_factory.mktemp("conversations"), _provider) as gateway:
        yield gateway


def _some(form: str, each: int) -> list[Case]:
    """Return some cases of each kind, spread over its histories and last turns."""
    by_kind = defaultdict(list)
    for case in cases():
        if case.form == form:
            by_kind[case.kind].append(case)
    return [case for found in by_kind.values() for case in found[1 :: max(1, len(found) // each)][:each]]


def test_no_conversation_trap_is_served(gateway, provider):
    traps = controls = 0
    for form in FORMS:
        # What somebody wrote into one text takes no part; elsewhere the turns before the last keep questions apart.
        is_one_text = "transcript" in form
        for case, came_to in _asked(gateway, form):
            apart = "none" if case.is_trap else "hit"
            assert came_to == ("unfit" if is_one_text else apart), case
            traps += case.is_trap
            controls += not case.is_trap
    record("C17 conversations", forms=len(FORMS), traps=traps, served=0, controls=controls)


def _asked(gateway: NearGateway, form: str) -> Iterator[tuple[Case, str]]:
    """Ask both requests of each case, and yield what the second came to."""
    with httpx.Client(timeout=60) as client:
        team = NearTeam(gateway, client, md5(form.encode()).hexdigest(), LAXEST)
        for case in _some(form, each=count(1, 30)):
            headers = {
                "x-agentcache-key": team.key, "x-agentcache-namespace": f"n{case.number}",
                "authorization": "Bearer sk-test", "x-api-key": "sk-test", "anthropic-version": "2023-06-01",
            }  # fmt: skip
            came_to = ""
            for body in (case.first, case.second):
                said = client.post(f"{gateway.url}{case.path}", headers=headers, json=body)
                assert said.status_code == 200, said.text
                gateway.settle()
                came_to = result(said)
            yield case, came_to
