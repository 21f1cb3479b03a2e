// Tables that are larger than their place can be scrolled by keyboard: what scrolls takes the focus, what does not, does not.

export function scrollable(root) {
  for (const frame of root.querySelectorAll(".table-wrap, .snippet-box pre")) {
    const scrolls = frame.scrollWidth > frame.clientWidth || frame.scrollHeight > frame.clientHeight;
    if (scrolls) frame.tabIndex = 0;
    else if (frame.matches(".table-wrap")) frame.removeAttribute("tabindex");
  }
}

export function start() {
  scrollable(document);
  addEventListener("resize", () => scrollable(document));
  // What was folded away has no size until it is shown. `toggle` does not bubble.
  document.addEventListener("toggle", () => scrollable(document), true);
  document.addEventListener("change", () => scrollable(document));
}
