import { showTrouble } from "./trouble.js";

// The server renders the theme; a change shows at once and is kept by the server.
export function start() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !form.hasAttribute("data-theme-choice") || !event.submitter) return;
    event.preventDefault();
    const chosen = event.submitter;
    document.documentElement.dataset.theme = chosen.value;
    for (const meta of document.querySelectorAll('meta[name="color-scheme"]')) {
      meta.content = chosen.value === "system" ? "light dark" : chosen.value;
    }
    for (const button of document.querySelectorAll("[data-theme-choice] button")) {
      button.setAttribute("aria-pressed", String(button.value === chosen.value));
    }
    const body = new URLSearchParams({ theme: chosen.value });
    fetch(form.action, { method: "POST", body, headers: { "X-Requested-With": "fetch" } })
      .then((answer) => answer.ok, () => false)
      .then((isKept) => { if (!isKept) showTrouble("The colours hold for this page only: the server did not keep the choice."); });
  });
}
