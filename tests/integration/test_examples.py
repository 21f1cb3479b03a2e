"""Every example runs against a gateway and says what its comments promise."""

import runpy

import pytest

from tests.architecture.repository import ROOT
from tests.support.gateway import LightGateway

EXAMPLES = ROOT / "examples"
#: Example -> what it prints, line by line, as beginnings of lines.
PROMISES = {
    "openai_chat.py": ["first: AgentCache; fwd=miss; fwd-status=200; stored", "second: AgentCache; hit"],
    "anthropic_messages.py": ["first: AgentCache; fwd=miss; fwd-status=200; stored", "second: AgentCache; hit"],
    "streaming.py": [
        "AgentCache; fwd=miss; fwd-status=200",
        "AgentCache; hit",
        "AgentCache; hit",
        "All three are the same text: True",
    ],
    "directives.py": [
        "{'X-AgentCache-TTL': '12h', 'X-AgentCache-Tags': 'product-4711,catalogue'}: AgentCache; fwd=miss",
        "no directives: AgentCache; hit; ttl=43",
        "{'X-AgentCache-TTL': '12h', 'X-AgentCache-Tags': 'product-4711,catalogue', 'Cache-Control': 'no-cache'}: Agent",
        "{'Cache-Control': 'max-age=3600'}: AgentCache; hit",
        "{'Cache-Control': 'no-store'}: AgentCache; fwd=bypass",
        "purged: 1",
        "{'X-AgentCache-Mode': 'read-only'}: AgentCache; fwd=miss; fwd-status=200; key",
    ],
    "native_api.py": [
        "report: {'pages': 12} fresh",
        "prompt: Guten Morgen saves $0.00012",
        "other prompt: False absent",
        "entries: 2",
    ],
}


def test_every_example_is_listed_and_run():
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    assert programs == set(PROMISES)
    listing = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in programs if f"]({name})" not in listing] == []


@pytest.mark.parametrize("name", PROMISES)
def test_an_example_keeps_its_promises(name, tmp_path, provider, monkeypatch, capsys):
    with LightGateway(tmp_path, provider) as gateway:
        monkeypatch.setenv("AGENTCACHE_BASE_URL", gateway.url)
        monkeypatch.setenv("AGENTCACHE_API_KEY", gateway.key("acme"))
        monkeypatch.setenv("OPENAI_API_KEY", "sk-example")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-example")
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    printed = iter(capsys.readouterr().out.splitlines())
    for promise in PROMISES[name]:
        # In order: what stands between two promises may be any text.
        assert any(line.startswith(promise) for line in printed), promise
