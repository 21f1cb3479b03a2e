// One notice at the top of the page says what did not work and what can be done about it.
const ID = "trouble";

function labelled(action) {
  if (action.run) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button small", textContent: action.label });
    button.addEventListener("click", action.run);
    return button;
  }
  return Object.assign(document.createElement("a"), { href: action.href, textContent: action.label });
}

/** Shows the notice; `action` is {label, run} or {label, href}. The same words are not said twice. */
export function showTrouble(text, action = { label: "Load the page again", href: location.href }) {
  const main = document.querySelector("main") ?? document.body;
  let notice = document.getElementById(ID);
  if (notice?.dataset.said === text) return;
  if (!notice) {
    notice = Object.assign(document.createElement("p"), { id: ID, className: "notice bad" });
    notice.setAttribute("role", "alert");
    main.prepend(notice);
  }
  notice.dataset.said = text;
  notice.replaceChildren(`${text} `, labelled(action));
}

export function clearTrouble() {
  document.getElementById(ID)?.remove();
}
