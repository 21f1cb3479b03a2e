"""Ask Anthropic the same thing twice; the second answer comes from AgentCache."""

import os

from anthropic import Anthropic

client = Anthropic(
    base_url=os.environ["AGENTCACHE_BASE_URL"] + "/anthropic",
    api_key=os.environ["ANTHROPIC_API_KEY"],
    default_headers={"X-AgentCache-Key": os.environ["AGENTCACHE_API_KEY"]},
)

for attempt in ("first", "second"):
    response = client.messages.with_raw_response.create(
        model="claude-sonnet-5",
        max_tokens=512,
        messages=[{"role": "user", "content": "Why is the sky dark at night?"}],
    )
    message = response.parse()
    print(f"{attempt}: {response.headers['cache-status']}")
    print(f"  {message.content[0].text}")
