// One polite live region for the whole page.
let region;

export function announce(text) {
  if (!region) {
    region = document.createElement("div");
    region.className = "sr-only";
    region.setAttribute("role", "status");
    region.setAttribute("aria-live", "polite");
    document.body.append(region);
  }
  region.textContent = "";
  // A change in a later frame is read out even when the text is the same as before.
  requestAnimationFrame(() => { region.textContent = text; });
}
