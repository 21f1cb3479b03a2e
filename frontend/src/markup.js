// The one way in which text becomes elements: answers of this server, which have every foreign character escaped.
// What could run all the same is refused, whoever wrote it; words that only look so ("onerror=" in a name) are text.
const FORBIDDEN = "iframe, frame, object, embed, base, applet, meta[http-equiv], link[rel~=import]";
const ADDRESSES = new Set(["href", "src", "action", "formaction", "data", "xlink:href", "poster", "background", "srcdoc"]);
const RUNNING = /^(javascript|vbscript):$/;

function leadsToScript(name, value) {
  if (name === "srcdoc") return true;
  try {
    const { protocol, href } = new URL(value, location.href);
    return RUNNING.test(protocol) || (protocol === "data:" && !/^data:image\//i.test(href));
  } catch {
    return false; // an address that cannot be parsed leads nowhere
  }
}

function isLive(element) {
  if (element.matches(FORBIDDEN)) return true;
  if (element.localName === "script") {
    // Values for charts are read, not run. Files of our own are named by whole pages; htmx leaves them out.
    return element.type !== "application/json" && !element.getAttribute("src")?.startsWith("/static/");
  }
  return [...element.attributes].some(({ name, value }) =>
    /^on|^(data-)?hx-on/i.test(name) || (ADDRESSES.has(name) && leadsToScript(name, value)));
}

function* elementsOf(root) {
  for (const element of root.querySelectorAll("*")) {
    yield element;
    if (element.localName === "template") yield* elementsOf(element.content);
  }
}

const policy = globalThis.trustedTypes?.createPolicy("agentcache", { createHTML: (text) => text });

/** Returns the text for the parser; throws when it holds something that could run. */
export function trusted(text) {
  const markup = policy ? policy.createHTML(text) : text;
  // A document without a window: nothing in it runs or loads.
  for (const element of elementsOf(new DOMParser().parseFromString(markup, "text/html"))) {
    if (isLive(element)) throw new TypeError(`the answer contains something that could run: <${element.localName}>`);
  }
  return markup;
}
