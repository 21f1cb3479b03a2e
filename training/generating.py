"""Make pairs from the intents: paraphrases, changed slots, swapped roles, and the traps that an intent names.

An intent in `intents/*.txt` is a block of lines:

    @ name
    = a paraphrase with {slots}          any two of them mean the same
    <> slot1 slot2                       exchanging these two changes the meaning
    == slot1 slot2                       exchanging these two changes nothing
    !kind a prompt that looks alike      it means something else than every paraphrase
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from training.pairs import Pair

FOLDER: Final = Path(__file__).parent / "intents"
_SLOT: Final = re.compile(r"\{(\w+)\}")


@dataclass(slots=True)
class Intent:
    """One thing that people ask, in several wordings, with what must not be taken for it."""

    name: str
    wordings: list[str] = field(default_factory=list)
    traps: list[tuple[str, str]] = field(default_factory=list)
    ordered: list[tuple[str, str]] = field(default_factory=list)
    commutative: list[tuple[str, str]] = field(default_factory=list)

    @property
    def slots(self) -> list[str]:
        """Return the names of the slots that its wordings have."""
        return sorted({slot for wording in self.wordings for slot in _SLOT.findall(wording)})


@dataclass(frozen=True, slots=True)
class SlotType:
    """What a slot is filled with, and which kind of trap another filling is."""

    kind: str
    fillings: tuple[str, ...]


def read_slot_types() -> dict[str, SlotType]:
    """Return the slot types by name."""
    found = {}
    for line in (FOLDER / "slots.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            head, fillings = line.split(": ", 1)
            name, kind = head.split()
            found[name] = SlotType(kind, tuple(fillings.split("|")))
    return found


def read_intents() -> list[Intent]:
    """Return all intents, in a stable order."""
    found: list[Intent] = []
    for path in sorted(FOLDER.glob("*.txt")):
        if path.name == "slots.txt":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            sign, _, rest = line.partition(" ")
            if not line or sign == "#":
                continue
            if sign == "@":
                found.append(Intent(rest))
            elif sign == "=":
                found[-1].wordings.append(rest)
            elif sign in {"<>", "=="}:
                one, other = rest.split()
                (found[-1].ordered if sign == "<>" else found[-1].commutative).append((one, other))
            elif sign.startswith("!"):
                found[-1].traps.append((sign[1:], rest))
            else:
                raise ValueError(f"{path.name}:{number}: what is {line!r}?")
    return found


class Generator:
    """Draws pairs of intents, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._types = read_slot_types()

    def pairs(self, intent: Intent, rounds: int) -> Iterator[Pair]:
        """Yield pairs of an intent; a round gives about one of each sort that the intent has."""
        group = f"own/{intent.name}"
        # Of its own: another intent, added or mended, leaves the pairs of this one as they are.
        self._random = random.Random(f"{self._seed}/{intent.name}")
        for _ in range(rounds):
            filled = self._fill(intent)
            for _ in range(2):
                one, other = self._two(intent.wordings)
                yield Pair(_put(one, filled), _put(other, filled), True, "paraphrase", group, "own")
            for slots in intent.commutative:
                one, other = self._any_two(intent.wordings)
                yield Pair(_put(one, filled), _put(other, _swapped(filled, slots)), True, "commutative", group, "own")
            for slots in intent.ordered:
                one, other = self._any_two(intent.wordings)
                yield Pair(_put(one, filled), _put(other, _swapped(filled, slots)), False, "role", group, "own")
            for kind, trap in self._some(intent.traps, 3):
                wording = self._random.choice(intent.wordings)
                texts = _put(wording, filled), _put(trap, filled | self._missing(trap, filled))
                stored, asked = texts if self._random.random() < 0.5 else texts[::-1]
                yield Pair(stored, asked, False, kind, group, "own")
            if intent.slots:
                yield self._changed_slot(intent, filled, group)

    def _changed_slot(self, intent: Intent, filled: dict[str, str], group: str) -> Pair:
        one, other = self._any_two(intent.wordings)
        slot = self._random.choice(_SLOT.findall(one) or intent.slots)
        changed = dict(filled)
        changed[slot] = self._draw(slot, set(filled.values()))
        return Pair(_put(one, filled), _put(other, changed), False, self._type(slot).kind, group, "own")

    def _fill(self, intent: Intent) -> dict[str, str]:
        filled: dict[str, str] = {}
        for slot in intent.slots:
            filled[slot] = self._draw(slot, set(filled.values()))
        return filled

    def _missing(self, trap: str, filled: dict[str, str]) -> dict[str, str]:
        return {slot: self._draw(slot, set(filled.values())) for slot in _SLOT.findall(trap) if slot not in filled}

    def _draw(self, slot: str, taken: set[str]) -> str:
        return self._random.choice([filling for filling in self._type(slot).fillings if filling not in taken])

    def _type(self, slot: str) -> SlotType:
        return self._types[slot.rstrip("0123456789")]

    def _two(self, wordings: list[str]) -> list[str]:
        return self._random.sample(wordings, 2)

    def _any_two(self, wordings: list[str]) -> tuple[str, str]:
        """Return two wordings; half of the time the same one twice, because that is the hardest trap."""
        one = self._random.choice(wordings)
        return one, one if self._random.random() < 0.5 else self._random.choice(wordings)

    def _some(self, traps: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
        return self._random.sample(traps, min(count, len(traps)))


def _put(wording: str, filled: dict[str, str]) -> str:
    text = _SLOT.sub(lambda match: filled[match[1]], wording)
    return text[0].upper() + text[1:] if text.endswith((".", "?")) else text


def _swapped(filled: dict[str, str], slots: tuple[str, str]) -> dict[str, str]:
    one, other = slots
    return filled | {one: filled[other], other: filled[one]}
