from pathlib import Path

import pytest

from agentcache.listeners.reading.differences import DIFF_CHARS_MAX, compare
from agentcache.listeners.reading.documents import read
from agentcache.listeners.reading.errors import NotReadable
from agentcache.listeners.reading.messages import ReadDocument
from agentcache.listeners.reading.texts import ITEMS_MAX

ATOM = """<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>t</title><updated>{now}</updated>
<entry><id>1</id><title>One</title><link href="/1"/><updated>{now}</updated><content type="html">&lt;p&gt;{one}&lt;/p&gt;</content></entry>
<entry><id>2</id><title>Two</title><link href="https://other.example/2"/></entry></feed>"""
SITEMAP = "<?xml version='1.0'?><urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>{}</urlset>"


def reading(body, content_type="application/xml"):
    return read(ReadDocument("https://example.com/list", content_type, body.encode()))


def changed(before, after):
    first, second = reading(before), reading(after)
    assert first.is_list
    return compare(first.text, second.text, is_list=True)


def entry(path, lastmod=""):
    return f"<url><loc>https://example.com/{path}</loc>{f'<lastmod>{lastmod}</lastmod>' if lastmod else ''}</url>"


def test_items_of_a_feed_are_told_apart_by_what_they_say():
    base = ATOM.format(now="2026-01-01T00:00:00Z", one="a")
    assert changed(base, ATOM.format(now="2026-02-02T00:00:00Z", one="a")).items == []
    assert changed(base, ATOM.format(now="2026-01-01T00:00:00Z", one="b")).items == ["https://example.com/1"]
    assert changed(base, base.replace("Two", "2")).items == ["https://other.example/2"]


def test_addresses_of_a_sitemap_come_go_and_change():
    before = SITEMAP.format(entry("a", "2026-01-01") + entry("b") + entry("c"))
    after = SITEMAP.format(entry("d") + entry("a", "2026-02-01") + entry("b"))
    found = changed(before, after)
    assert found.items == [f"https://example.com/{name}" for name in "acd"]
    assert (found.added, found.removed) == (2, 2)
    assert changed(before, SITEMAP.format(entry("c") + entry("b") + entry("a", "2026-01-01"))).items == []


@pytest.mark.parametrize(
    "wrong",
    [
        SITEMAP.format("<url>"),
        "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aaaa'>]><urlset><url><loc>&a;</loc></url></urlset>",
        "<?xml version='1.0'?><!DOCTYPE x SYSTEM 'file:///etc/passwd'><urlset></urlset>",
        SITEMAP.format("".join(entry(str(number)) for number in range(ITEMS_MAX + 1))),
        SITEMAP.format(""),
        "<?xml version='1.0'?><rss",
    ],
)
def test_what_is_no_list_is_refused(wrong):
    with pytest.raises(NotReadable):
        reading(wrong)


def test_a_feed_with_entities_reads_no_file():
    bomb = "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/hostname'>]><rss version='2.0'><channel><item><title>&e;</title><link>https://x.example/1</link></item></channel></rss>"
    assert Path("/etc/hostname").read_text().strip() not in reading(bomb).text


def test_a_difference_is_readable_and_bounded():
    found = compare("a\nb\nc\nd\ne\nf", "a\nB\nc\nd\ne\nF", is_list=False)
    assert found.diff == " a\n-b\n+B\n c\n@@\n e\n-f\n+F"
    assert (found.added, found.removed) == (2, 2)
    long = compare("", "\n".join("x" * 5_000 for _ in range(500)), is_list=False)
    assert len(long.diff) <= DIFF_CHARS_MAX
    assert long.added == 500
    many = compare("\n".join(map(str, range(10_000))), "\n".join(map(str, range(1, 10_001))), is_list=False)
    assert (many.added, many.removed) == (1, 1)
