"""What a page looks like and whether everybody can use it: screenshots, and axe-core's findings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[3]
#: Git-ignored; kept so that people can look at what the tests saw.
SCREENSHOTS = ROOT / "build" / "screenshots"
AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (1280, 390)
_JUDGED = ("1280-light", "390-dark")
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_RUN = "(tags) => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})"
#: Resolves when the page knows its scheme and two frames after another found every element in the same colours.
_DRAWN = """async (scheme) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const colours = () => [...document.querySelectorAll("*")].map((one) => {
    const style = getComputedStyle(one);
    return style.color + style.backgroundColor;
  }).join();
  let same = 0;
  for (let before = ""; same < 2; ) {
    await frame();
    const now = matchMedia(`(prefers-color-scheme: ${scheme})`).matches ? colours() : "";
    same = now && now === before ? same + 1 : 0;
    before = now;
  }
}"""


def each_look(page: Page) -> Iterator[str]:
    """Show a page at both widths, light and dark; yields the look's name. Afterwards it is as it was."""
    size = page.viewport_size or {"width": 1280, "height": 900}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            # Until the whole page is drawn in it: colours of two schemes side by side are no look.
            page.evaluate(_DRAWN, scheme)
            yield f"{width}-{scheme}"
    page.set_viewport_size(size)
    page.emulate_media(color_scheme="light")


def screenshot(page: Page, name: str) -> None:
    """Keep pictures of a page in every look, and check that none is wider than the window."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for look in each_look(page):
        page.screenshot(path=SCREENSHOTS / f"{name}.{look}.png", full_page=True, animations="disabled")
        overhang = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overhang <= 0, f"{name} at {look} is {overhang} px wider than the window"


def inspect(page: Page, name: str) -> None:
    """Keep pictures of a page in every look; none may be wider than its window, and axe-core has nothing serious to say.

    axe-core runs in two of the four looks, which between them have both widths and both schemes.
    """
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for look in each_look(page):
        page.screenshot(path=SCREENSHOTS / f"{name}.{look}.png", full_page=True, animations="disabled")
        overhang = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overhang <= 0, f"{name} at {look} is {overhang} px wider than the window"
        findings = serious_findings(page) if look in _JUDGED else []
        assert not findings, f"{name} at {look}:\n" + "\n".join(findings)


def serious_findings(page: Page) -> list[str]:
    """Return what axe-core calls serious or critical on a page as it stands."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())
    result: dict[str, Any] = page.evaluate(_RUN, _RULES)
    return [
        f"{finding['id']} ({finding['impact']}): {finding['help']}: {node['html'][:200]} {node['any'][:1]}"
        for finding in result["violations"]
        if finding["impact"] in ("serious", "critical")
        for node in finding["nodes"]
    ]


@cache
def _axe() -> str:
    return f"{AXE.read_text(encoding='utf-8')}; undefined"
