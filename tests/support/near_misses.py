"""Pairs of questions that look alike: near misses of eight kinds, whose answers differ, and paraphrases, whose answers do not.

Made of templates and words of their own, which no training reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from typing import Final

Pair = tuple[str, str]

_DEEDS: Final = (
    "open the garage door from my phone", "share a calendar with my sister", "freeze a lost bank card",
    "water a lemon tree in winter", "book a table for the terrace", "print a boarding pass at the airport",
    "charge an electric scooter", "register a trademark", "clean a cast iron pan", "renew a library card",
)  # fmt: skip
_ASKED: Final = ("How do I {}?", "Can I {}?", "Where can I learn to {}?", "Is it easy to {}?", "Explain how to {}.")
_THINGS: Final = ("the night mode", "automatic backups", "the child lock", "location sharing", "the sprinkler",
                  "e-mail alerts", "the spam filter", "two-step sign-in", "the dishwasher", "roaming")  # fmt: skip
_SWITCHED: Final = (("How do I turn {} on?", "How do I turn {} off?"), ("Please enable {}.", "Please disable {}."),
                    ("Why was {} switched on?", "Why was {} switched off?"), ("Start {} now for me.", "Stop {} now for me."),
                    ("Can I activate {}?", "Can I deactivate {}?"))  # fmt: skip
_NUMBERED: Final = ("What is {} percent of the budget?", "List {} reasons to learn chess.", "Open ticket {}.",
                    "Is {} a prime number?", "Divide {} by six.")  # fmt: skip
_NUMBERS: Final = (
    (12, 21),
    (40, 45),
    (1907, 1970),
    (8, 80),
    (33, 53),
    (205, 206),
    (7, 17),
    (64, 46),
    (99, 98),
    (150, 105),
)
_UNITS: Final = ((("kilometres", "miles"), "How far is it to the harbour in {}?"), (("Celsius", "Fahrenheit"), "Give me the boiling point in {}."),
                 (("litres", "gallons"), "How many {} does the tank hold?"), (("minutes", "hours"), "How many {} does the ferry take?"),
                 (("grams", "ounces"), "How many {} of flour does a loaf need?"), (("euros", "dollars"), "What does a stamp cost in {}?"),
                 (("metres", "feet"), "How tall is the lighthouse in {}?"), (("days", "weeks"), "How many {} until the parcel arrives?"),
                 (("bytes", "bits"), "How many {} are in the header?"), (("watts", "volts"), "How many {} does the lamp need?"))  # fmt: skip
_BEFORE_UNITS: Final = ("", "Tell me: ", "Short answer: ", "For my notes: ", "A quick one: ")
_NAMES: Final = (("Lisbon", "Porto"), ("Norway", "Sweden"), ("Mozart", "Haydn"), ("Python", "Ruby"), ("Mars", "Venus"),
                 ("Toyota", "Honda"), ("Kenya", "Ghana"), ("Postgres", "Oracle"), ("Ottawa", "Toronto"), ("tin", "zinc"))  # fmt: skip
_OF_NAMES: Final = ("What is special about {}?", "Describe {} in one sentence.", "Who first wrote about {}?", "Why do people like {}?",
                    "Name three facts about {}.")  # fmt: skip
_DATES: Final = (("March", "May"), ("1998", "1989"), ("Monday", "Friday"), ("spring", "autumn"), ("the 3rd", "the 13th"),
                 ("2019", "2021"), ("June", "July"), ("Sunday", "Saturday"), ("the first week", "the last week"), ("noon", "midnight"))  # fmt: skip
_OF_DATES: Final = ("What happened in the story at {}?", "Who was on duty during {}?", "Was the shop open around {}?", "How cold was it near {}?",
                    "Which report covers {}?")  # fmt: skip
_LANGUAGES: Final = (("French", "Spanish"), ("German", "Dutch"), ("Japanese", "Chinese"), ("Polish", "Czech"), ("Swedish", "Danish"),
                     ("Java", "Kotlin"), ("Go", "Rust"), ("Greek", "Turkish"), ("Hindi", "Tamil"), ("Perl", "Lua"))  # fmt: skip
_OF_LANGUAGES: Final = ("Say 'good evening' in {}.", "Translate the menu into {}.", "Write a loop in {}.", "How do you write a greeting in {}?",
                        "Give me a short poem in {}.")  # fmt: skip
_SAME: Final = (
    ("How do I {}?", "How can I {}?"), ("How do I {}?", "What is the way to {}?"), ("How can I {}?", "Tell me how I can {}."),
    ("Explain how to {}.", "Please explain how to {}."), ("How do I {}?", "how do i {}"), ("What are the steps to {}?", "Which steps do I take to {}?"),
    ("Is there a way to {}?", "Is it possible to {}?"), ("Can you help me {}?", "Could you please help me {}?"),
)  # fmt: skip


def near_misses() -> dict[str, list[Pair]]:
    """Return kind -> 50 pairs whose answers differ."""
    return {
        "negation": [(ask.format(deed), ask.format(f"avoid having to {deed}" if "to {}" in ask else f"not {deed}")) for ask, deed in _pairs(_ASKED, _DEEDS)],
        "on and off": [(on.format(thing), off.format(thing)) for (on, off), thing in _pairs(_SWITCHED, _THINGS)],
        "number": [(ask.format(one), ask.format(other)) for ask, (one, other) in _pairs(_NUMBERED, _NUMBERS)],
        "unit": [(first + ask.format(one), first + ask.format(other)) for first, ((one, other), ask) in _pairs(_BEFORE_UNITS, _UNITS)],
        "entity": [(ask.format(one), ask.format(other)) for ask, (one, other) in _pairs(_OF_NAMES, _NAMES)],
        "date": [(ask.format(one), ask.format(other)) for ask, (one, other) in _pairs(_OF_DATES, _DATES)],
        "language": [(ask.format(one), ask.format(other)) for ask, (one, other) in _pairs(_OF_LANGUAGES, _LANGUAGES)],
        "not": [(f"Why should I {deed}{end}?", f"Why should I not {deed}{end}?") for end, deed in _pairs(_ENDS, _DEEDS)],
    }  # fmt: skip


_ENDS: Final = ("", " at home", " on a Sunday", " by myself", " before lunch")


def paraphrases() -> list[Pair]:
    """Return 400 pairs that want one answer."""
    found = (
        (one.format(deed + end), other.format(deed + end)) for (one, other), end, deed in product(_SAME, _ENDS, _DEEDS)
    )
    return list(found)


def _pairs(first: tuple, second: tuple) -> Iterator[tuple]:
    return islice(product(first, second), 50)
