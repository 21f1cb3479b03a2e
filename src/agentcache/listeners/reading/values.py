"""JSON documents and PDFs as text: in one form for each content, so that order of members and layout do not count."""

from __future__ import annotations

import io
import json
from typing import Any, Final

import jsonpath
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from agentcache.listeners.reading.errors import NotReadable
from agentcache.listeners.reading.texts import comparable

_PDF_PAGES_MAX: Final = 500
_MATCHES_MAX: Final = 10_000


def json_text(text: str, path: str = "") -> str:
    """Return a JSON document, or what a JSON path finds in it, with sorted members, a member to a line."""
    try:
        # Numbers keep their spelling: a version 1.10 is not 1.1.
        document = json.loads(text, parse_float=str, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise NotReadable("The document is not valid JSON.") from None
    if path:
        found = _found(document, path)
        document = found[0] if len(found) == 1 else found
    return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1)


def check_json_path(path: str) -> None:
    """Raise `NotReadable` for what is no JSON path (RFC 9535)."""
    _compiled(path)


def pdf_text(body: bytes) -> str:
    """Return what the pages of a PDF say; its dates and ids do not count."""
    try:
        reader = PdfReader(io.BytesIO(body), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise NotReadable("The PDF needs a password.")
        pages = reader.pages
        if len(pages) > _PDF_PAGES_MAX:
            raise NotReadable(f"The PDF has more than {_PDF_PAGES_MAX} pages.")
        return comparable("\n".join(page.extract_text() for page in pages))
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        # The package meets broken files with any of these.
        raise NotReadable("The PDF cannot be read.") from None


def _found(document: Any, path: str) -> list[Any]:
    try:
        found: list[Any] = _compiled(path).findall(document)
    except (jsonpath.JSONPathError, RecursionError):
        raise NotReadable("The JSON path does not fit the document.") from None
    if not found:
        raise NotReadable("The JSON path finds nothing in the document.")
    if len(found) > _MATCHES_MAX:
        raise NotReadable(f"The JSON path finds more than {_MATCHES_MAX} values.")
    return found


def _compiled(path: str) -> Any:
    try:
        return jsonpath.JSONPathEnvironment(strict=True).compile(path)
    except (jsonpath.JSONPathError, RecursionError, ValueError):
        raise NotReadable("The JSON path cannot be understood.") from None


def _no_number(name: str) -> Any:
    raise ValueError(name)
