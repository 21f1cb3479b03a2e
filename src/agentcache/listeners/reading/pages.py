"""The readable text of an HTML page, or of the part that a CSS selector names."""

from __future__ import annotations

from typing import Final

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from resiliparse.parse.html import CSSParserException, HTMLTree
from resiliparse.parse.html.node import ElementNode

from agentcache.listeners.reading.errors import NotReadable
from agentcache.listeners.reading.texts import comparable

#: Never what a page says: code, menus, advertisements, consent banners, times that the page itself marks as such. Named one
#: by one, for heuristics that guess the main text leave out what a changed answer hangs on: short lists, prices, ticks.
_FURNITURE: Final = [
    "script", "style", "noscript", "template", "iframe", "ins", "time", "svg", "canvas", "form input",
    "nav", "footer", "[hidden]", "[aria-hidden=true]", "[role=banner]", "[role=navigation]", "[role=search]",
    "[role=contentinfo]", "[role=complementary]", "[role=dialog]", "[role=alertdialog]",
    ".ad", ".ads", ".advert", ".advertisement", ".adsbygoogle", ".sponsored", ".sponsor", ".promo", ".banner-ad",
    "[class^='ad-']", "[class*=' ad-']", "[class^='ads-']", "[class*=' ads-']", "[id^='ad-']", "[id^='ads-']",
    "[id^='google_ads']", "[class*='cookie-']", "[id*='cookie']", "[class*='consent']", "[id*='consent']",
    "[class*='newsletter']", "[class*='share-button']", "[class*='social-share']",
]  # fmt: skip
#: A `main` with less than this share of the words is not what the page is about.
_MAIN_SHARE_MIN: Final = 0.5
_MATCHES_MAX: Final = 500


def page_text(body: bytes, charset: str) -> str:
    """Return what a page says, without menus, advertisements and times."""
    tree = _parse(body, charset)
    whole = _text(tree)
    found = _matches(tree, "main, [role=main]")
    main = "\n".join(_text(node) for node in found if not _is_within(node, found))
    # A change that is not seen is a wrong answer served; one too many is a call paid twice. So in doubt, all of it.
    return comparable(main if len(main) >= _MAIN_SHARE_MIN * len(whole) else whole)


def selected_text(body: bytes, charset: str, selector: str) -> str:
    """Return the text of what a CSS selector matches, an empty one when that is nothing."""
    found = _matches(_parse(body, charset), selector)
    texts = (extract_plain_text(node.html, alt_texts=False, list_bullets=False) for node in found)
    return "\n".join(filter(None, map(comparable, texts)))


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


def _is_within(node: ElementNode, others: list[ElementNode]) -> bool:
    above = node.parent
    while above is not None:
        if any(above == other for other in others):
            return True
        above = above.parent
    return False


def _parse(body: bytes, charset: str) -> HTMLTree:
    return HTMLTree.parse(bytes_to_str(body, charset or detect_encoding(body) or "utf-8"))


def _text(part: HTMLTree | ElementNode) -> str:
    source = part if isinstance(part, HTMLTree) else part.html
    return extract_plain_text(source, alt_texts=False, list_bullets=False, skip_elements=_FURNITURE)
