"""Families of intents that differ in one word: comparisons, effects, causes, directions, orders in time."""

from __future__ import annotations

from typing import Final

from training.generating import Intent

#: Comparative, another word for it, its opposite, the plain form.
_COMPARATIVES: Final = """faster quicker slower fast|bigger larger smaller big|cheaper less-expensive dearer cheap|safer more-secure riskier safe
heavier weightier lighter heavy|older more-ancient newer old|louder noisier quieter loud|stronger more-powerful weaker strong|easier simpler harder easy
healthier better-for-you unhealthier healthy|richer wealthier poorer rich|warmer hotter colder warm|longer more-lengthy shorter long
more-popular better-liked less-popular popular|more-reliable more-dependable less-reliable reliable|smarter more-intelligent dumber smart"""
_COMPARED: Final = (
    "city",
    "software",
    "product",
    "material",
    "animal",
    "company",
    "planguage",
    "drink",
    "sport",
    "device",
    "service",
    "country",
)
_THINGS: Final = (
    "sleep|stress|exercise|diet|coffee|music|noise|weather|age|education|income|sunlight|pollution|tourism|inflation|unemployment|technology|sugar|"
    "alcohol|memory|mood|productivity|learning|traffic|housing prices|migration|interest rates|air quality|crime|language"
).split("|")
_CAUSES: Final = """cause causes causes|prevent prevents prevents|produce produces produces|replace replaces replaces|attract attracts attracts
eat eats eats|destroy destroys destroys|contain contains contains|require requires requires|block blocks blocks"""
_MOVES: Final = """copy the files|move the server|transfer money|send a parcel|redirect traffic|drive a truck|forward my calls|carry my data over
ship a car|sync contacts|stream music|export the report|take the train|relocate the office|pipe the output"""


def families() -> list[Intent]:
    """Return all intents of the families."""
    return [*_comparisons(), *_effects(), *_causings(), *_directions(), *_timings()]


def _comparisons() -> list[Intent]:
    found = []
    for number, line in enumerate(_COMPARATIVES.replace("\n", "|").split("|")):
        more, other, opposite, plain = (word.replace("-", " ") for word in line.split())
        one, two = (f"{{{_COMPARED[(number * 5 + shift) % len(_COMPARED)]}1}}" for shift in (0, 0))
        two = one.replace("1", "2")
        wordings = [
            f"Is {one} {more} than {two}?",
            f"Would you say {one} is {more} than {two}?",
            f"Is {one} {other} than {two}?",
            f"Compared with {two}, is {one} {more}?",
            f"Is {two} {opposite} than {one}?",
        ]
        traps = [
            ("antonym", f"Is {one} {opposite} than {two}?"), ("scope", f"Is {one} as {plain} as {two}?"), ("scope", f"Why is {one} {more} than {two}?"),
            ("scope", f"How much {more} is {one} than {two}?"), ("tense", f"Was {one} once {more} than {two}?"), ("role", f"Compared with {one}, is {two} {more}?"),
            ("negation", f"Is {one} not {more} than {two}?"), ("condition", f"Is {one} {more} than {two} in winter?"), ("scope", f"When is {one} {more} than {two}?"),
        ]  # fmt: skip
        slots = (one.strip("{}"), two.strip("{}"))
        found.append(Intent(f"compare_{plain.replace(' ', '_')}", wordings, traps, [slots]))
    return found


