// What was written into a form outlives a failed answer: an error page, a lost connection, a session that ended in the
// middle. It is kept for this tab only, for half an hour, without passwords, codes and files, and given back to the
// person who wrote it when the form is opened again by "back", by reloading, or after signing in.
import { announce } from "./announce.js";

const KEY = "agentcache.draft";
const KEPT_MS = 30 * 60_000;
const SECRET = "[type=password], [type=hidden], [type=file], [type=submit], [type=button], [autocomplete=one-time-code], [data-secret]";
const DOORS = /^\/(login|reauthenticate)(\/|$)/;

const who = () => document.documentElement.dataset.who ?? "";
const fieldsOf = (form) => [...form.elements].filter((field) => field.name && !field.matches(`${SECRET}, button, fieldset, output`));
const isChoice = (field) => field.type === "checkbox" || field.type === "radio";
const nameOf = (field) => (isChoice(field) ? `${field.name}=${field.value}` : field.name);
const formsHere = () => [...document.querySelectorAll("main form")].filter((form) => form.method === "post");
const actionOf = (form) => new URL(form.getAttribute("action") ?? "", location.href).pathname;

function read() {
  try {
    const draft = JSON.parse(sessionStorage.getItem(KEY));
    return draft && Date.now() - draft.at < KEPT_MS ? draft : null;
  } catch {
    return null; // storage that is closed to us, or holds something else
  }
}

function write(draft) {
  try {
    if (draft) sessionStorage.setItem(KEY, JSON.stringify(draft));
    else sessionStorage.removeItem(KEY);
  } catch {
    // The form works without.
  }
}

function keep(form) {
  const fields = fieldsOf(form);
  if (!form.closest("main") || form.method !== "post" || !fields.length || !who()) return;
  const values = fields.map((field) => [nameOf(field), field.multiple && field.options ? [...field.selectedOptions].map((one) => one.value)
    : isChoice(field) ? field.checked : field.value]);
  write({ at: Date.now(), who: who(), path: location.pathname, action: actionOf(form), values });
}

function put(field, value) {
  const was = isChoice(field) ? field.checked : field.value;
  if (isChoice(field)) field.checked = value;
  else if (Array.isArray(value)) for (const option of field.options ?? []) option.selected = value.includes(option.value);
  else field.value = value;
  return was !== (isChoice(field) ? field.checked : field.value);
}

function giveBack(form, draft) {
  const values = new Map(draft.values);
  const changed = fieldsOf(form).filter((field) => values.has(nameOf(field)) && put(field, values.get(nameOf(field))));
  if (!changed.length) return;
  const note = Object.assign(document.createElement("p"), { className: "notice", textContent: "What you wrote before is here again. Send it, unless that was done after all." });
  form.prepend(note);
  announce(note.textContent);
}

export function start() {
  document.addEventListener("submit", (event) => {
    if (!event.defaultPrevented && event.target instanceof HTMLFormElement) keep(event.target);
  });
  const draft = read();
  if (!draft) return;
  if (DOORS.test(location.pathname) && (!who() || who() === draft.who)) {
    write({ ...draft, isInterrupted: true });
    // The server cannot know which page a form was sent from: no page tells where one comes from.
    if (!new URLSearchParams(location.search).has("next")) {
      location.replace(`${location.pathname}?${new URLSearchParams({ next: draft.path })}`);
    }
    return;
  }
  const arrival = performance.getEntriesByType("navigation")[0]?.type ?? "navigate";
  const hasFailed = document.body.classList.contains("refusal");
  if (hasFailed || (draft.path !== location.pathname && arrival !== "navigate")) {
    // What was sent led to an error, or to no page of ours, or it would have been forgotten there.
    write({ ...draft, isInterrupted: true });
    return;
  }
  const form = draft.path === location.pathname ? formsHere().find((one) => actionOf(one) === draft.action) : null;
  // A form that the server gave back with what is wrong in it has everything already.
  const isAnswered = Boolean(form?.querySelector("[aria-invalid=true], [role=alert]"));
  if (form && draft.who === who() && !isAnswered && (draft.isInterrupted || arrival !== "navigate")) giveBack(form, draft);
  write(null);
}
