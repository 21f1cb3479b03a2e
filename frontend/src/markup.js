// The one way in which text becomes elements: answers of this server, which have every foreign character escaped.
// What could run all the same is refused, whoever wrote it.
const DANGEROUS = /<\s*(script|iframe|object|embed|base)\b|\son[a-z]+\s*=|javascript:/i;

export function checked(text) {
  if (DANGEROUS.test(text.replace(/<script[^>]*\btype="application\/json"[^>]*>[\s\S]*?<\/script>/gi, ""))) {
    throw new TypeError("the answer contains something that could run");
  }
  return text;
}

const policy = globalThis.trustedTypes?.createPolicy("agentcache", { createHTML: checked });

export function trusted(text) {
  return policy ? policy.createHTML(text) : checked(text);
}
