"""The headers that callers and the gateway exchange; the reference page is made from these tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One header: its name, what it takes or carries, and what it does."""

    name: str
    value: str
    description: str


REQUEST_HEADERS = (
    HeaderField(
        "X-AgentCache-Key",
        "`ac_live_…` or `ac_test_…`",
        "Your AgentCache key. With it the provider's own credential header passes through untouched.",
    ),
    HeaderField(
        "Authorization / X-API-Key",
        "`Bearer ac_…` / `ac_…`",
        "The AgentCache key in the provider's usual place; the provider's credential then comes from `X-Provider-Key`.",
    ),
    HeaderField("X-Provider-Key", "a provider's API key", "The provider's credential, for any provider."),
    HeaderField("X-OpenAI-Key", "an OpenAI API key", "The same as `X-Provider-Key`, used for OpenAI only."),
    HeaderField("X-Anthropic-Key", "an Anthropic API key", "The same as `X-Provider-Key`, used for Anthropic only."),
    HeaderField(
        "Cache-Control",
        "`no-cache`, `no-store`, `max-age=N`, `only-if-cached`, `stale-if-error=N`",
        "`no-cache` asks the provider and stores the answer; `no-store` neither reads nor writes the cache; `max-age` "
        "accepts answers up to N seconds old; `only-if-cached` answers 504 instead of asking the provider; "
        "`stale-if-error` accepts an answer up to N seconds past its lifetime when the provider fails.",
    ),
    HeaderField(
        "X-AgentCache-Mode",
        "`on`, `off`, `read-only`, `write-only`, `refresh`",
        "`off` goes straight to the provider; `read-only` stores nothing; `write-only` and `refresh` ask the provider "
        "and replace what is stored. Replicate predictions without a `seed` are meant to differ, so they are cached "
        "only when the request gives a mode, such as `on`.",
    ),
    HeaderField("X-AgentCache-TTL", "seconds, or `15m`, `12h`, `30d`", "How long the stored answer may be served."),
    HeaderField("X-AgentCache-Namespace", "1-128 of `A-Z a-z 0-9 . _ : -`", "A partition of your cache, in the key."),
    HeaderField("X-AgentCache-Tags", "comma-separated, up to 32", "Labels to invalidate the stored answer by."),
    HeaderField(
        "X-AgentCache-Sources", "comma-separated URLs, up to 32", "What the answer was made from, to invalidate it by."
    ),
    HeaderField(
        "X-AgentCache-Bucket",
        "1-64 of `A-Z a-z 0-9 . _ : -`",
        "Keeps distinct samples of one request apart; in the key, never sent upstream.",
    ),
    HeaderField(
        "X-AgentCache-Ignore",
        "comma-separated JSON paths, up to 32",
        "Body members left out of the key (`metadata.request_id`, `messages[0].name`, `tools[*].id`).",
    ),
    HeaderField(
        "X-AgentCache-Semantic",
        "`off`, `shadow`, `safe`, `balanced`, or a threshold such as `0.97`",
        "Makes the namespace's rule for near questions stricter for this request; what is looser changes nothing. "
        "With `off` the question is not learned either.",
    ),
    HeaderField("X-AgentCache-Agent", "1-128 printable characters", "Who is asking, for the usage reports."),
)

REPLY_HEADERS = (
    HeaderField(
        "Cache-Status",
        "RFC 9211",
        "`AgentCache; hit; ttl=…; key=…`, or `fwd=miss|bypass|request|stale` with `fwd-status`, `stored`, `collapsed` "
        "and `detail`. A hit past its lifetime has a negative `ttl`, and `detail` says why it was served: "
        "`stale-while-revalidate` or `stale-if-error`. An answer to a near question has `semantic`, or "
        "`semantic-normalised` where only the spelling differs.",
    ),
    HeaderField("Age", "seconds", "How old a stored answer is (RFC 9111); on hits only."),
    HeaderField(
        "X-AgentCache-Freshness",
        "`fresh`, `stale`, `expired`",
        "Fresh below 75 % of the lifetime, stale up to its end and inside a stale window, expired after it.",
    ),
    HeaderField("X-AgentCache-Key", "64 hex digits", "The cache key, for `/api/cache/entries/{key}` and explain."),
    HeaderField(
        "X-AgentCache-Saved-USD", "decimal", "What the provider would have charged, at the price in force then."
    ),
    HeaderField("X-AgentCache-Saved-Ms", "milliseconds", "How long the provider took when the answer was made."),
    HeaderField("X-AgentCache-Request-Id", "string", "Names this request in our logs and in support questions."),
)

#: What only answers of a provider's routes carry, and not all of them.
FURTHER_REPLY_HEADERS = (
    HeaderField(
        "X-AgentCache-Refresh",
        "`started`, `running`, `waiting`, `none`",
        "Beside an answer served stale while it is asked for anew: this request started that, another had, a failed "
        "one is tried again in a while, or this request cannot (without a provider credential, or read-only).",
    ),
    HeaderField(
        "X-AgentCache-Policy",
        "name",
        "The team's policy that decided how this answer is kept; on answers from a provider.",
    ),
    HeaderField(
        "X-AgentCache-Semantic",
        "`hit`, `shadow`, `below`, `risky`, `trap`, `veto`, `none`, `unfit`, `skipped`, `off`, `not_installed`",
        "What near questions came to, with `mode`, `threshold`, `verifier`, `risk`, `risk-limit`, `veto` and `reason` where there are such; "
        "where the namespace has them on, or the request named the header.",
    ),
    HeaderField(
        "X-AgentCache-Similarity",
        "decimal",
        "Cosine of the asked and the nearest stored question; of another embedder than the built-in one, on the scale of that.",
    ),
    HeaderField(
        "X-AgentCache-Score",
        "0 to 1",
        "How sure the verifier is that one answer serves both; 0 where a veto came first.",
    ),
    HeaderField(
        "X-AgentCache-Matched",
        "64 hex digits",
        "The entry whose answer to a near question this is; `X-AgentCache-Key` is then the request's own key.",
    ),
    HeaderField(
        "X-AgentCache-Reasons",
        "`feature=value;effect=number`, …",
        "The differences of both questions that moved the score most, by log-odds.",
    ),
)

#: Headers of ours that a request may carry, lower case.
DIRECTIVE_HEADERS = frozenset(
    field.name.lower() for field in REQUEST_HEADERS if field.name.lower().startswith("x-agentcache-")
)
