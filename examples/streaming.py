"""Stream an answer from the provider, replay it from the cache, and get it once more as a plain answer."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ["AGENTCACHE_BASE_URL"] + "/openai/v1",
    api_key=os.environ["OPENAI_API_KEY"],
    default_headers={"X-AgentCache-Key": os.environ["AGENTCACHE_API_KEY"]},
)
MODEL = "gpt-5-mini"
MESSAGES = [{"role": "user", "content": "Explain a hash table in four sentences."}]


def stream_answer() -> str:
    """Print the pieces as they come and return the whole text."""
    with client.chat.completions.with_streaming_response.create(model=MODEL, messages=MESSAGES, stream=True) as reply:
        print(reply.headers["cache-status"])
        text = ""
        for chunk in reply.parse():
            piece = chunk.choices[0].delta.content if chunk.choices else None
            print(piece or "", end="", flush=True)
            text += piece or ""
        print()
        return text


first = stream_answer()
second = stream_answer()
plain = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
print(plain.headers["cache-status"])
print("All three are the same text:", first == second == plain.parse().choices[0].message.content)
