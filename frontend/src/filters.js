// Filter forms send themselves on a change and after a pause in typing, and leave empty fields out of the address.
const PAUSE_MS = 400;

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
    let timer = 0;
    const send = () => { clearTimeout(timer); form.requestSubmit(); };
    form.addEventListener("change", (event) => {
      // A date is typed in parts, each of them a change.
      if (event.target.type === "date" || event.target.type === "datetime-local") return;
      if (event.target.type !== "search") send();
    });
    form.addEventListener("input", (event) => {
      if (event.target.type !== "search") return;
      clearTimeout(timer);
      timer = setTimeout(send, PAUSE_MS);
    });
    form.addEventListener("focusout", (event) => {
      const field = event.target;
      if ((field.type === "date" || field.type === "datetime-local") && field.value !== field.defaultValue) send();
    });
  }
}
