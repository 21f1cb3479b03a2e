"""Say for one request how long its answer is good, what it belongs to, and when to ask anew; then purge by tag."""

import json
import os
from urllib.request import Request, urlopen

from openai import OpenAI

BASE_URL = os.environ["AGENTCACHE_BASE_URL"]
API_KEY = os.environ["AGENTCACHE_API_KEY"]
client = OpenAI(
    base_url=BASE_URL + "/openai/v1",
    api_key=os.environ["OPENAI_API_KEY"],
    default_headers={"X-AgentCache-Key": API_KEY, "X-AgentCache-Namespace": "catalogue"},
)


def describe(directives: dict[str, str]) -> None:
    """Ask for a product text with these request headers and print how it was answered."""
    response = client.chat.completions.with_raw_response.create(
        model="gpt-5-mini",
        messages=[{"role": "user", "content": "Describe product 4711 in one sentence."}],
        extra_headers=directives,
    )
    print(f"{directives or 'no directives'}: {response.headers['cache-status']}")


KEEP = {"X-AgentCache-TTL": "12h", "X-AgentCache-Tags": "product-4711,catalogue"}
describe(KEEP)  # a miss, stored for twelve hours under two tags
describe({})  # a hit
describe(KEEP | {"Cache-Control": "no-cache"})  # asks the provider and replaces what is stored
describe({"Cache-Control": "max-age=3600"})  # a hit, because the answer is younger than an hour
describe({"Cache-Control": "no-store"})  # past the cache in both directions

purge = Request(
    BASE_URL + "/api/cache/purge",
    data=json.dumps({"namespace": "catalogue", "tags": ["product-4711"]}).encode(),
    headers={"X-AgentCache-Key": API_KEY, "Content-Type": "application/json"},
)
with urlopen(purge) as reply:
    print("purged:", json.load(reply)["invalidated"])
describe({"X-AgentCache-Mode": "read-only"})  # a miss again, and this time nothing is stored
