"""What a page looks like and whether everybody can use it: its fit, pictures, and axe-core's findings."""

from __future__ import annotations

import os
from collections.abc import Collection
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
  for (let before = null, now = "", frames = 0; !now || now !== before; frames += 1) {
    if (frames > 600) throw new Error("the colours never settle");
    await frame();
    before = now;
    now = matchMedia(`(prefers-color-scheme: ${scheme})`).matches ? settled() : "";
  }
}"""
#: How much wider a page is than its window, in pixels, once that has its new width.
_OVERHANG = """async (width) => {
  for (let frames = 0; innerWidth !== width; frames += 1) {
    if (frames > 600) throw new Error(`the window is ${innerWidth} px wide`);
    await new Promise((done) => requestAnimationFrame(done));
  }
  return document.documentElement.scrollWidth - document.documentElement.clientWidth;
}"""


def fits(page: Page, name: str) -> None:
    """Check that a page is no wider than its window at either width, and keep pictures where they are asked for."""
    _look(page, name, judged=())


def inspect(page: Page, name: str) -> None:
    """Check that a page fits its window at both widths, and that axe-core has nothing serious to say of it.

    axe-core takes longer than all else. Pages are made of the same parts, so of each it judges one look, by the page's
    name; every look where pictures are asked for.
    """
    _look(page, name, judged=ALL if PICTURES else (JUDGED[sum(name.encode()) % len(JUDGED)],))


def _look(page: Page, name: str, judged: Collection[Look]) -> None:
    """Show a page in each look. Afterwards it is as it was."""
    size = page.viewport_size or {"width": 1280, "height": 900}
    for look in ALL if PICTURES else JUDGED:
        width, scheme = look
        shown = f"{name} at {width}-{scheme}"
        if page.viewport_size != {"width": width, "height": 900}:
            page.set_viewport_size({"width": width, "height": 900})
        # Colours widen nothing; to draw a page in others takes as long as to load it.
        if PICTURES or look in judged:
            page.emulate_media(color_scheme=scheme)
            # Until the whole page is drawn in it: colours of two schemes side by side are no look.
            page.evaluate(_DRAWN, scheme)
        if PICTURES:
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SCREENSHOTS / f"{name}.{width}-{scheme}.png", full_page=True, animations="disabled")
        overhang = page.evaluate(_OVERHANG, width)
        assert overhang <= 0, f"{shown} is {overhang} px wider than the window"
        findings = serious_findings(page) if look in judged else []
        assert not findings, f"{shown}:\n" + "\n".join(findings)
    page.set_viewport_size(size)
    page.emulate_media(color_scheme="light")


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
