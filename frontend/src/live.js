// htmx: what is refused, what is shown while it works and when it fails.
import htmx from "htmx.org";
import { announce } from "./announce.js";

htmx.config.allowEval = false;
htmx.config.allowScriptTags = false;
htmx.config.includeIndicatorStyles = false;
htmx.config.selfRequestsOnly = true;
htmx.config.historyCacheSize = 0;
htmx.config.timeout = 15_000;
// Pages that say why with 4xx are shown, too: forms answer 422.
htmx.config.responseHandling = [
  { code: "204", swap: false },
  { code: "[23]..", swap: true },
  { code: "422", swap: true },
  { code: "[45]..", swap: false, error: true },
];

const QUIET_MS = 150;
let waiting = 0;
let timer = 0;
let line;

function showBusy() {
  line ??= Object.assign(document.createElement("div"), { className: "busy-line" });
  line.setAttribute("aria-hidden", "true");
  document.body.append(line);
}

function work(change) {
  waiting = Math.max(0, waiting + change);
  clearTimeout(timer);
  if (waiting) timer = setTimeout(showBusy, QUIET_MS);
  else line?.remove();
}

function trouble(text) {
  const main = document.querySelector("main") ?? document.body;
  let notice = document.getElementById("trouble");
  if (!notice) {
    notice = document.createElement("p");
    notice.id = "trouble";
    notice.className = "notice bad";
    notice.setAttribute("role", "alert");
    main.prepend(notice);
  }
  const again = document.createElement("a");
  again.href = location.href;
  again.textContent = "Load the page again";
  notice.replaceChildren(`${text} `, again);
}

function isPolled(event) {
  // What refreshes itself shows no line each time.
  return Boolean(event.detail.elt?.closest?.("[data-live]"));
}

export function start(onNewContent) {
  document.addEventListener("htmx:beforeRequest", (event) => { if (!isPolled(event)) work(1); });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!isPolled(event)) work(-1);
    if (event.detail.successful) document.getElementById("trouble")?.remove();
  });
  document.addEventListener("htmx:responseError", (event) => {
    const id = event.detail.xhr.getResponseHeader("X-AgentCache-Request-Id");
    trouble(`The server could not do this (${event.detail.xhr.status}${id ? `, request id ${id}` : ""}). What is shown may be out of date.`);
  });
  document.addEventListener("htmx:sendError", () => trouble("The server cannot be reached. What is shown may be out of date."));
  document.addEventListener("htmx:timeout", () => trouble("The server did not answer in time. What is shown may be out of date."));
  document.addEventListener("htmx:afterSettle", (event) => {
    onNewContent(event.target);
    const said = event.target.dataset?.announce;
    if (said) announce(said);
  });
}
