"""Puts the gateway's parts together, for a server process or for the job worker."""

from __future__ import annotations

from agentcache.engine.flights import Flights
from agentcache.engine.stores.boards import NoFlightBoard
from agentcache.engine.stores.open_stores import Stores
from agentcache.gateway.authenticate import Authenticator
from agentcache.gateway.calls import Parts
from agentcache.gateway.kept_requests import KeepsNothing, RequestKeeper
from agentcache.gateway.key_failures import KeyFailures
from agentcache.gateway.known_hits import KnownHits, NoKnownHits
from agentcache.gateway.limit_counters import NoLimits, open_admission
from agentcache.gateway.meter import Meter
from agentcache.gateway.ports import JobQueue, LimitBook
from agentcache.gateway.prepared import PreparedRequests
from agentcache.gateway.refreshing import Refreshes
from agentcache.gateway.refusals import Refusals
from agentcache.gateway.replies import HitHeaders
from agentcache.gateway.semantic.tier import NoSemanticTier, SemanticTier
from agentcache.kit.clock import Clock
from agentcache.kit.egress.upstream import UpstreamClient, UpstreamTimeouts
from agentcache.providers.prices import Prices
from agentcache.providers.registry import build_dialects
from agentcache.settings import Settings


def build_parts(
    settings: Settings,
    clock: Clock,
    *,
    stores: Stores,
    upstream: UpstreamClient,
    meter: Meter,
    authenticator: Authenticator,
    jobs: JobQueue,
    limits: LimitBook | None = None,
    kept_requests: RequestKeeper | None = None,
    semantic: SemanticTier | NoSemanticTier | None = None,
) -> Parts:
    """Put the gateway's parts together."""
    dialects = build_dialects(settings.upstreams)
    prices = Prices(settings.prices_file, dialects)
    hit_headers, admission = HitHeaders(), open_admission(settings, clock, limits or NoLimits())
    known_hits: KnownHits | NoKnownHits = NoKnownHits()
    if stores.current is not None:
        known_hits = KnownHits(stores.current, authenticator, admission, meter, hit_headers, clock)
    return Parts(
        settings=settings,
        clock=clock,
        dialects=dialects,
        entries=stores.entries,
        board=stores.board,
        is_shared=not isinstance(stores.board, NoFlightBoard),
        flights=Flights(settings.entry_max_bytes),
        upstream=upstream,
        timeouts=UpstreamTimeouts(
            connect=settings.upstream_connect_seconds,
            first_byte=settings.upstream_first_byte_seconds,
            idle=settings.upstream_idle_seconds,
            total=settings.upstream_total_seconds,
        ),
        prepared=PreparedRequests(),
        hit_headers=hit_headers,
        known_hits=known_hits,
        refreshes=Refreshes(clock),
        authenticator=authenticator,
        key_failures=KeyFailures(settings.key_failures_per_minute, clock, settings.trusted_proxies),
        meter=meter,
        refusals=Refusals(meter),
        prices=prices,
        jobs=jobs,
        admission=admission,
        kept_requests=kept_requests or KeepsNothing(),
        semantic=semantic or NoSemanticTier(),
    )