def _effects() -> list[Intent]:
    found = []
    for number, thing in enumerate(_THINGS):
        other = _THINGS[(number * 7 + 11) % len(_THINGS)]
        if other == thing:
            continue
        wordings = [
            f"How does {thing} affect {other}?",
            f"What is the effect of {thing} on {other}?",
            f"What impact does {thing} have on {other}?",
            f"In what way is {other} influenced by {thing}?",
            f"How is {other} affected by {thing}?",
            f"effects of {thing} on {other}",
            f"Explain how {thing} influences {other}.",
        ]
        traps = [
            ("role", f"How does {other} affect {thing}?"), ("role", f"What is the effect of {other} on {thing}?"), ("role", f"effects of {other} on {thing}"),
            ("role", f"How is {thing} affected by {other}?"), ("negation", f"Why does {thing} not affect {other}?"),
            ("antonym", f"What is the effect of a lack of {thing} on {other}?"), ("condition", f"How does {thing} affect {other} in old people?"),
            ("scope", f"How soon does {thing} affect {other}?"), ("scope", f"What is the worst effect of {thing} on {other}?"),
        ]  # fmt: skip
        found.append(Intent(f"effect_{thing.replace(' ', '_')}", wordings, traps))
    return found


def _causings() -> list[Intent]:
    found = []
    for line in _CAUSES.replace("\n", "|").split("|"):
        base, third, _ = line.split()
        for slot in ("illness", "plant"):
            thing = f"{{{slot}}}"
            wordings = [
                f"What {third} {thing}?",
                f"Which things {base} {thing}?",
                f"Tell me what {third} {thing}.",
                f"What kind of thing {third} {thing}?",
            ]
            traps = [
                ("role", f"What does {thing} {base}?"), ("role", f"Which things does {thing} {base}?"), ("negation", f"What does not {base} {thing}?"),
                ("scope", f"When does something {base} {thing}?"), ("role", f"Tell me what {thing} {third}."),
            ]  # fmt: skip
            found.append(Intent(f"what_{base}_{slot}", wordings, traps))
    return found


def _directions() -> list[Intent]:
    found = []
    for number, deed in enumerate(_MOVES.replace("\n", "|").split("|")):
        slot = ("city", "service", "software", "country", "device", "database")[number % 6]
        one, two = f"{{{slot}1}}", f"{{{slot}2}}"
        wordings = [
            f"How do I {deed} from {one} to {two}?",
            f"How can I {deed} to {two} from {one}?",
            f"I want to {deed} from {one} to {two}. What do I do?",
            f"What is the best way to {deed} from {one} to {two}?",
            f"From {one} to {two}: how do I {deed}?",
        ]
        traps = [
            ("scope", f"How long does it take to {deed} from {one} to {two}?"), ("negation", f"Why can I not {deed} from {one} to {two}?"),
            ("condition", f"How do I {deed} from {one} to {two} for free?"), ("condition", f"How do I {deed} from {one} to {two} and back?"),
            ("role", f"How do I {deed} from {two} to {one}?"), ("entity", f"How do I {deed} from {one} via {two}?"),
        ]  # fmt: skip
        found.append(Intent(f"direction_{deed.split()[0]}", wordings, traps, [(f"{slot}1", f"{slot}2")]))
    return found


def _timings() -> list[Intent]:
    found = []
    pairs = """brushing my teeth/eating breakfast|signing the contract/paying the deposit|watering the lawn/mowing the lawn|reading the book/watching the film
backing up my phone/updating the system|washing the car/waxing the car|talking to a lawyer/calling the police|stretching/running|salting the meat/frying the meat
compiling the code/running the tests|charging the battery/using the drill|learning the rules/playing the game|taking a shower/going swimming"""
    for line in pairs.replace("\n", "|").split("|"):
        one, two = line.split("/")
        wordings = [
            f"Should I be {one} before {two}?", f"Is {one} before {two} a good idea?", f"Before {two}, should I be {one}?",
            f"Is it right to do {two} only after {one}?",
        ]  # fmt: skip
        traps = [
            ("order", f"Should I be {one} after {two}?"), ("role", f"Should I be {two} before {one}?"), ("role", f"Before {one}, should I be {two}?"),
            ("order", f"Should I be {one} while {two}?"), ("role", f"Is {two} before {one} a good idea?"), ("scope", f"How long before {two} should I be {one}?"),
            ("negation", f"Should I not be {one} before {two}?"),
        ]  # fmt: skip
        found.append(Intent(f"before_{one.replace(' ', '_')}", wordings, traps))
    return found
