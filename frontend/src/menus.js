// Drop-downs are <details>; here they close as people expect.
const OPEN = "details.menu[open], details.definition[open]";

export function start() {
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll(OPEN)) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menus = document.querySelectorAll(OPEN);
    const last = menus[menus.length - 1];
    if (!last) return;
    const hadFocus = last.contains(document.activeElement);
    last.open = false;
    if (hadFocus) last.querySelector("summary")?.focus();
  });
}
