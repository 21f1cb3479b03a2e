import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from agentcache import __version__
from agentcache.cli.app import app
from agentcache.cli.exit_codes import ExitCode, exit_code_of
from agentcache.kit.errors import AgentCacheError, Forbidden, NotFound, Unauthenticated, Unavailable
from agentcache.settings import SettingError
from agentcache.supervisor.errors import CannotStart, DatabaseUnreachable, PortTaken

COMMANDS = [
    ["serve"],
    ["worker"],
    ["migrate"],
    ["keys", "create"],
    ["keys", "list"],
    ["keys", "revoke"],
    ["cache", "get"],
    ["cache", "set"],
    ["cache", "purge"],
    ["cache", "stats"],
    ["operators", "invite"],
    ["demo"],
    ["doctor"],
    ["version"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command):
    outcome = CliRunner().invoke(app, [*command, "--help"])
    assert outcome.exit_code == ExitCode.OK
    assert f"agentcache {' '.join(command)}" in outcome.output


@pytest.mark.parametrize(
    "arguments", [["fly"], ["serve", "--wings"], ["keys", "revoke"], ["serve", "--port", "eighty"]]
)
def test_a_wrong_command_line_is_a_usage_error(arguments):
    assert CliRunner().invoke(app, arguments).exit_code == ExitCode.USAGE


def test_the_version_as_json():
    outcome = CliRunner().invoke(app, ["version", "--json"])
    assert json.loads(outcome.stdout)["agentcache"] == __version__


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingError("x"), ExitCode.CONFIGURATION),
        (CannotStart("x"), ExitCode.CONFIGURATION),
        (PortTaken("x"), ExitCode.CONFIGURATION),
        (DatabaseUnreachable("x"), ExitCode.UNREACHABLE),
        (Unavailable("x"), ExitCode.UNREACHABLE),
        (Unauthenticated("x"), ExitCode.REFUSED),
        (Forbidden("x", code="scope_missing"), ExitCode.REFUSED),
        (NotFound("x", code="api_key_not_found"), ExitCode.NOT_FOUND),
        (AgentCacheError("x"), ExitCode.FAILED),
    ],
)
def test_which_error_leads_to_which_exit_code(error, code):
    assert exit_code_of(error) is code


def test_every_exit_code_says_what_it_means():
    assert all(code.meaning.endswith(".") for code in ExitCode)
    assert [int(code) for code in ExitCode] == sorted({int(code) for code in ExitCode})


def test_the_command_line_loads_neither_django_nor_the_gateway():
    program = "import sys, agentcache.cli.app; print(sorted({'django', 'uvicorn', 'redis', 'rich.progress'} & set(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert finished.stdout.strip() == "[]", finished.stderr
