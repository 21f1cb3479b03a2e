// The open tab is in sight, also where there is no room for all of them.

export function start() {
  for (const tabs of document.querySelectorAll(".tabs")) {
    const open = tabs.querySelector("[aria-current]");
    if (!open) continue;
    const [outer, inner] = [tabs.getBoundingClientRect(), open.getBoundingClientRect()];
    tabs.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
  }
}
