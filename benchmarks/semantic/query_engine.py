"""A Redis with the query engine for RedisVL, as the tests have one: prints its URL, "" where there is none, until standard input ends."""

from __future__ import annotations

import sys

from tests.support.query_engine import find_query_engine
from tests.support.redis_server import RedisServer


def main() -> None:
    engine = find_query_engine()
    if engine is None:
        print(flush=True)
        return
    with RedisServer(program=engine.program, environ=engine.environ) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
