"""A walk through every page that a browser can reach: from the addresses that need nothing, along the links."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
from playwright.sync_api import Error as PlaywrightError

from tests.support.browser.hostile import LIVE_PARTS
from tests.support.browser.people import program_of
from tests.support.browser.visitor import Visitor
from tests.support.tiers import IS_RELEASE

_SIGN_IN = re.compile(r"^(/admin)?/login/?\?next=")
_PARAMETER = re.compile(r"\\\{\w+\\\}")
_SEEN = """(liveParts) => ({
  links: [...document.querySelectorAll("a[href]")].map((link) => link.href),
  text: document.documentElement.textContent + [...document.querySelectorAll("[value], [title], [placeholder]")]
    .map((one) => [one.getAttribute("value"), one.title, one.placeholder].join(" ")).join(" "),
  ran: window.__xss ?? null,
  live: (0, eval)(liveParts)(),
})"""


@dataclass(frozen=True)
class Seen:
    """One address as it was found."""

    address: str
    pattern: str
    status: int
    headers: dict[str, str]
    #: Of a page; empty for a download.
    text: str = ""
    is_download: bool = False


@dataclass
class Walk:
    """Walks `patterns`, the addresses of the site with `{name}` for what varies.

    Each is seen at most `per_pattern` times; those of the console, whose pages are one template of Django's, half as often.
    """

    visitor: Visitor
    patterns: Iterable[str]
    per_pattern: int = 2
    is_signed_in: bool = True
    seen: list[Seen] = field(default_factory=list)
    #: What ran, or could have run.
    live: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._patterns = [(re.compile(_PARAMETER.sub("[^/]+", re.escape(one))), one) for one in self.patterns]
        # What is written out goes before what has parameters: /dashboard/keys/new is no key.
        self._patterns.sort(key=lambda both: (both[1].count("{"), -len(both[1])))
        self._visits: Counter[str] = Counter()
        self._met: set[str] = set()

    def pattern_of(self, path: str) -> str:
        """Return the pattern that a path fits; empty for one that is no page's."""
        return next((name for compiled, name in self._patterns if compiled.fullmatch(path)), "")

    def start(self, starts: Iterable[str]) -> None:
        """Go to the addresses, and on along the links of each page.

        A stranger does not go to those that only ask to sign in: there would be a hundred times the same page.
        """
        self.visitor.page.on("dialog", self._dismiss)
        waiting = deque(starts)
        if not self.is_signed_in:
            with program_of(self.visitor) as program:
                waiting = deque(address for address in waiting if not _asks_to_sign_in(program, address))
        while waiting:
            address = waiting.popleft()
            for link in self._visit(address):
                if self._is_wanted(link):
                    waiting.append(link)

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _is_wanted(self, link: str) -> bool:
        parts = urlsplit(link)
        if f"{parts.scheme}://{parts.netloc}" != self.visitor.site.url:
            return False
        address = parts.path + (f"?{parts.query}" if parts.query else "")
        # Filters and sort orders make no new page, unless they carry text of somebody's.
        is_plain = not parts.query or "xss" in parts.query or "answer=" in parts.query
        return is_plain and self.pattern_of(parts.path) != "" and address not in self._met

    def _visit(self, address: str) -> list[str]:
        parts = urlsplit(address)
        local = parts.path + (f"?{parts.query}" if parts.query else "")
        pattern = self.pattern_of(parts.path)
        kind = pattern + ("?" if parts.query else "")
        most = self.per_pattern // 2 if parts.path.startswith("/admin/") and not IS_RELEASE else self.per_pattern
        if local in self._met or self._visits[kind] >= most:
            return []
        self._met.add(local)
        self._visits[kind] += 1
        page = self.visitor.page
        if parts.path.endswith(".xml"):
            # Browsers show XML with a viewer of theirs, whose styles our policy stops.
            answer = page.context.request.get(local)
            self.seen.append(Seen(local, pattern, answer.status, answer.headers, answer.text()))
            return []
        try:
            response = page.goto(local)
        except PlaywrightError as error:
            answer = page.context.request.get(local)
            # A browser stays where it is for a file to keep, and for an answer without content.
            if "Download is starting" not in str(error) and answer.status != 204:
                raise
            self.seen.append(Seen(local, pattern, answer.status, answer.headers, answer.text(), is_download=True))
            return []
        assert response is not None, address
        found = page.evaluate(_SEEN, LIVE_PARTS) if "html" in response.headers.get("content-type", "") else {}
        self.seen.append(Seen(local, pattern, response.status, response.headers, found.get("text", "")))
        self.live += [f"{local}: {one}" for one in found.get("live", [])]
        if found.get("ran") is not None:
            self.live.append(f"{local}: payload {found['ran']} ran")
        links: list[str] = found.get("links", [])
        return sorted(links, key=lambda link: "xss" not in link)


def _asks_to_sign_in(program: httpx.Client, address: str) -> bool:
    answer = program.head(address)
    return answer.status_code == 302 and _SIGN_IN.match(answer.headers["location"]) is not None
