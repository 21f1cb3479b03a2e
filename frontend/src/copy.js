// Copy buttons and .env downloads. The focus stays where it is; "Copied" is announced.
import { announce } from "./announce.js";

const SHOWN_MS = 2000;

function codeOf(button) {
  return button.closest(".snippet")?.querySelector("code") ?? null;
}

async function copy(button) {
  const code = codeOf(button);
  const text = button.dataset.copy || code?.textContent || "";
  const label = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard without a secure context: select, so that the keyboard can.
    if (code) getSelection()?.selectAllChildren(code);
    announce("Selected. Press Control C to copy.");
    if (label) label.textContent = "Selected";
    return;
  }
  announce("Copied");
  if (!label) return;
  const before = button.dataset.before ?? label.textContent;
  button.dataset.before = before;
  label.textContent = "Copied";
  setTimeout(() => { label.textContent = before; }, SHOWN_MS);
}

function download(button) {
  const file = new Blob([`${button.dataset.env}=${codeOf(button)?.textContent ?? ""}\n`], { type: "text/plain" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = button.dataset.download;
  link.click();
  URL.revokeObjectURL(link.href);
  announce("Downloaded");
}

export function showButtons(root) {
  for (const button of root.querySelectorAll("[data-copy][hidden], [data-download][hidden]")) button.hidden = false;
}

export function start() {
  showButtons(document);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-copy], [data-download]");
    if (!button) return;
    if (button.hasAttribute("data-download")) download(button);
    else void copy(button);
  });
}
