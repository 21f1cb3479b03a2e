"""One call of the native API: what came in, checked, and the one way to answer it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from agentcache.engine.canonical import parse_body
from agentcache.engine.freshness import Freshness
from agentcache.gateway.admission import FREE, Pass
from agentcache.gateway.asgi_types import ASGIScope, HeaderList, Receive, Send, read_body, send_whole
from agentcache.gateway.callers import Caller
from agentcache.gateway.calls import Parts
from agentcache.gateway.directives import InvalidDirective
from agentcache.gateway.ports import Outcome, Prewarmer, Principal, UsageEvent, UsageTotals
from agentcache.gateway.problems import NO_PAGE
from agentcache.kit.errors import AgentCacheError, BadRequest
from agentcache.kit.networks import caller_address

T = TypeVar("T", bound=msgspec.Struct)

#: What an X-AgentCache header may say here; everything else is a member of the body.
DIRECTIVES_HERE = frozenset({"x-agentcache-key", "x-agentcache-namespace", "x-agentcache-agent"})
_JSON = msgspec.json.Encoder()
_UNKNOWN = re.compile(r"unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>.*)`", re.DOTALL)
_PLACE = re.compile(r" - at `(?:key in )?\$(?P<place>.*)`$", re.DOTALL)


class InvalidMember(BadRequest):
    """A member of the request is missing, unknown or of the wrong kind."""

    code = "invalid_member"


@dataclass(slots=True)
class Exchange:
    """One authenticated call and everything needed to answer it."""

    parts: Parts
    asgi_scope: ASGIScope
    receive: Receive
    send: Send
    request_id: str
    started: float
    caller: Caller
    principal: Principal
    #: Segments of the path that the route names.
    path: dict[str, str] = field(default_factory=dict)
    #: Who counts the team's calls, where somebody does.
    totals: UsageTotals | None = None
    #: Who asks again for what is invalidated, where somebody does.
    prewarmer: Prewarmer | None = None
    #: Whether the meter has been told how this ended; each request is one usage event.
    is_recorded: bool = False
    #: What its limits let it do.
    admitted: Pass = FREE

    @property
    def address(self) -> str:
        """The caller's address, "" where it is not known."""
        peer, forwarded = self.asgi_scope.get("client"), self.caller.headers.get("x-forwarded-for", "")
        return caller_address(peer[0] if peer else "", forwarded, self.parts.settings.trusted_proxies)

    async def read(self, kind: type[T], limit: int) -> T:
        """Return the JSON body as a `kind`; raise `BadRequest` naming what is wrong with it."""
        return as_struct(parse_body(await read_body(self.asgi_scope, self.receive, limit)), kind)

    def query(self, kind: type[T]) -> T:
        """Return the query string as a `kind`; unknown and repeated parameters are a 400."""
        return as_struct(read_query(self.asgi_scope["query_string"]), kind, strict=False)

    async def reply(self, body: Any, *, status: int = 200, headers: HeaderList | None = None) -> None:
        """Send a JSON answer; one team's answers are for no shared cache."""
        sent: HeaderList = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), *NO_PAGE]
        if headers is not None:
            sent += headers
        else:
            sent.append((b"x-agentcache-request-id", self.request_id.encode()))
        await send_whole(self.send, status, sent, b"" if status == 204 else _JSON.encode(body))

    def record(
        self,
        outcome: Outcome,
        status: int,
        *,
        dialect: str,
        endpoint: str,
        model: str,
        namespace: str,
        input_tokens: int = 0,
        output_tokens: int = 0,
        saved_usd_nanos: int = 0,
        reason: str = "",
        entry_key: str = "",
        served: Freshness | None = None,
    ) -> None:
        """Tell the meter how the call ended."""
        self.is_recorded = True
        clock, principal = self.parts.clock, self.principal
        keep = self.parts.refusals.record if outcome is Outcome.REFUSED else self.parts.meter.record
        keep(
            UsageEvent(
                id=self.request_id,
                at_ms=int(clock.now() * 1000),
                tenant_id=principal.tenant.id,
                api_key_id=principal.api_key_id,
                dialect=dialect,
                endpoint=endpoint,
                model=model,
                namespace=namespace,
                outcome=outcome.value,
                status=status,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                saved_usd_nanos=saved_usd_nanos,
                latency_us=int((clock.monotonic() - self.started) * 1e6),
                agent=self.caller.directives.agent,
                reason=reason,
                entry_key=entry_key,
                freshness=served.value if served is not None else "",
                user_id=principal.user_id,
            )
        )

    def refuse(self, error: AgentCacheError, *, dialect: str, endpoint: str) -> None:
        """Tell that a limit, a scope or a network kept the call out, and charge no limit for it."""
        self.parts.admission.give_back(self.admitted)
        self.record(
            Outcome.REFUSED,
            error.status,
            dialect=dialect,
            endpoint=endpoint,
            model="",
            namespace=self.caller.directives.namespace or self.principal.namespace,
            reason=error.code,
        )


def check_directives(headers: Mapping[str, str], *, may_limit_age: bool) -> None:
    """Refuse cache directives that mean nothing here, so that none is silently ignored."""
    for name in headers:
        if name.startswith("x-agentcache-") and name not in DIRECTIVES_HERE:
            raise InvalidDirective(
                f"{name} is for the providers' routes; here it is a member of the body: "
                f"{name.removeprefix('x-agentcache-')}.",
                param=name,
            )
    control = {part.partition("=")[0].strip().lower() for part in headers.get("cache-control", "").split(",")} - {""}
    unfit = sorted(control - {"max-age", "only-if-cached"} if may_limit_age else control)
    if unfit:
        raise InvalidDirective(f"cache-control: {unfit[0]} has no meaning for this call.", param="cache-control")


def read_query(raw: bytes) -> dict[str, str]:
    """Read a query string strictly."""
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, strict_parsing=bool(raw), errors="strict", max_num_fields=64
        )
    except ValueError:
        raise BadRequest("The query string is not valid.", code="invalid_query") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidMember(f"The parameter {name[:80]!r} occurs twice.", param=name[:80])
        found[name] = value
    return found


def as_struct(members: dict[str, Any], kind: type[T], *, strict: bool = True) -> T:
    """Return `members` as a `kind`; raise `InvalidMember` naming the first one at fault."""
    try:
        return msgspec.convert(members, kind, strict=strict)
    except msgspec.ValidationError as error:
        text = str(error)
    place = _PLACE.search(text)
    inside = place["place"].lstrip(".")[:80] if place else ""
    said = _PLACE.sub("", text)
    unknown = _UNKNOWN.search(said)
    if inside and (found := unknown or _MISSING.search(said)):
        name = found["name"][:80]
        what = "not known here" if unknown else "required"
        raise InvalidMember(f"{inside}: {name!r} is {what}.", param=f"{inside}.{name}")
    if unknown:
        known = ", ".join(kind.__struct_encode_fields__)
        raise InvalidMember(
            f"{unknown['name'][:80]!r} is not known here; known are {known}.", param=unknown["name"][:80]
        )
    if missing := _MISSING.search(said):
        raise InvalidMember(f"{missing['name']!r} is required.", param=missing["name"])
    expected = said.replace("`", "")
    raise InvalidMember(f"{inside or 'The request'}: {expected[:1].lower()}{expected[1:]}.", param=inside or None)


def utc(seconds: float) -> str:
    """Return Unix seconds as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
