"""A provider that is not one: speaks OpenAI, Anthropic, Replicate and Together on one port, as badly as it is told.

Use it in a test or try-out as `with FakeProvider() as provider:`, or on its own as
`python -m agentcache.demo.fake_provider --port 9001`.

Which dialect answers is decided by the path: below `/openai`, `/anthropic`, `/replicate` and `/together` it is that
one, with the provider's own path behind (`/together/v1/chat/completions`). Without such a prefix, a request with
`anthropic-version` or to `/v1/messages` is Anthropic's; a body whose `model` holds a slash
(`meta-llama/Llama-3.3-70B`) is Together's; everything else is OpenAI's where OpenAI has such a path, and else
Replicate's or Together's. Any key is good except one that is missing or begins with `invalid`.

Answers follow from the request, so that different requests get different ones, and end with the number of the call,
so that a second call can be told from a cached answer. A key like `sk-canary-acme` puts `canary:acme` into every
answer. `max_tokens` is not enforced. A `model` beginning with `no-such-` does not exist.

How a call goes wrong is said by `FakeProvider.script(...)` or by the header `X-Fake-Script` with the members of
`Script` as JSON: `{"rst_after_chunks": 3}`.
"""

from agentcache.demo.fake_provider.script import Script
from agentcache.demo.fake_provider.server import Call, FakeProvider

__all__ = ["Call", "FakeProvider", "Script"]
