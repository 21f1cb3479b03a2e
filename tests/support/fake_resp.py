"""A server that speaks enough RESP to refuse the way Redis does."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Literal, Self

Mode = Literal["ok", "loading", "oom", "readonly", "noauth", "moved", "garbage", "silent", "close", "busy", "huge"]

_REFUSALS: dict[str, bytes] = {
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "noauth": b"-NOAUTH Authentication required.\r\n",
    "busy": b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
    "garbage": b"\x00\xffHTTP/1.1 400 what?\r\n\x07\r\n",
    "huge": b"$99999999999\r\n",
}
#: These change nothing, so a server that is full or a replica still answers them.
_READS = frozenset({b"GET", b"MGET", b"HGET", b"HGETALL", b"HMGET", b"EXISTS", b"SCAN", b"ZRANGE", b"ZRANGEBYSCORE",
                    b"ZCARD", b"TTL", b"PTTL", b"XREAD", b"XRANGE", b"XLEN", b"ZSCORE", b"SMEMBERS", b"INFO", b"TIME",
                    b"WATCH", b"UNWATCH", b"MULTI", b"DISCARD"})  # fmt: skip
_HANDSHAKE = frozenset({b"HELLO", b"CLIENT", b"SELECT", b"QUIT", b"COMMAND"})


class FakeResp:
    """Answers every command according to `mode`, which may be changed at any time. `commands` records names."""

    def __init__(self, mode: Mode = "ok", *, moved_to: str = "127.0.0.1:1") -> None:
        self.mode: Mode = mode
        self.moved_to = moved_to
        self.commands: list[str] = []
        self.connections = 0
        self._released = threading.Event()
        self._open: set[socket.socket] = set()
        owner = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                owner._talk(self)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 512

        self._server = Server(("127.0.0.1", 0), Session)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Address for a Redis client."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Listen."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close everything."""
        self._released.set()
        self._server.shutdown()
        self.drop_connections()
        self._server.server_close()
        self._thread.join()

    def drop_connections(self) -> None:
        """Close every open connection, as a restarting server does."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self._open.discard(connection)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _talk(self, session: Any) -> None:
        self.connections += 1
        self._open.add(session.connection)
        null = b"$-1\r\n"
        try:
            for words in _commands(session.rfile):
                name = words[0].upper()
                self.commands.append(name.decode(errors="replace"))
                if self.mode == "close":
                    return
                if self.mode == "silent":
                    self._released.wait()
                    return
                if name == b"HELLO" and words[1:2] == [b"3"]:
                    null = b"_\r\n"
                session.connection.sendall(self._answer(name, words, null))
        except (OSError, ValueError):
            return
        finally:
            self._open.discard(session.connection)

    def _answer(self, name: bytes, words: list[bytes], null: bytes) -> bytes:
        mode = self.mode
        if mode == "noauth" and name == b"HELLO":
            return b"-NOAUTH HELLO must be called with the client already authenticated.\r\n"
        if mode in ("garbage", "huge"):
            return _REFUSALS[mode]
        if name in _HANDSHAKE:
            return _hello(words) if name == b"HELLO" else b"+OK\r\n"
        if mode in _REFUSALS:
            return _REFUSALS[mode]
        if mode == "moved" and name not in (b"PING", b"INFO"):
            return f"-MOVED 3999 {self.moved_to}\r\n".encode()
        if name == b"PING":
            return b"+PONG\r\n"
        if name == b"TIME":
            return b"*2\r\n$10\r\n1800000000\r\n$1\r\n0\r\n"
        if name == b"EXEC":
            refused = {"oom": "-EXECABORT", "readonly": "-EXECABORT"}.get(mode)
            return f"{refused} Transaction discarded because of previous errors.\r\n".encode() if refused else b"*0\r\n"
        if name in (b"MGET", b"HMGET"):
            number = len(words) - (1 if name == b"MGET" else 2)
            return b"*%d\r\n" % number + number * null
        if name == b"SMEMBERS":
            return b"*0\r\n"
        if name in _READS:
            return b"+OK\r\n" if name in (b"WATCH", b"UNWATCH", b"MULTI", b"DISCARD") else null
        if mode == "oom":
            return b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        if mode == "readonly":
            return b"-READONLY You can't write against a read only replica.\r\n"
        return b"+OK\r\n"


def _hello(words: list[bytes]) -> bytes:
    proto = 3 if words[1:2] == [b"3"] else 2
    fields = [b"$6\r\nserver\r\n$5\r\nredis\r\n", b"$7\r\nversion\r\n$5\r\n7.2.0\r\n", b"$5\r\nproto\r\n:%d\r\n" % proto,
              b"$2\r\nid\r\n:1\r\n", b"$4\r\nmode\r\n$10\r\nstandalone\r\n", b"$4\r\nrole\r\n$6\r\nmaster\r\n",
              b"$7\r\nmodules\r\n*0\r\n"]  # fmt: skip
    return (b"%%%d\r\n" % len(fields) if proto == 3 else b"*%d\r\n" % (2 * len(fields))) + b"".join(fields)


def _commands(stream: Any) -> Iterator[list[bytes]]:
    """Yield commands (arrays of bulk strings) until the client leaves."""
    while line := stream.readline():
        if not line.startswith(b"*"):
            yield line.split() or [b""]
            continue
        words = []
        for _ in range(int(line[1:])):
            size = int(stream.readline()[1:])
            words.append(stream.read(size + 2)[:-2])
        yield words
