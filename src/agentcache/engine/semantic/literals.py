"""Find in a prompt what must be the same to the letter: code, addresses, paths, quoted text."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_PATTERNS: Final = (
    ("code", r"```.*?(?:```|\Z)|`[^`\n]+`"),
    ("url", r"\b(?:https?|ftp|wss?|redis|postgres(?:ql)?|s3|file)://[^\s\"'<>]+|\bwww\.[^\s\"'<>]+"),
    ("email", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    ("quoted", r"\"[^\"\n]{1,400}\"|“[^”\n]{1,400}”|«[^»\n]{1,400}»|(?<![\w'])'(?=\S)[^'\n]{1,200}(?<=\S)'(?![\w'])"),
    ("formula", r"\$[^$\n]{1,200}[a-z\\^_={}][^$\n]{0,200}\$"),
    ("path", r"(?<![\w.])(?:~|\.{1,2})?/(?:[\w.@-]+/)*[\w.@-]*[\w@-]|\b[A-Za-z]:\\[\w\\.-]+"),
    (
        "name",
        (
            r"\b\w+(?:::\w+)+|\b(?:[a-z]\w*\.)+[a-z_]\w*\(\)?|\b[A-Za-z_]\w*\(\)|\b[a-z0-9]+(?:_[a-z0-9]+)+\b|\b[A-Z0-9]+(?:_[A-Z0-9]+)+\b"
            r"|\b[a-z]+[A-Z]\w*\b|(?<![\w-])--?[a-z][\w-]*\b"
        ),
    ),
    (
        "file",
        (
            r"\b[\w-]+\.(?:py|js|ts|tsx|jsx|json|ya?ml|toml|csv|txt|md|html?|css|sql|sh|java|go|rs|rb|php|c|cpp|h|cs|xml|pdf|docx?"
            r"|xlsx?|png|jpe?g|conf|ini|log|env|lock)\b"
        ),
    ),
)
_LITERAL: Final = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _PATTERNS), re.DOTALL)
#: Hints that a text holds any of them; most prompts hold none, and looking for these is ten times quicker.
_HINT: Final = re.compile(r"[`\"“«'/\\@_$(]|::|www\.|\w\.\w|(?:^|\s)--?\w|[a-z][A-Z]")


class Literal(NamedTuple):
    """A piece of a prompt that is kept as it is."""

    kind: str
    #: As compared: without the marks around it.
    text: str
    start: int
    end: int


def find_literals(text: str) -> list[Literal]:
    """Return the literals of a text in their order."""
    if not _HINT.search(text):
        return []
    found = []
    for match in _LITERAL.finditer(text):
        kind = match.lastgroup or "name"
        inside = match[0]
        if kind == "code":
            inside = inside.strip("`").strip()
        elif kind == "quoted":
            inside = inside[1:-1].strip().rstrip(".,!?")
        elif kind == "url":
            inside = inside.rstrip(".,;:!?)/")
        found.append(Literal(kind, inside, match.start(), match.start() + len(match[0])))
    return found
