"""Which pages a site has, read off its own table of addresses."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

from tests.support.browser.site import Site


@cache
def addresses(site: Site) -> tuple[str, ...]:
    """Return every address of the control plane, with `{name}` for what varies."""
    command = [sys.executable, "-m", "tests.support.page_routes_program"]
    environ = {**site.server.environ, "PYTHONPATH": ":".join(sys.path)}
    finished = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    return tuple(dict.fromkeys(address for address, _ in json.loads(finished.stdout)))


def page_addresses(site: Site) -> list[str]:
    """Return the addresses that are no JSON API's."""
    return [one for one in addresses(site) if not one.startswith("/api/") or one == "/api/docs"]
