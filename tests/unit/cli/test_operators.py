"""The link for the first operator is shown while there is none; `operators invite` makes one at any time."""

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from agentcache.cli.serve import TerminalProgress
from agentcache.settings import Settings
from agentcache.supervisor.preparing_child import PreparingChild
from agentcache.supervisor.run import FirstKey, Prepared
from tests.support.migrated_records import put_into

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(360)

#: Runs a statement against the database of the environment's installation.
_SCRIPT = """
import sys
from agentcache.settings import Settings
from agentcache.supervisor.preparation import open_control_plane
open_control_plane(Settings.load())
from agentcache.accounts.models import User
from agentcache.operators.errors import SetupLinkInvalid
from agentcache.operators.services import find_setup_link
def works(token):
    try:
        find_setup_link(token)
    except SetupLinkInvalid:
        return False
    return True
"""


@pytest.fixture
def environ(tmp_path):
    put_into(tmp_path / "data")
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("AGENTCACHE_")}
    return inherited | {"AGENTCACHE_DATA_DIR": str(tmp_path / "data"), "AGENTCACHE_PUBLIC_URL": "https://cache.example"}


async def prepare(environ):
    """Have a job worker prepare, as a start does, and end it."""
    worker = PreparingChild("job worker", ["-m", "agentcache.supervisor.worker"], None, environ=environ)
    running = asyncio.create_task(worker.keep_running())
    try:
        return Prepared.of(await worker.preparation)
    finally:
        worker.kill()
        await running


def run(environ, *arguments):
    finished = subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def do(environ, statement):
    return run(environ, "-c", f"{_SCRIPT}\n{statement}")


def test_a_link_is_made_on_each_start_while_there_is_no_operator_and_by_invite_at_any_time(environ):
    first = asyncio.run(prepare(environ))
    again = asyncio.run(prepare(environ))
    assert first.first_key is not None and again.first_key is None
    shown = f"print(works({first.setup_token!r}), works({again.setup_token!r}))"
    assert do(environ, shown) == "False True"

    do(environ, "User.objects.create(email='root@example.com', is_staff=True)")
    assert asyncio.run(prepare(environ)) == Prepared()

    invited = json.loads(run(environ, "-m", "agentcache", "operators", "invite", "--json"))
    assert invited["expires_in_seconds"] == 1800
    assert do(environ, f"print(works({invited['url'].removeprefix('https://cache.example/setup/')!r}))") == "True"
    said = run(environ, "-m", "agentcache", "operators", "invite")
    assert re.fullmatch(r"Operator: https://cache\.example/setup/[\w-]{43} \(30 minutes, once\)", said)


@pytest.mark.parametrize("first_key", [None, FirstKey("ac_live_x", "local")], ids=["later-start", "first-start"])
@pytest.mark.parametrize("token", [None, "T" * 43], ids=["operator", "no-operator"])
def test_serve_shows_the_link_once_and_only_while_there_is_one(capsys, tmp_path, first_key, token):
    settings = replace(Settings.from_env({"AGENTCACHE_DATA_DIR": str(tmp_path)}), port=9999)
    progress = TerminalProgress(settings)
    progress.prepared(Prepared(first_key, token))
    assert capsys.readouterr().out == ""
    progress.ready(0.1)
    progress.stopped()
    said = capsys.readouterr().out
    line = f"First operator: http://127.0.0.1:9999/setup/{token} (30 minutes, once)\n"
    assert said.count(line) == (token is not None)
    assert said.count("First operator") == (token is not None)
    assert said.count("shown this once") == (first_key is not None)
