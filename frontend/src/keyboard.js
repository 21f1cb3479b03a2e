// Single keys: `/` search, `?` help, `g` and a letter to go. They can be turned off (data-no-shortcuts on <html>).
const WAIT_MS = 1200;

export function isTyping(element) {
  return Boolean(element?.closest?.("input, select, textarea, [contenteditable], dialog[open]"));
}

export function start() {
  if (document.documentElement.hasAttribute("data-no-shortcuts")) return;
  let goUntil = 0;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const isGoing = performance.now() < goUntil;
    goUntil = 0;
    if (isGoing) {
      const link = document.querySelector(`a[data-go="${CSS.escape(event.key.toLowerCase())}"]`);
      if (link) {
        event.preventDefault();
        location.assign(link.href);
      }
    } else if (event.key === "g") {
      goUntil = performance.now() + WAIT_MS;
    } else if (event.key === "/") {
      const search = document.querySelector('main [type="search"], [data-search]');
      if (search) {
        event.preventDefault();
        search.focus();
        search.select?.();
      }
    } else if (event.key === "?") {
      const help = document.getElementById("keyboard-help");
      if (help instanceof HTMLDialogElement && !help.open) {
        event.preventDefault();
        help.showModal();
      }
    }
  });
}
