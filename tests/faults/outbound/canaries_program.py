"""Aims the guarded door at every internal address there is, in a network of its own where each of them answers.

    unshare --net python tests/faults/outbound/canaries_program.py FOLDER

The loopback gets the internal addresses of the table and one public one, and a canary listens on all of them. Prints one JSON
line: what was tried, what reached a canary, and what left the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import json
import random
import socket
import struct
import sys
from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from agentcache.kit.egress.addresses import is_public
from agentcache.kit.egress.allow_list import AllowList
from agentcache.kit.egress.guarded import EgressFailed, GuardedClient, GuardedLimits
from agentcache.kit.egress.target import InvalidTarget
from tests.support.certificates import TestAuthority
from tests.support.isolated_network import attempts, bring_loopback_up
from tests.unit.kit.egress.test_addresses import INTERNAL

PUBLIC = "93.184.216.34"
PORTS = (80, 443, 6379, 8787)
SIOCSIFADDR, SIOCSIFNETMASK = 0x8916, 0x891C
REBINDINGS = 1_000


def give_loopback(address: IPv4Address | IPv6Address, number: int) -> bool:
    """Make an address one of this machine's; False where the kernel takes it for no host's."""
    try:
        if isinstance(address, IPv6Address):
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as any_socket:
                request = struct.pack("16sIi", address.packed, 128, socket.if_nametoindex("lo"))
                fcntl.ioctl(any_socket, SIOCSIFADDR, request)
            return True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            for call, value in ((SIOCSIFADDR, address.packed), (SIOCSIFNETMASK, b"\xff\xff\xff\xff")):
                name = f"lo:{number}".encode()
                fcntl.ioctl(any_socket, call, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, value))
    except OSError:
        return False
    return True


class Canaries:
    """Listens on every address, and counts by the address that was connected to."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    async def listen(self, authority: TestAuthority) -> list[asyncio.Server]:
        """Listen; 443 speaks TLS as the names of the tests."""
        servers = []
        for port, family in itertools.product(PORTS, (socket.AF_INET, socket.AF_INET6)):
            context = authority.server("rebinding.test", "moved.test", PUBLIC) if port == 443 else None
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
            servers.append(await asyncio.start_server(self._answer, sock=listener, ssl=context))
        return servers

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen[writer.get_extra_info("sockname")[0]] += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            moved = head.split(b" ")[1].removeprefix(b"/to?") if b"/to?" in head else b""
            status = b"302 Found\r\nlocation: " + moved if moved else b"200 OK"
            writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()


def resolving(choose: Any) -> Any:
    """Resolve every name by `choose(host)`, a list of addresses."""

    async def resolve(host: str, port: int) -> list[Any]:
        found = [host] if _is_address(host) else choose(host)
        return [(socket.AF_INET6, (one, port, 0, 0)) if ":" in one else (socket.AF_INET, (one, port)) for one in found]

    return resolve


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def aim(client: GuardedClient, url: str, **options: Any) -> bool:
    """Send a request; True when an answer came."""
    try:
        await client.request("GET", url, [(b"authorization", b"Bearer secret")], **options)
    except (EgressFailed, InvalidTarget):
        return False
    return True


def spellings(address: str) -> list[str]:
    """Return the ways in which an address is written, or hidden, in a URL."""
    if ":" in address:
        return [f"[{address}]", f"[{ip_address(address).exploded}]"]
    a, b, c, d = (int(part) for part in address.split("."))
    number = a << 24 | b << 16 | c << 8 | d
    return [
        address, f"{address}.", str(number), hex(number), f"0{a:o}.{b}.{c}.{d}", f"0x{a:x}.{b}.{c}.{d}", f"{a}.{b}.{c * 256 + d}",
        f"[::ffff:{address}]", f"[::{address}]", f"[64:ff9b::{address}]", f"[::ffff:0:{address}]",
        f"[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::]", f"user@{address}", f"example.com@{address}", f"{address}#@example.com",
        "".join(chr(ord(char) + 0xFEE0) if char.isdigit() else "。" for char in address), f"%{ord(address[0]):x}{address[1:]}",
    ]  # fmt: skip


