// Without a network nothing is sent: a form keeps what was written, instead of giving way to the browser's error page.
import { announce } from "./announce.js";
import { clearTrouble, showTrouble } from "./trouble.js";

const CUT = "There is no network connection. What is shown may be out of date.";
const NOT_SENT = "Nothing was sent: there is no network connection. What you wrote is still here.";

export function start() {
  addEventListener("offline", () => showTrouble(CUT));
  addEventListener("online", () => {
    clearTrouble();
    announce("The network connection is back.");
  });
  // Before every other listener, those that send by themselves included.
  document.addEventListener("submit", (event) => {
    const { target: form, submitter } = event;
    if (navigator.onLine || form.method === "dialog") return;
    event.preventDefault();
    event.stopImmediatePropagation();
    showTrouble(NOT_SENT, { label: "Try again", run: () => form.requestSubmit(submitter) });
    document.getElementById("trouble")?.scrollIntoView({ block: "nearest" });
  }, true);
}
