"""What kind a document is, and its reading."""

from __future__ import annotations

import codecs
from typing import Final

import msgspec
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from agentcache.listeners.reading.errors import NotReadable
from agentcache.listeners.reading.messages import ReadDocument, Reading
from agentcache.listeners.reading.packed import unpacked
from agentcache.listeners.reading.texts import TEXT_CHARS_MAX, digest, plain, storable

#: Control characters that no text holds.
_BINARY: Final = bytes(set(range(32)) - {7, 8, 9, 10, 12, 13, 27})


def read(asked: ReadDocument) -> Reading:
    """Return what a document says. Raises `NotReadable`.

    Other packages are loaded when they are needed first: most documents are pages.
    """
    asked = msgspec.structs.replace(asked, body=unpacked(asked.body))
    kind = kind_of(asked.content_type, asked.body)
    charset = _charset(asked.content_type)
    is_list = kind in ("feed", "sitemap") and not asked.selector
    text = storable(_selected(asked, kind, charset) if asked.selector else _whole(asked, kind, charset))
    if not text and kind != "text":
        raise NotReadable("The selector matches nothing." if asked.selector else "The document says nothing.")
    parts: list[str] = []
    if kind == "sitemap" and is_list:
        from agentcache.listeners.reading.lists import parts_of

        parts = parts_of(asked.body)
    return Reading(kind, text if is_list else text[:TEXT_CHARS_MAX], digest(text), is_list, parts)


def kind_of(content_type: str, body: bytes) -> str:
    """Return html, json, text, pdf, feed or sitemap; raise `NotReadable` for pictures and other bytes."""
    media = content_type.partition(";")[0].strip().lower()
    beginning = body[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if media == "application/pdf" or beginning.startswith(b"%PDF-"):
        return "pdf"
    if media == "application/json" or media.endswith("+json"):
        return "json"
    is_xml = media.endswith(("/xml", "+xml")) or beginning.startswith(b"<?xml")
    if is_xml or (not media.startswith("text/html") and beginning.startswith((b"<rss", b"<feed", b"<urlset"))):
        from agentcache.listeners.reading import lists

        if lists.is_sitemap(body):
            return "sitemap"
        if lists.is_feed(body):
            return "feed"
    if media in ("text/html", "application/xhtml+xml") or beginning[:9].lower().startswith((b"<!doctype", b"<html")):
        return "html"
    if (
        media.startswith("text/")
        or is_xml
        or media in ("application/javascript", "application/yaml", "application/x-yaml")
    ):
        return "text"
    if beginning[:1] in (b"{", b"["):
        return "json"
    if body.translate(None, _BINARY) == body:
        return "text"
    raise NotReadable(f"Documents of the kind {media[:80] or 'unknown'} cannot be compared.")


def check_selector(selector: str) -> None:
    """Raise `NotReadable` for what is neither a CSS selector nor, with `$` at its beginning, a JSON path."""
    if selector.startswith("$"):
        from agentcache.listeners.reading.values import check_json_path

        check_json_path(selector)
    else:
        from agentcache.listeners.reading.pages import check_css

        check_css(selector)


def _whole(asked: ReadDocument, kind: str, charset: str) -> str:
    if kind == "html":
        from agentcache.listeners.reading.pages import page_text

        return page_text(asked.body, charset)
    if kind == "json":
        from agentcache.listeners.reading.values import json_text

        return json_text(_decoded(asked.body, charset))
    if kind == "pdf":
        from agentcache.listeners.reading.values import pdf_text

        return pdf_text(asked.body)
    if kind == "sitemap":
        from agentcache.listeners.reading.lists import sitemap_text

        return sitemap_text(asked.body)
    if kind == "feed":
        from agentcache.listeners.reading.lists import feed_text

        return feed_text(asked.body, asked.url)
    return plain(_decoded(asked.body, charset))


def _selected(asked: ReadDocument, kind: str, charset: str) -> str:
    if asked.selector.startswith("$"):
        if kind not in ("json", "text"):
            raise NotReadable(f"A JSON path is for JSON; this is a document of the kind {kind}.")
        from agentcache.listeners.reading.values import json_text

        return json_text(_decoded(asked.body, charset), asked.selector)
    if kind != "html":
        raise NotReadable(f"A CSS selector is for pages; this is a document of the kind {kind}.")
    from agentcache.listeners.reading.pages import selected_text

    return selected_text(asked.body, charset, asked.selector)


def _decoded(body: bytes, charset: str) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return bytes_to_str(body, charset or detect_encoding(body) or "utf-8")


def _charset(content_type: str) -> str:
    _, _, parameters = content_type.lower().partition("charset=")
    name = parameters.partition(";")[0].strip(" \"'")
    try:
        return codecs.lookup(name).name if name else ""
    except LookupError:
        return ""
