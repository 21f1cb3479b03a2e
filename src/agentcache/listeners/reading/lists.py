"""Feeds and sitemaps: a line for each item, its URL first, then what tells whether it changed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final
from urllib.parse import urljoin
from xml.etree.ElementTree import ParseError

import feedparser
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from agentcache.listeners.reading.errors import NotReadable
from agentcache.listeners.reading.texts import ITEMS_MAX, comparable, digest

_URL_CHARS_MAX: Final = 2_048
_TITLE_CHARS_MAX: Final = 200
_SITEMAP: Final = "http://www.sitemaps.org/schemas/sitemap/0.9"


def sitemap_text(body: bytes) -> str:
    """Return the addresses of a sitemap, or of an index of sitemaps, with their times of change, sorted."""
    lines = [f"{url}\t{changed}".rstrip() for _, url, changed in _places(body)]
    return "\n".join(sorted(set(lines)))


def parts_of(body: bytes) -> list[str]:
    """Return the sitemaps that an index names; none for a sitemap."""
    return list(dict.fromkeys(url for kind, url, _ in _places(body) if kind == "sitemap"))


def _places(body: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield what a sitemap has: `url` or `sitemap`, address, time of change. Raises `NotReadable`."""
    number = 0
    try:
        for _, element in iterparse(io.BytesIO(body), events=("end",), forbid_dtd=True):
            kind = element.tag.rpartition("}")[2]
            if kind not in ("url", "sitemap"):
                continue
            members = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in element}
            if url := _one_line(members.get("loc", "")[:_URL_CHARS_MAX]):
                number += 1
                yield kind, url, _one_line(members.get("lastmod", ""))
            if number > ITEMS_MAX:
                raise NotReadable(f"The sitemap has more than {ITEMS_MAX:,} addresses; watch its parts.")
            element.clear()
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise NotReadable("The sitemap is not valid XML.") from None


def feed_text(body: bytes, url: str) -> str:
    """Return the items of an RSS or Atom feed: address, what tells its content apart, title; sorted."""
    feed = feedparser.parse(io.BytesIO(body), sanitize_html=False, resolve_relative_uris=False)
    if not feed.get("version") and not feed.get("entries"):
        raise NotReadable("The feed cannot be read.")
    if len(feed.entries) > ITEMS_MAX:
        raise NotReadable(f"The feed has more than {ITEMS_MAX:,} items.")
    return "\n".join(sorted(set(_feed_lines(feed.entries, url))))


def items_of(text: str) -> dict[str, str]:
    """Return the lines of such a text by their URLs."""
    return {line.partition("\t")[0]: line for line in text.split("\n") if line}


def is_sitemap(body: bytes) -> bool:
    """Say whether an XML document begins as a sitemap does."""
    beginning = body[:2_000]
    return _SITEMAP.encode() in beginning or b"<urlset" in beginning or b"<sitemapindex" in beginning


def is_feed(body: bytes) -> bool:
    """Say whether an XML document begins as a feed does."""
    beginning = body[:2_000].lower()
    return any(mark in beginning for mark in (b"<rss", b"<feed", b"<rdf:rdf"))


def _feed_lines(entries: list[feedparser.FeedParserDict], url: str) -> Iterator[str]:
    for entry in entries:
        link = str(entry.get("link") or entry.get("id") or "")[:_URL_CHARS_MAX]
        if not link:
            continue
        contents = [str(part.get("value", "")) for part in entry.get("content", [])]
        # Not its date: feeds are made anew with the date of now.
        said = comparable("\n".join([str(entry.get("title", "")), str(entry.get("summary", "")), *contents]))
        title = _one_line(str(entry.get("title", "")))[:_TITLE_CHARS_MAX]
        yield f"{_one_line(urljoin(url, link))}\t{digest(said).hex()[:12]}\t{title}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
