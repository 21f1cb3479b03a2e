// Tables that are wider than their place can be scrolled by keyboard: what scrolls takes the focus, what does not, does not.

export function scrollable(root) {
  for (const frame of root.querySelectorAll(".table-wrap, .snippet-box pre")) {
    const scrolls = frame.scrollWidth > frame.clientWidth;
    if (scrolls) frame.tabIndex = 0;
    else if (frame.matches(".table-wrap")) frame.removeAttribute("tabindex");
  }
}

export function start() {
  scrollable(document);
  addEventListener("resize", () => scrollable(document));
}