async def run(folder: Path) -> dict[str, Any]:
    """Try everything; return the figures."""
    authority = TestAuthority(folder)
    canaries = Canaries()
    servers = await canaries.listen(authority)
    limits = GuardedLimits(connect_seconds=1.0, total_seconds=2.0)
    before = attempts()
    tried = Counter[str]()
    default = GuardedClient(limits=limits)
    for address in INTERNAL:
        for host, scheme, port in itertools.product(spellings(address), ("https", "http"), PORTS):
            await aim(default, f"{scheme}://{host}:{port}/")
            tried["spellings"] += 1
        by_name = GuardedClient(limits=limits, resolver=resolving(lambda _host, one=address: [one]))
        await aim(by_name, "https://internal.test/")
        mixed = GuardedClient(limits=limits, resolver=resolving(lambda _host, one=address: [PUBLIC, one]))
        await aim(mixed, "https://mixed.test/")
        tried["names"] += 2
    for scheme in ("gopher", "file", "ftp", "unix", "ws"):
        await aim(default, f"{scheme}://127.0.0.1:6379/")
        tried["schemes"] += 1
    inside = sum(count for address, count in canaries.seen.items() if not is_public(address))
    redirects = await _redirects(authority, limits, canaries, tried)
    rebound, reached_public = await _rebinding(authority, limits, canaries, tried)
    left = attempts() - before
    seen_inside = sum(count for address, count in canaries.seen.items() if not is_public(address))
    # The canaries do sing: the operator's list opens exactly what it names.
    allowed = GuardedClient(AllowList.parse("10.0.0.1,fd00:ec2::254"), limits)
    controls = [await aim(allowed, "http://10.0.0.1:8787/"), await aim(allowed, "http://[fd00:ec2::254]:8787/")]
    refused = await aim(allowed, "http://192.168.1.1:8787/")
    for server in servers:
        server.close()
    return {
        "tried": dict(tried), "inside": inside, "after_redirects": redirects, "rebound": rebound, "seen_inside": seen_inside,
        "reached_public": reached_public, "left_the_machine": left, "controls": controls, "control_refused": not refused,
    }  # fmt: skip


async def _redirects(authority: TestAuthority, limits: GuardedLimits, canaries: Canaries, tried: Counter[str]) -> int:
    before = sum(count for address, count in canaries.seen.items() if not is_public(address))
    client = GuardedClient(limits=limits, tls=authority.trusting(), resolver=resolving(lambda _host: [PUBLIC]))
    for address, scheme in itertools.product(INTERNAL, ("https", "http")):
        host = f"[{address}]" if ":" in address else address
        await aim(client, f"https://moved.test/to?{scheme}://{host}:8787/", max_redirects=3)
        tried["redirects"] += 1
    return sum(count for address, count in canaries.seen.items() if not is_public(address)) - before


async def _rebinding(
    authority: TestAuthority, limits: GuardedLimits, canaries: Canaries, tried: Counter[str]
) -> tuple[int, int]:
    """Have a name change its address at every look-up, at random."""
    chance = random.Random(3)
    before = sum(count for address, count in canaries.seen.items() if not is_public(address))
    public = canaries.seen[PUBLIC]
    client = GuardedClient(
        limits=limits, tls=authority.trusting(),
        resolver=resolving(lambda _host: [chance.choice([PUBLIC, "127.0.0.1", "::1", "169.254.169.254"])]),
    )  # fmt: skip
    for _ in range(REBINDINGS):
        await aim(client, "https://rebinding.test/")
        tried["rebindings"] += 1
    inside = sum(count for address, count in canaries.seen.items() if not is_public(address)) - before
    return inside, canaries.seen[PUBLIC] - public


def main() -> None:
    """Prepare the network and print what happened there."""
    bring_loopback_up()
    given = [give_loopback(ip_address(address), number) for number, address in enumerate([PUBLIC, *INTERNAL])]
    figures = asyncio.run(run(Path(sys.argv[1])))
    sys.stdout.write(json.dumps({"addresses": sum(given), **figures}) + "\n")


if __name__ == "__main__":
    main()
