"""Requests that users aim, in a network where every internal address answers: nothing arrives there (S1, S2, S3, S4, S5, S6)."""

import json
import os
import subprocess
import sys

import pytest

from tests.architecture.repository import ROOT
from tests.faults.test_silent_by_default import isolation
from tests.support.reliability import record

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(360)


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    isolated = isolation()
    if isolated is None:
        # Canaries on addresses such as 169.254.169.254 need a network of their own, which only Linux gives, and only to
        # whoever may ask for it. Elsewhere nothing can stand in for them: the rules themselves are held to the same
        # vectors, redirects and rebindings by tests/unit/kit/egress on every machine.
        pytest.skip("the kernel makes no network namespaces here; tests/unit/kit/egress proves the same on loopback")
    environ = {**os.environ, "PYTHONPATH": ":".join([str(ROOT), *sys.path])}
    folder = tmp_path_factory.mktemp("canaries")
    command = [*isolated, sys.executable, "-m", "tests.faults.outbound.canaries_program", str(folder)]
    finished = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_no_internal_address_is_reached_in_any_spelling(figures):
    assert figures["tried"]["spellings"] > 2_000
    assert figures["addresses"] > 25
    assert figures["inside"] == 0
    record("S1 canaries", vectors=36, requests=figures["tried"]["names"], connects=figures["inside"])
    record("S2 canaries", requests=figures["tried"]["spellings"], connects=figures["inside"])
    record("S4 canaries", requests=36, connects=figures["inside"])
    record("S6 canaries", requests=figures["tried"]["schemes"] + figures["tried"]["spellings"], connects=0)


def test_no_redirect_leads_inside(figures):
    assert figures["tried"]["redirects"] == 72
    assert figures["after_redirects"] == 0
    record("S5 canaries", requests=figures["tried"]["redirects"], connects=figures["after_redirects"])


def test_no_name_that_changes_its_address_leads_inside(figures):
    assert figures["tried"]["rebindings"] == 1_000
    assert figures["rebound"] == 0
    assert figures["reached_public"] > 100
    record("S3 canaries", requests=1_000, connects=figures["rebound"], public_connects=figures["reached_public"])


def test_nothing_left_the_machine_and_the_canaries_sing(figures):
    assert figures["left_the_machine"] == 0
    assert figures["seen_inside"] == 0
    assert figures["controls"] == [True, True]
    assert figures["control_refused"]
