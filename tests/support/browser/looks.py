"""What a page looks like and whether everybody can use it: its fit, pictures, and axe-core's findings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page

Look = tuple[int, Literal["light", "dark"]]
ROOT = Path(__file__).resolve().parents[3]
#: Git-ignored; kept so that people can look at what the tests saw.
SCREENSHOTS = ROOT / "build" / "screenshots"
AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
#: `AGENTCACHE_TEST_PICTURES=1`: keep pictures, of all four looks (`make pictures`).
PICTURES = bool(os.environ.get("AGENTCACHE_TEST_PICTURES"))
JUDGED: tuple[Look, ...] = ((1280, "light"), (390, "dark"))
ALL: tuple[Look, ...] = (*JUDGED, (1280, "dark"), (390, "light"))
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_RUN = "(tags) => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})"
#: Resolves when the page knows its scheme and one frame after another found every element in the same colours.
#: Transitions are ended, not awaited: seen in the middle of one, text has the colour of one scheme on that of another.
_DRAWN = """async (scheme) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const settled = () => {
    document.getAnimations().filter((one) => one instanceof CSSTransition).forEach((one) => one.finish());
    return [...document.querySelectorAll("*")].map((one) => {
      const style = getComputedStyle(one);
      return style.color + style.backgroundColor;
    }).join();
  };
  for (let before = null, now = ""; !now || now !== before; ) {
    await frame();
    before = now;
    now = matchMedia(`(prefers-color-scheme: ${scheme})`).matches ? settled() : "";
  }
}"""


def each_look(page: Page) -> Iterator[str]:
    """Show a page at both widths, light and dark; yields the look's name. Afterwards it is as it was.

    Two looks have both widths and both schemes between them; all four are shown where pictures are asked for.
    """
    size = page.viewport_size or {"width": 1280, "height": 900}
    for width, scheme in ALL if PICTURES else JUDGED:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        # Until the whole page is drawn in it: colours of two schemes side by side are no look.
        page.evaluate(_DRAWN, scheme)
        yield f"{width}-{scheme}"
    page.set_viewport_size(size)
    page.emulate_media(color_scheme="light")


def fits(page: Page, name: str) -> None:
    """Check that a page is no wider than its window in any look, and keep pictures where they are asked for."""
    for look in each_look(page):
        _fits(page, name, look)


def inspect(page: Page, name: str) -> None:
    """Check that a page fits its window in every look, and that axe-core has nothing serious to say of it.

    axe-core takes longer than all else. Pages are made of the same parts, so of each it judges one look, by the page's
    name; every look where pictures are asked for.
    """
    for number, look in enumerate(each_look(page)):
        _fits(page, name, look)
        is_judged = PICTURES or number == sum(name.encode()) % len(JUDGED)
        findings = serious_findings(page) if is_judged else []
        assert not findings, f"{name} at {look}:\n" + "\n".join(findings)


def _fits(page: Page, name: str, look: str) -> None:
    if PICTURES:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.{look}.png", full_page=True, animations="disabled")
    overhang = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overhang <= 0, f"{name} at {look} is {overhang} px wider than the window"


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
