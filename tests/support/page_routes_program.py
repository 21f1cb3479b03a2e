"""Prints every address of the control plane, one JSON list of `[pattern, name]` pairs; parameters are written `{name}`.

python -m tests.support.page_routes_program
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from agentcache.settings import Settings
from agentcache.web.project import configure

_GROUP = re.compile(r"\(\?P<(\w+)>[^()]*\)")
_CONVERTER = re.compile(r"<(?:\w+:)?(\w+)>")


def _walk(patterns: list[Any], before: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        written = str(pattern.pattern)
        if written.startswith("^") or written.endswith(("$", r"\Z")):
            written = _GROUP.sub(r"{\1}", written).strip("^").removesuffix("$").removesuffix(r"\Z").replace("\\", "")
        address = before + _CONVERTER.sub(r"{\1}", written)
        if hasattr(pattern, "url_patterns"):
            yield from _walk(pattern.url_patterns, address)
        else:
            yield address, pattern.name or ""


if __name__ == "__main__":
    configure(Settings.load())
    from django.urls import get_resolver

    sys.stdout.write(json.dumps(list(_walk(get_resolver().url_patterns, "/"))))
