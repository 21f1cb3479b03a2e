"""Runs a command in a network that has only a loopback, and counts the attempts to leave it.

    unshare --net python tests/support/isolated_network.py <program> <arguments>

Every packet or connection to an address without a route increments a counter of the kernel, whoever sends it and from
whichever library. Prints one JSON line: attempts while the program ran, and after one deliberate attempt.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
from pathlib import Path

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def bring_loopback_up() -> None:
    """Give the fresh network its loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def attempts() -> int:
    """Return how often the kernel found no route, for IPv4 and IPv6 together."""
    names, values = [line.split()[1:] for line in Path("/proc/net/snmp").read_text().splitlines() if line[:3] == "Ip:"]
    found = int(dict(zip(names, values, strict=True))["OutNoRoutes"])
    if (six := Path("/proc/net/snmp6")).exists():
        found += sum(int(line.split()[1]) for line in six.read_text().splitlines() if line.startswith("Ip6OutNoRoutes"))
    return found


def main() -> None:
    """Run the program; its own output goes to standard error."""
    bring_loopback_up()
    before = attempts()
    finished = subprocess.run(sys.argv[1:], stdout=sys.stderr)
    during = attempts() - before
    with socket.socket() as control:
        control.connect_ex(("192.0.2.1", 443))
    after = attempts() - before
    sys.stdout.write(json.dumps({"exit_code": finished.returncode, "during": during, "after_control": after}) + "\n")


if __name__ == "__main__":
    main()
