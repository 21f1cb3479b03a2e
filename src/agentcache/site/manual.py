"""The manual: the repository's documentation as pages, in the order in which its index names them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from agentcache.site.markdown import Rendered

_PACKAGED: Final = Path(__file__).parent / "manual"
_INDEX: Final = "docs/README.md"
_LINK: Final = re.compile(r"\]\(([^)#\s]+)")
#: Folder -> heading of its pages in the list beside them.
_SECTIONS: Final = {
    "docs/tutorials": "Tutorial", "docs/how-to": "How-to", "docs/explanation": "Explanation", "docs/reference": "Reference",
    "docs": "More", "docs/decisions": "Decisions", "examples": "Examples",
}  # fmt: skip
#: Files of the repository that have pages of their own.
_ELSEWHERE: Final = {"CHANGELOG.md": "/changelog", "SECURITY.md": "/security"}
_PAGES_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class Page:
    """One page, and where it lies in the repository."""

    path: str
    url: str
    title: str
    section: str


@dataclass(frozen=True, slots=True)
class Section:
    """Pages of one kind."""

    title: str
    pages: tuple[Page, ...]


def root() -> Path:
    """Return the folder with the files: inside the package once it is built, else the repository."""
    return _PACKAGED if _PACKAGED.is_dir() else Path(__file__).resolve().parents[3]


def read(path: str) -> str:
    """Return the text of a file of the manual."""
    return (root() / path).read_text(encoding="utf-8")


@cache
def pages() -> dict[str, Page]:
    """Return every page by its address, in reading order; the index comes first."""
    folder = root()
    listed = [_INDEX, *_linked_from(_INDEX)]
    others = sorted(
        path.relative_to(folder).as_posix()
        for pattern in ("docs/**/*.md", "examples/*.md", "examples/*.py")
        for path in folder.glob(pattern)
    )
    order = [path for path in dict.fromkeys([*listed, *others]) if path in others]
    rank = {section: place for place, section in enumerate(_SECTIONS.values())}
    found = [_page(path) for path in order]
    found.sort(key=lambda page: (page.path != _INDEX, rank[page.section]))
    return {page.url: page for page in found}


@cache
def sections() -> tuple[Section, ...]:
    """Return what is beside each page: all pages but the index, by kind."""
    known = [page for page in pages().values() if page.path != _INDEX]
    return tuple(
        Section(title, members)
        for title in _SECTIONS.values()
        if (members := tuple(page for page in known if page.section == title))
    )


@lru_cache(maxsize=_PAGES_KEPT)
def rendered(path: str) -> Rendered:
    """Return a file as a page; programs are shown as they are."""
    # Its parser is loaded when somebody reads the manual, not at each start.
    from agentcache.site.markdown import render

    text = read(path)
    if path.endswith(".py"):
        said = text.split('"""')[1].strip().split("\n", 1)[0] if text.count('"""') > 1 else ""
        text = f"# {Path(path).name}\n\n{said}\n\n```py\n{text}```\n"
    if path == "CHANGELOG.md":
        # Versions stand in brackets for tools that compare them.
        text = re.sub(r"^## \[(.+?)\]", r"## \1", text, flags=re.MULTILINE)
    return render(text, lambda link: address_of(link, path))


def neighbours(page: Page) -> tuple[Page | None, Page | None]:
    """Return the pages before and after one."""
    order = list(pages().values())
    at = order.index(page)
    return (order[at - 1] if at else None, order[at + 1] if at + 1 < len(order) else None)


def address_of(link: str, path: str) -> str | None:
    """Return where a link in the file at `path` leads to on this server; None when that is not served."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path:
        return link
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), parts.path))
    url = _ELSEWHERE.get(target) or (_url(target) if _url(target) in pages() else None)
    return None if url is None else url + (f"#{parts.fragment}" if parts.fragment else "")


def _linked_from(path: str) -> Iterator[str]:
    for link in _LINK.findall(read(path)):
        if not urlsplit(link).scheme:
            yield posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _page(path: str) -> Page:
    heading = re.match(r"# (.+)", read(path))
    title = Path(path).name if heading is None or path.endswith(".py") else heading[1].replace("`", "")
    return Page(path, _url(path), title, _SECTIONS.get(posixpath.dirname(path), "More"))


def _url(path: str) -> str:
    inside = path.removeprefix("docs/")
    inside = re.sub(r"(^|/)README\.md$", "", inside)
    return f"/docs/{inside.removesuffix('.md')}".rstrip("/")
