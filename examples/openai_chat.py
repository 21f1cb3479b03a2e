"""Ask OpenAI the same thing twice; the second answer comes from AgentCache."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ["AGENTCACHE_BASE_URL"] + "/openai/v1",
    api_key=os.environ["OPENAI_API_KEY"],
    default_headers={"X-AgentCache-Key": os.environ["AGENTCACHE_API_KEY"]},
)

for attempt in ("first", "second"):
    # The raw response shows the headers; client.chat.completions.create(...) works just as well.
    response = client.chat.completions.with_raw_response.create(
        model="gpt-5-mini",
        messages=[{"role": "user", "content": "Name three rivers that flow through more than four countries."}],
    )
    answer = response.parse()
    print(f"{attempt}: {response.headers['cache-status']}")
    print(f"  {answer.choices[0].message.content}")
