"""The readable text of an HTML page, or of the part that a CSS selector names."""

from __future__ import annotations

from typing import Final

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from resiliparse.parse.html import CSSParserException, HTMLTree
from resiliparse.parse.html.node import ElementNode

from agentcache.listeners.reading.errors import NotReadable
from agentcache.listeners.reading.texts import comparable

#: Never what a page says: code, advertisements, consent banners, times that the page itself marks as such.
_FURNITURE: Final = [
    "script", "style", "noscript", "template", "iframe", "ins", "time", "svg", "canvas", "form input",
    "[hidden]", "[aria-hidden=true]", "[role=banner]", "[role=navigation]", "[role=search]", "[role=contentinfo]",
    "[role=dialog]", "[role=alertdialog]",
    ".ad", ".ads", ".advert", ".advertisement", ".adsbygoogle", ".sponsored", ".sponsor", ".promo", ".banner-ad",
    "[class^='ad-']", "[class*=' ad-']", "[class^='ads-']", "[class*=' ads-']", "[id^='ad-']", "[id^='ads-']",
    "[id^='google_ads']", "[class*='cookie-']", "[id*='cookie']", "[class*='consent']", "[id*='consent']",
    "[class*='newsletter']", "[class*='share-button']", "[class*='social-share']",
]  # fmt: skip
#: Below this share of all words the heuristic has likely cut what it should have kept: prices, status lines, short pages.
_MAIN_SHARE_MIN: Final = 0.5
_MATCHES_MAX: Final = 500


def page_text(body: bytes, charset: str) -> str:
    """Return what a page says, without menus, advertisements and times."""
    tree = _parse(body, charset)
    whole, main = _text(tree, main_content=False), _text(tree, main_content=True)
    # A change that is not seen is a wrong answer served; one too many is a call paid twice. So in doubt, all of it.
    return comparable(main if len(main) >= _MAIN_SHARE_MIN * len(whole) else whole)


def selected_text(body: bytes, charset: str, selector: str) -> str:
    """Return the text of what a CSS selector matches, an empty one when that is nothing."""
    found = _matches(_parse(body, charset), selector)
    return "\n".join(filter(None, (comparable(extract_plain_text(node.html, alt_texts=False)) for node in found)))


def check_css(selector: str) -> None:
    """Raise `NotReadable` for what is no CSS selector."""
    _matches(HTMLTree.parse("<p></p>"), selector)


def _matches(tree: HTMLTree, selector: str) -> list[ElementNode]:
    root = tree.document
    if root is None:
        raise NotReadable("The page is empty.")
    try:
        found = root.query_selector_all(selector)
    except CSSParserException:
        raise NotReadable("The CSS selector cannot be understood.") from None
    return list(found)[:_MATCHES_MAX]


def _parse(body: bytes, charset: str) -> HTMLTree:
    encoding = charset or detect_encoding(body, html5_compatible=True)
    return HTMLTree.parse(bytes_to_str(body, encoding))


def _text(tree: HTMLTree, *, main_content: bool) -> str:
    return str(
        extract_plain_text(
            tree, main_content=main_content, alt_texts=False, list_bullets=False, skip_elements=_FURNITURE
        )
    )
