"""Counters shared by the workers of any number of machines, in Redis: one script, so one atomic step for all limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError

from agentcache.engine.stores.redis_keys import TenantKeys
from agentcache.engine.stores.redis_link import Lane, RedisLink
from agentcache.engine.stores.tallies import HOLD_SECONDS, MINUTE_US, Ask, Got, Kind, generation_of

_MONTH_MS = 40 * 86400 * 1000
_MINUTE_MS = 61_000
_HOLD_MS = 2 * HOLD_SECONDS * 1000

#: For each ask: three keys (counter, held now, held before) and five arguments (kind, limit, want, floor, now in µs).
#: Numbers are doubles, exact to 2^53: 285 years in microseconds, 9 million dollars in billionths.
_ASK = f"""
local found, fits = {{}}, true
local n = #KEYS / 3
for i = 1, n do
  local kind, limit, want = tonumber(ARGV[i*5-4]), tonumber(ARGV[i*5-3]), tonumber(ARGV[i*5-2])
  local floor, now = tonumber(ARGV[i*5-1]), tonumber(ARGV[i*5])
  local value = tonumber(redis.call('GET', KEYS[i*3-2]) or '0')
  local ok, after
  if kind == {Kind.RATE:d} then
    value = math.max(value, now)
    after = value + want * math.floor({MINUTE_US} / limit)
    ok = after - now <= {MINUTE_US}
  else
    value = math.max(value, floor)
    after = value + want
    if kind == {Kind.COUNT:d} then
      ok = after <= limit
    else
      local held = tonumber(redis.call('GET', KEYS[i*3-1]) or '0') + tonumber(redis.call('GET', KEYS[i*3]) or '0')
      ok = value < limit and after + held <= limit
    end
  end
  fits = fits and ok
  found[i] = {{kind, want, value, after, ok}}
end
local replies = {{}}
for i = 1, n do
  local kind, want, value, after, ok = unpack(found[i])
  if fits then
    if kind == {Kind.HOLD:d} then
      redis.call('INCRBY', KEYS[i*3-1], string.format('%.0f', want))
      redis.call('PEXPIRE', KEYS[i*3-1], {_HOLD_MS})
    else
      local life = kind == {Kind.RATE:d} and {_MINUTE_MS} or {_MONTH_MS}
      redis.call('SET', KEYS[i*3-2], string.format('%.0f', after), 'PX', life)
      value = after
    end
  end
  replies[i] = {{(fits or ok) and string.format('%.0f', want) or '0', string.format('%.0f', value)}}
end
return replies
"""

_SETTLE = f"""
local held = tonumber(redis.call('GET', KEYS[2]) or '0')
if held > 0 then
  redis.call('SET', KEYS[2], string.format('%.0f', math.max(0, held - tonumber(ARGV[1]))), 'KEEPTTL')
end
local spent = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[2])) + tonumber(ARGV[3])
redis.call('SET', KEYS[1], string.format('%.0f', spent), 'PX', {_MONTH_MS})
return 1
"""


class RedisTally:
    """Counters in Redis, over a `link` of its own."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._ask = _Script(_ASK)
        self._settle = _Script(_SETTLE)

    async def ask(self, asks: Sequence[Ask], now: float) -> list[Got]:
        """Take what is asked for, all or nothing. All asks are of one tenant. Raises `StoreUnavailable`."""
        keys: list[str] = []
        words: list[str | int] = []
        for ask in asks:
            generation = generation_of(now)
            keys += [_name(ask), _hold(ask, generation), _hold(ask, generation - 1)]
            words += [int(ask.kind), ask.limit, ask.want, ask.floor, int(now * 1e6)]
        replies = await self._link.run(keys[0], lambda lane: self._ask.run(lane, keys, words))
        return [Got(int(granted), int(value)) for granted, value in replies]

    async def settle(self, ask: Ask, generation: int, cost: int) -> None:
        """Free what was set aside, and count what was spent. Raises `StoreUnavailable`."""
        keys = [_name(ask), _hold(ask, generation)]
        await self._link.run(keys[0], lambda lane: self._settle.run(lane, keys, [ask.want, ask.floor, cost]))

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()


class _Script:
    def __init__(self, source: str) -> None:
        self._source = source
        self._digest = b""

    async def run(self, lane: Lane, keys: list[str], words: list[str | int]) -> Any:
        if not self._digest:
            (self._digest,) = await lane.ask(("SCRIPT", "LOAD", self._source))
        try:
            (reply,) = await lane.ask(("EVALSHA", self._digest, len(keys), *keys, *words))
        except NoScriptError:
            # Redis has started anew, or this is another node of the cluster.
            (reply,) = await lane.ask(("EVAL", self._source, len(keys), *keys, *words))
        return reply


def _base(ask: Ask) -> str:
    return TenantKeys(ask.tenant_id).base + "q:" + ask.name


def _name(ask: Ask) -> str:
    return _base(ask) if ask.kind is Kind.RATE else f"{_base(ask)}:{ask.period}"


def _hold(ask: Ask, generation: int) -> str:
    return f"{_base(ask)}:held{generation}"
