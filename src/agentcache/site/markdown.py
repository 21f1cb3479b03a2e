"""Markdown as HTML of the design system: headings with addresses, code to copy, tables that scroll. Raw HTML is text."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.template.loader import render_to_string
from django.utils.html import escape, strip_tags
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

#: What search engines show of a description.
_DESCRIPTION_CHARS: Final = 155
_COMMENT: Final = re.compile(r"^<!--.*?-->\n*", re.MULTILINE | re.DOTALL)
_RIGHT: Final = "text-align:right"

#: Returns the address that a link leads to here, or None for what is not served: its text stays.
Resolve = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Heading:
    """A part of a page."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page without its title, which stands above it."""

    title: str
    #: The first paragraph as text, cut to what search engines show.
    description: str
    html: SafeString
    headings: tuple[Heading, ...]


def render(text: str, resolve: Resolve) -> Rendered:
    """Return a Markdown file as a page."""
    tokens = _PARSER.parse(_COMMENT.sub("", text))
    title = ""
    if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1":
        title = _plain(tokens[1])
        tokens = tokens[3:]
    headings = tuple(_number(tokens))
    _label(tokens)
    for token in tokens:
        if token.children:
            token.children = _linked(token.children, resolve)
    first = next((_plain(tokens[at + 1]) for at, one in enumerate(tokens) if one.type == "paragraph_open"), "")
    html = _PARSER.renderer.render(tokens, _PARSER.options, {})
    return Rendered(
        title,
        Truncator(first).chars(_DESCRIPTION_CHARS),
        mark_safe(html),  # noqa: S308 - of our own files, in which raw HTML counts as text
        headings,
    )


def _number(tokens: Sequence[Token]) -> list[Heading]:
    """Give headings the names by which pages link to them, as code hosts do."""
    found: list[Heading] = []
    known: dict[str, int] = {}
    for at, token in enumerate(tokens):
        if token.type != "heading_open":
            continue
        text = _plain(tokens[at + 1])
        anchor = re.sub(r"[^\w -]", "", text.lower()).strip().replace(" ", "-")
        known[anchor] = known.get(anchor, -1) + 1
        if known[anchor]:
            anchor = f"{anchor}-{known[anchor]}"
        token.attrSet("id", anchor)
        found.append(Heading(int(token.tag[1]), text, anchor))
    return found


def _label(tokens: Sequence[Token]) -> None:
    """Give each cell the name of its column: on small screens, where a row is a block, it stands before the value."""
    names: list[str] = []
    column = 0
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            names = []
        elif token.type == "th_open":
            names.append(_plain(tokens[at + 1]))
        elif token.type == "tr_open":
            column = 0
        elif token.type == "td_open":
            token.attrSet("data-label", names[column])
            column += 1


def _plain(inline: Token) -> str:
    parts = (inline.children or []) if inline.type == "inline" else []
    return "".join("\n" if part.type == "softbreak" else part.content for part in parts).replace("\n", " ").strip()


def _linked(parts: Sequence[Token], resolve: Resolve) -> list[Token]:
    kept: list[Token] = []
    dropped = False
    for part in parts:
        if part.type == "link_open":
            address = resolve(str(part.attrGet("href") or ""))
            dropped = address is None
            if address is None:
                continue
            part.attrSet("href", address)
        elif part.type == "link_close" and dropped:
            dropped = False
            continue
        kept.append(part)
    return kept


Env = MutableMapping[str, Any]


def _code(_renderer: RendererProtocol, tokens: Sequence[Token], at: int, _options: OptionsDict, _env: Env) -> str:
    shown = {"code": tokens[at].content.rstrip("\n"), "label": "", "name": "this example"}
    return render_to_string("design/components/snippet.html", shown)


def _table_open(*_: object) -> str:
    return '<div class="table-wrap" role="group" aria-label="Table"><table class="table">'


def _table_close(*_: object) -> str:
    return "</table></div>"


def _cell_open(_renderer: RendererProtocol, tokens: Sequence[Token], at: int, _options: OptionsDict, _env: Env) -> str:
    # Alignment as a class: the content security policy forbids styles on elements.
    is_number = _RIGHT in str(tokens[at].attrGet("style") or "")
    scope = ' scope="col"' if tokens[at].tag == "th" else ""
    number = ' class="num"' if is_number else ""
    name = tokens[at].attrGet("data-label")
    label = "" if name is None else f' data-label="{escape(str(name))}"'
    return f"<{tokens[at].tag}{scope}{number}{label}>"


def _heading_close(
    _renderer: RendererProtocol, tokens: Sequence[Token], at: int, _options: OptionsDict, _env: Env
) -> str:
    opening, name = tokens[at - 2], _plain(tokens[at - 1])
    link = f'<a class="anchor" href="#{escape(str(opening.attrGet("id")))}" aria-label="Link to {escape(strip_tags(name))}">#</a>'
    return f" {link}</{tokens[at].tag}>\n"


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    for name, rule in (
        ("fence", _code), ("code_block", _code), ("table_open", _table_open), ("table_close", _table_close),
        ("th_open", _cell_open), ("td_open", _cell_open), ("heading_close", _heading_close),
    ):  # fmt: skip
        parser.add_render_rule(name, rule)
    return parser


_PARSER: Final = _parser()
