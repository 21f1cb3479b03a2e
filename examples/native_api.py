"""Keep answers of your own in AgentCache, with nothing but the standard library."""

import json
import os
from typing import Any
from urllib.request import Request, urlopen

BASE_URL = os.environ["AGENTCACHE_BASE_URL"]
HEADERS = {"X-AgentCache-Key": os.environ["AGENTCACHE_API_KEY"], "Content-Type": "application/json"}


def call(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send one call of the native API and return its answer."""
    sent = None if body is None else json.dumps(body).encode()
    with urlopen(Request(BASE_URL + path, data=sent, headers=HEADERS, method=method)) as reply:
        return json.load(reply)


# A key of your own, in a namespace of your own.
call("POST", "/api/cache/set", {"key": "report/2026-11", "namespace": "reports", "value": {"pages": 12}, "ttl": "30d"})
found = call("POST", "/api/cache/get", {"key": "report/2026-11", "namespace": "reports"})
print("report:", found["value"], found["freshness"], f"{found['ttl']} s left")

# A model and a prompt, where you keep nothing but the text.
question = {"provider": "openai", "model": "gpt-5-mini", "prompt": "Translate: good morning"}
call("POST", "/api/cache/set", {**question, "value": "Guten Morgen", "cost_usd": "0.00012", "tags": ["translations"]})
found = call("POST", "/api/cache/get", question)
print("prompt:", found["value"], f"saves ${found['cost_saved_usd']}")

# A miss is an answer, too: it names the key, and why nothing is there.
missed = call("POST", "/api/cache/get", {**question, "prompt": "Translate: good night"})
print("other prompt:", missed["hit"], missed["reason"])

print("entries:", call("GET", "/api/cache/stats")["entries"])
