"""Asks for the same again and again in a process of its own, so that whoever causes trouble does not slow it down itself.

python -m tests.support.hits_program URL KEY PROMPT     calls until standard input ends; prints the seconds of each call
"""

from __future__ import annotations

import json
import sys
import threading
import time

import httpx2 as httpx


def main(url: str, key: str, prompt: str) -> None:
    """Call until told to stop. Each answer has to be a hit; whatever else ends the program."""
    over = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": prompt}]}
    headers = {"Authorization": "Bearer sk-upstream", "X-AgentCache-Key": key}
    times: list[float] = []
    with httpx.Client(base_url=url, timeout=60) as client:
        while not over.is_set():
            began = time.perf_counter()
            answer = client.post("/openai/v1/chat/completions", json=body, headers=headers)
            times.append(time.perf_counter() - began)
            if answer.status_code != 200 or "hit" not in answer.headers["Cache-Status"]:
                raise SystemExit(f"{answer.status_code} {answer.headers} {answer.text[:500]}")
            time.sleep(0.002)
    print(json.dumps(times))


if __name__ == "__main__":
    main(*sys.argv[1:])
