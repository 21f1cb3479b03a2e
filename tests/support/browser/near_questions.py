"""Near questions on a site, as if its gateway had met them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from tests.support.browser.site import Site


def leave_near_questions(site: Site, team_id: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Leave a hit for each pair (asked, matched) where a gateway does; return their requests."""
    command = [sys.executable, "-m", "tests.support.near_questions_program", team_id]
    done = subprocess.run(
        command, env=site.server.environ, input=json.dumps(pairs), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
