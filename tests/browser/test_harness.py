"""The harness notices what it is there to notice."""

from __future__ import annotations

import asyncio
import re

import pytest


def test_a_visitor_sees_a_page_without_trouble(visit, site):
    visitor = visit(site)
    assert "AgentCache" in visitor.open("/").title()


@pytest.mark.parametrize(
    ("script", "trouble"),
    [
        ("console.error('oops')", "console: oops"),
        ("setTimeout(() => { throw new Error('thrown') })", "thrown"),
        ("location.assign('http://example.com/x')", "foreign: GET http://example.com/x"),
        ("fetch('/static/nothing.js').catch(() => 0)", "answer: 404 GET"),
        ("new Image().src = 'http://example.com/x.png'", "CSP: img-src http://example.com/x.png"),
    ],
    ids=["console", "exception", "foreign", "missing", "policy"],
)
def test_trouble_is_noticed(visit, sqlite_site, script, trouble):
    visitor = visit(sqlite_site)
    page = visitor.open("/")
    with visitor.expecting(re.escape(trouble)):
        page.evaluate(f"() => {{ {script} }}")
    visitor.troubles.clear()


async def test_an_asyncio_test_may_come_after_a_browser_test():
    assert asyncio.get_running_loop().is_running()
