"""Made-up but repeatable answers: everything follows from the request, the caller and the number of the call."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b, shake_256
from typing import Any

Json = dict[str, Any]

_PIECE = re.compile(r"\s*\w+|\s*[^\w\s]|\s+$")
_CANARY = re.compile(r"canary-([A-Za-z0-9_]+)")

_OPENINGS = (
    "Yes, that works", "Short answer: it depends on the order", "Start with the smallest case",
    "The second option is safer", "There are two causes", "Nothing is broken here", "Check the date first",
    "The numbers agree", "I would split it in three", "That is the expected result", "Look at the last line",
    "The first paragraph says so", "Two of the three hold", "It fails only under load", "The limit is per account",
    "Keep the old name for now",
)  # fmt: skip
_REASONS = (
    "because the index is rebuilt on every write", "as the second table has no such row",
    "since the request carries its own clock", "because both sides round down", "as long as the key stays the same",
    "while the older copy is still valid", "once the queue has drained", "unless the caller sets a limit",
    "because the value was read before the lock", "since nobody else writes there", "when the last page is short",
    "as the header is compared byte by byte", "until the lease runs out", "because the default is one day",
    "given that the list is sorted", "if the two clocks agree",
)  # fmt: skip
_ADVICE = (
    "Measure it once before changing anything.", "Write the test first.", "Tell the team that owns it.",
    "Move the check to the edge.", "Keep a copy for a week.", "Do it in one transaction.",
    "Ask for the total in the same call.", "Log the identifier, not the text.", "Start again from the saved state.",
    "Leave the other field empty.", "Close the file before the rename.", "Send the smaller one first.",
    "Retry once, then give up.", "Count them again tomorrow.", "Use the name that the standard uses.",
    "Make the limit a setting.",
)  # fmt: skip
WORDS = (
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "juniper", "kiln", "lagoon",
    "meadow", "north", "orchard", "prairie", "quarry", "ridge", "summit", "tundra", "upland", "valley", "willow",
    "yonder",
)  # fmt: skip


@dataclass(slots=True)
class Answer:
    """What the fake model says to one request."""

    #: Serial number of the call over all endpoints, from 1.
    call: int
    #: 32 bytes that follow from path and body.
    digest: bytes
    text: str
    #: Tenant named by the credential (`sk-canary-<tenant>`), or empty.
    canary: str

    def id(self, prefix: str) -> str:
        """Return an identifier that no other call gets."""
        return f"{prefix}{self.digest[:8].hex()}{self.call:08d}"

    def word(self, position: int) -> str:
        """Return the n-th word of this answer's own sequence."""
        return WORDS[self.digest[position % 32] % len(WORDS)]


def make_answer(call: int, path: str, body: bytes, credential: str) -> Answer:
    """Make the answer to a request: three clauses from its digest, the tenant's canary, and `#<call number>`."""
    digest = blake2b(body, digest_size=32, person=b"fake-provider", key=path.encode()[-64:]).digest()
    canary = find_canary(credential)
    mark = f" canary:{canary}" if canary else ""
    text = (
        f"{_OPENINGS[digest[0] & 15]} {_REASONS[digest[1] & 15]}, {_REASONS[digest[2] & 15]}."
        f" {_ADVICE[digest[3] & 15]} Reference {digest[4:8].hex()}.{mark} #{call}"
    )
    return Answer(call, digest, text, canary)


def find_canary(credential: str) -> str:
    """Return the tenant that a credential like `sk-canary-acme` names, or an empty string."""
    found = _CANARY.search(credential) if "canary-" in credential else None
    return found[1] if found else ""


def pieces(text: str) -> list[str]:
    """Split text into tokens that concatenate to it."""
    return _PIECE.findall(text)


def count_tokens(value: Any) -> int:
    """Count the tokens of all text in a JSON value (one per word, and one per list member for its framing)."""
    if isinstance(value, str):
        # A data URL is one long word to `split`, which is what a picture should cost here.
        return len(value.split()) + 1 if value else 0
    if isinstance(value, list):
        return sum(map(count_tokens, value)) + len(value)
    if isinstance(value, dict):
        return sum(map(count_tokens, value.values()))
    return 0


@lru_cache(maxsize=2048)
def embedding_vector(text: str, dimensions: int, canary: str = "") -> array[float]:
    """Return the unit vector (float32) for one input; another tenant's canary gives another vector."""
    raw = shake_256(f"{canary}\0{text}".encode()).digest(2 * dimensions)
    numbers = [value / 32768.0 for value in array("h", raw)]
    length = sum(value * value for value in numbers) ** 0.5 or 1.0
    return array("f", [value / length for value in numbers])


class SchemaFiller:
    """Makes a small instance of a JSON Schema; text in it carries the answer's words, canary and call number."""

    def __init__(self, answer: Answer, root: Json) -> None:
        self._answer = answer
        self._root = root
        self._used = 0
        self._marked = False

    def fill(self, schema: Any, depth: int = 0) -> Any:
        """Return an instance of `schema` (a JSON Schema object, or True)."""
        if not isinstance(schema, dict) or depth > 12:
            return self._string({}) if depth <= 12 else None
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][self._number() % len(schema["enum"])]
        for union in ("anyOf", "oneOf"):
            if schema.get(union):
                return self.fill(schema[union][0], depth + 1)
        if schema.get("allOf"):
            merged: Json = {}
            for part in schema["allOf"]:
                merged |= self._resolve(part)
            return self.fill(merged, depth + 1)
        return self._by_type(schema, depth)

    def _by_type(self, schema: Json, depth: int) -> Any:
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), "null")
        match kind:
            case "object":
                return {name: self.fill(part, depth + 1) for name, part in schema.get("properties", {}).items()}
            case "array":
                count = max(schema.get("minItems", 1), 1)
                return [self.fill(schema.get("items", {}), depth + 1) for _ in range(count)]
            case "integer" | "number":
                low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
                high = schema.get("maximum", schema.get("exclusiveMaximum", low + 100) - 1)
                return low + self._number() % max(int(high - low) + 1, 1)
            case "boolean":
                return bool(self._number() & 1)
            case "null":
                return None
        return self._string(schema)

    def _resolve(self, schema: Json) -> Json:
        for _ in range(8):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                break
            target: Any = self._root
            for step in reference.removeprefix("#").strip("/").split("/"):
                target = target.get(step, {}) if step else target
            schema = target
        return schema

    def _number(self) -> int:
        self._used += 1
        return self._answer.digest[(7 + self._used) % 32]

    def _string(self, schema: Json) -> str:
        fixed = {
            "date": "2026-03-14", "date-time": "2026-03-14T15:09:26Z", "time": "15:09:26Z", "email": "ada@example.com",
            "uri": "https://example.com/", "uuid": "3f0e8c1a-5b7d-4e2f-9a6c-1d2b3c4d5e6f", "ipv4": "192.0.2.7",
            "hostname": "example.com", "duration": "P3D",
        }.get(schema.get("format", ""))  # fmt: skip
        if fixed is not None:
            return fixed
        word = self._answer.word(self._number())
        if not self._marked and "pattern" not in schema and "maxLength" not in schema:
            self._marked = True
            mark = f" canary:{self._answer.canary}" if self._answer.canary else ""
            word += f"{mark} #{self._answer.call}"
        word = word.ljust(schema.get("minLength", 0), "x")
        return word[: schema["maxLength"]] if "maxLength" in schema else word


def fill_schema(schema: Any, answer: Answer) -> Any:
    """Make an instance of a JSON Schema for one answer."""
    return SchemaFiller(answer, schema if isinstance(schema, dict) else {}).fill(schema)
