"""What the page of a key has people paste does what it says: the shell runs it, Python runs it, and it is a hit afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from agentcache.dashboard.key_snippets import env_file, snippets
from tests.support.gateway import LightGateway


@pytest.fixture
def gateway(tmp_path, provider):
    with LightGateway(tmp_path, provider) as running:
        yield running


@pytest.fixture
def code(gateway):
    return {one.label: one.code for one in snippets(gateway.key(), gateway.url)}


def run(command, text):
    environ = {**os.environ, "OPENAI_API_KEY": "sk-of-the-provider"}
    environ = {name: value for name, value in environ.items() if not name.lower().endswith("_proxy")}
    finished = subprocess.run(
        [*command, text], env=environ, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_call_by_curl_goes_through_the_cache(gateway, code, provider):
    first = run(["bash", "-c"], code["curl"])
    assert first.startswith("HTTP/1.1 200")
    assert "fwd=miss" in first
    assert "; hit" in run(["bash", "-c"], code["curl"])
    assert provider.call_count == 1


def test_storing_and_looking_up_by_curl_finds_what_was_stored(code):
    stored, found = map(
        json.loads, run(["bash", "-c"], code["curl, native API"]).strip().replace("}{", "}\n{").splitlines()
    )
    assert stored["stored"] is True
    assert (found["hit"], found["value"]) == (True, "Hello!")


def test_the_python_program_prints_an_answer_and_the_second_one_is_a_hit(gateway, code, provider):
    printed = run([sys.executable, "-c"], code["Python"])
    assert printed.strip()
    assert run([sys.executable, "-c"], code["Python"]) == printed
    assert provider.call_count == 1
    assert [event.outcome for event in gateway.events] == ["miss", "exact"]


def test_the_base_url_alone_serves_any_tool_that_sends_the_key(gateway, code, provider):
    settings = dict(line.split("=", 1) for line in env_file(gateway.key(), gateway.url).splitlines())
    assert settings["OPENAI_BASE_URL"] == f"{gateway.url}/openai/v1"
    assert code["Other tools"].splitlines() == [
        f"OpenAI base URL: {gateway.url}/openai/v1",
        f"Header: X-AgentCache-Key: {gateway.key()}",
    ]
    assert code["Environment"].splitlines() == [f"{name}={value}" for name, value in settings.items()]
    exports = "".join(f"export {name}={value}; " for name, value in settings.items())
    program = (
        "import os; from openai import OpenAI; client = OpenAI(max_retries=0, "
        "default_headers={'X-AgentCache-Key': os.environ['AGENTCACHE_API_KEY']}); "
        "print(client.chat.completions.create(model='gpt-4o-mini', "
        "messages=[{'role': 'user', 'content': 'by the environment'}]).choices[0].message.content)"
    )
    assert run(["bash", "-c"], f'{exports} {sys.executable} -c "{program}"').strip()
    assert [event.outcome for event in gateway.events] == ["miss"]


def test_the_javascript_names_the_same_address_and_key_and_is_whole(gateway, code):
    text = code["JavaScript"]
    assert f'baseURL: "{gateway.url}/openai/v1"' in text
    assert f'defaultHeaders: {{ "X-AgentCache-Key": "{gateway.key()}" }}' in text
    assert text.count("{") == text.count("}")
    assert text.count("(") == text.count(")")
