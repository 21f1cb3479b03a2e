// Filter forms send themselves on a change and after a pause in typing, and leave empty fields out of the address.
const PAUSE_MS = 400;
// Fields behind a button of their own wait for it.
const isApart = (field) => Boolean(field.closest("details"));

// A page that is loaded anew begins with the field that asked for it, or people without a mouse would begin at the top.
const FOCUS = "agentcache-filter";

function keepFocus(form) {
  form.addEventListener("submit", () => {
    const name = document.activeElement?.name;
    if (name && form.contains(document.activeElement) && !form.hasAttribute("hx-get")) sessionStorage.setItem(FOCUS, name);
  });
  const name = sessionStorage.getItem(FOCUS);
  sessionStorage.removeItem(FOCUS);
  const field = name && form.elements.namedItem(name);
  if (field instanceof HTMLElement && field.checkVisibility?.()) field.focus({ preventScroll: true });
}

function leaveOutEmpty(form) {
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData.entries()]) {
      if (value === "") event.formData.delete(name);
    }
  });
}

export function arm(root) {
  for (const form of root.querySelectorAll("form[data-filters]:not([data-armed])")) {
    form.dataset.armed = "";
    form.querySelector("[data-apply]")?.setAttribute("hidden", "");
    leaveOutEmpty(form);
    keepFocus(form);
    // htmx would add the fields to the address as it is, with the filters of before.
    form.addEventListener("htmx:configRequest", (event) => { event.detail.path = location.pathname; });
    let timer = 0;
    const send = () => { clearTimeout(timer); form.requestSubmit(); };
    form.addEventListener("change", (event) => {
      // A date is typed in parts, each of them a change.
      if (isApart(event.target) || event.target.type === "date" || event.target.type === "datetime-local") return;
      if (event.target.type !== "search") send();
    });
    form.addEventListener("input", (event) => {
      if (event.target.type !== "search") return;
      clearTimeout(timer);
      timer = setTimeout(send, PAUSE_MS);
    });
    form.addEventListener("focusout", (event) => {
      const field = event.target;
      if (!isApart(field) && (field.type === "date" || field.type === "datetime-local") && field.value !== field.defaultValue) send();
    });
  }
}
