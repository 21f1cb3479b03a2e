"""Starts a server with default settings, stores and reads one answer, lets it idle for a moment, stops it.

python tests/support/short_visit.py DATA_DIR [PYTHON ...]
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.server_process import ServerProcess

#: Long enough for what a program does shortly after it has started: telemetry, checks for updates.
IDLE_SECONDS = 3.0


def post(server: ServerProcess, path: str, document: object) -> dict[str, object]:
    """Call the native API of the server."""
    headers = {"X-AgentCache-Key": server.key, "Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, json.dumps(document).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return dict(json.load(response))


def main() -> None:
    """Pay the visit; leaves with 0 when the answer came back."""
    python = sys.argv[2:] or [sys.executable]
    with ServerProcess(Path(sys.argv[1]), python=python) as server:
        question = {"provider": "openai", "model": "gpt-5-mini", "prompt": "Anybody there?"}
        post(server, "/api/cache/set", {**question, "value": "Yes."})
        answer = post(server, "/api/cache/get", question)
        time.sleep(IDLE_SECONDS)
        code = server.stop()
    sys.exit(0 if answer["hit"] and code == 0 else 1)


if __name__ == "__main__":
    main()
