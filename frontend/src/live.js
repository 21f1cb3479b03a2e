// htmx: what is refused, what is shown while it works and when it fails.
import htmx from "htmx.org";
import { announce } from "./announce.js";
import { clearTrouble, showTrouble } from "./trouble.js";

htmx.config.allowEval = false;
htmx.config.allowScriptTags = false;
htmx.config.includeIndicatorStyles = false;
htmx.config.selfRequestsOnly = true;
htmx.config.historyCacheSize = 0;
// "Back" loads the whole page again, as it does everywhere else.
htmx.config.refreshOnHistoryMiss = true;
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

function isPolled(event) {
  // What refreshes itself shows no line each time.
  return Boolean(event.detail.elt?.closest?.("[data-live]"));
}

function done(event) {
  if (!isPolled(event)) work(-1);
}

function trouble(event, text) {
  const source = event.detail.requestConfig?.elt;
  // A list that renews itself tries again by itself.
  if (isPolled(event)) showTrouble(`${text} It is tried again every few seconds.`);
  else if (source instanceof HTMLFormElement) showTrouble(text, { label: "Try again", run: () => source.requestSubmit() });
  else showTrouble(text);
}

function isWhole(text, id) {
  const first = /^\s*(?:<!doctype[^>]*>)?\s*<([a-z][\w-]*)/i.exec(text)?.[1];
  return Boolean(first) && text.trimEnd().toLowerCase().endsWith(`</${first.toLowerCase()}>`) && (!id || text.includes(`id="${id}"`));
}

// An answer of something in between (a proxy, the login page of a network), or half an answer, replaces nothing.
function judge(event) {
  const { detail } = event;
  if (!detail.shouldSwap) return;
  const isOurs = detail.xhr.getResponseHeader("X-AgentCache-Request-Id") !== null;
  if (isOurs && isWhole(detail.serverResponse, detail.target?.id)) return;
  detail.shouldSwap = false;
  detail.isError = true;
}

function reason({ xhr }) {
  const id = xhr.getResponseHeader("X-AgentCache-Request-Id");
  if (xhr.status === 429) return "That was too often in a short time.";
  if (xhr.status < 400) return id ? "The answer of the server broke off." : "Something between this browser and the server answered in its place.";
  return `The server could not do this (${xhr.status}${id ? `, request id ${id}` : ""}).`;
}

const OLD = "What is shown may be out of date.";

export function start(onNewContent) {
  document.addEventListener("htmx:beforeRequest", (event) => { if (!isPolled(event)) work(1); });
  document.addEventListener("htmx:afterRequest", (event) => {
    done(event);
    if (event.detail.successful) clearTrouble();
  });
  document.addEventListener("htmx:beforeSwap", judge);
  document.addEventListener("htmx:responseError", (event) => trouble(event, `${reason(event.detail)} ${OLD}`));
  document.addEventListener("htmx:sendError", (event) => trouble(event, `The server cannot be reached. ${OLD}`));
  document.addEventListener("htmx:timeout", (event) => trouble(event, `The server did not answer in time. ${OLD}`));
  document.addEventListener("htmx:onLoadError", (event) => {
    // htmx sends no afterRequest then.
    done(event);
    trouble(event, `The answer could not be shown. ${OLD}`);
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    onNewContent(event.target);
    const said = event.target.dataset?.announce;
    if (said) announce(said);
  });
}
