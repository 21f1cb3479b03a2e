"""Families of intents whose traps are small words: who, when, how often, no longer, kept from; a narrower thing; the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from training.generating import Intent

#: What one person does to another.
_TOWARDS: Final = (
    "apologize to|wait for|lie to|agree with|believe|pay|call|ask|warn|fall in love with|vote for|cook for|argue with|miss"
).split("|")
#: A sentence about somebody, and what is asked about it; {he}, {his} and {him} are exchanged.
_ABOUT_SOMEBODY: Final = """My boss said {he} is unhappy with my work./What should I tell {him}?/How should I answer {him}?
My neighbour lost {his} keys./How can I help {him}?/What can I do to help {him}?
My teacher retires in {month}./Write a farewell card that thanks {him}./Compose a farewell card to thank {him}.
My {relative} has a {event} soon./What gift would {he} like?/Which present would please {him}?
A customer says {he} never got {his} {product}./What do I write to {him}?/Draft my reply to {him}.
My friend is learning {planguage}./Which book should {he} read?/What is a good book for {him}?
The doctor said {he} would call me./How do I reach {him}?/How can I get hold of {him}?
My colleague forgot {his} password./How can {he} reset it?/What does {he} have to do to reset it?"""
_HIM: Final = ({"he": "he", "his": "his", "him": "him"}, {"he": "she", "his": "her", "him": "her"}, {"he": "they", "his": "their", "him": "them"})  # fmt: skip
#: A state: subject and what holds, as a statement in the present, a question, and one about the past.
_STATES: Final = """{city} is the largest city of {country}/Is {city} the largest city of {country}?/Was {city} the largest city of {country} in the past?
{company} makes {product}s/Does {company} make {product}s?/Did {company} use to make {product}s?
{drug} is used for {illness}/Is {drug} used for {illness}?/Was {drug} formerly used for {illness}?
people in {country} drink a lot of {drink}/Do people in {country} drink a lot of {drink}?/Did people in {country} use to drink a lot of {drink}?
{framework} supports {database}/Does {framework} support {database}?/Did {framework} once support {database}?
{feature} is free in {service}/Is {feature} free in {service}?/Was {feature} once free in {service}?
{animal} live in {country}/Do {animal} live in {country}?/Did {animal} use to live in {country}?
{city} has a {sport} team/Does {city} have a {sport} team?/Did {city} use to have a {sport} team?
{company} owns {service}/Does {company} own {service}?/Did {company} previously own {service}?
{material} is cheaper than {element}/Is {material} cheaper than {element}?/Was {material} at one time cheaper than {element}?
{tongue} is taught in schools in {country}/Is {tongue} taught in schools in {country}?/Was {tongue} formerly taught in schools in {country}?
{software} runs on {system}/Does {software} run on {system}?/Did {software} previously run on {system}?"""
#: What happens at a time: two ways of asking, and a short one.
_TIMES: Final = """Who won the {sport} championship/Which team became {sport} champion/winner of the {sport} championship/in {year}
How many tourists came to {country}/What was the number of tourists in {country}/tourist numbers of {country}/in {year}
Which laws about data protection were passed in {country}/What data protection laws did {country} pass/{country}: data protection laws/in {year}
Which films were shot in {city}/What movies did people film in {city}/list of films shot in {city}/in {year}
Which holidays are there in {country}/What are the public holidays in {country}/public holidays of {country}/in {month}
What can I plant in my {room}/Which plants can go into my {room}/plants for my {room}/in {month}
Which meetings do I have/What meetings are on my calendar/my meetings/on {weekday}
Show me the orders that came in/List the orders we received/orders received/on {weekday}
How many {product}s did {company} sell/What number of {product}s was sold by {company}/{company}: {product}s sold/in {year}
Which students of {subject} handed in their work/Who handed in homework for {subject}/{subject} homework handed in/on {weekday}
How did prices in {city} change/What happened to prices in {city}/price changes in {city}/in {year}
What did {person} write/Which works were written by {person}/works of {person}/in {year}
Which trains leave {city}/What trains depart from {city}/trains from {city}/on {weekday}
Is the {service} office open/Can I visit the {service} office/{service} office opening/in {month}"""
_OTHER_TIMES: Final = ("before", "after", "since", "until")
#: What is paid or done at a rate: with `{a}` for "a month", and with `{ly}` for "monthly".
_RATED: Final = """How much do I pay for {service} {a}?/What is the {ly} price of {service}?/What does {service} cost {a}?/{ly} fee of {service}
How much does {role} in {country} earn {a}?/What is the {ly} salary of {role} in {country}?/What does {role} make {a} in {country}?/{ly} pay of {role} in {country}
How much water do {plant} need {a}?/What is the {ly} amount of water for {plant}?/How much should I water {plant} {a}?/{ly} watering of {plant}
How much rent do people pay {a} in {city}?/What is the {ly} rent in {city}?/What does a flat in {city} cost {a}?/{ly} rent in {city}
How many hours of {sport} training are good {a}?/What is a good {ly} amount of {sport} training?/How long should I train {sport} {a}?/{ly} {sport} training time
How many {product}s does {company} sell {a}?/What are the {ly} {product} sales of {company}?/How many {product}s are sold {a} by {company}?/{ly} {product} sales of {company}"""
_RATES: Final = (("a day", "daily"), ("a week", "weekly"), ("a month", "monthly"), ("a year", "yearly"))
#: What somebody or something does: base and gerund.
_DEEDS: Final = """{software}/restart on failure/restarting on failure|{service}/send me emails/sending me emails|{device}/update itself/updating itself
my {relative}/eat {food}/eating {food}|{system}/index my files/indexing my files|{framework}/cache pages/caching pages|my {plant}/bloom/blooming
{software}/delete old logs/deleting old logs|{service}/show my location/showing my location|{animal}/sleep in the {room}/sleeping in the {room}
{database}/write to disk/writing to disk|{device}/turn itself off/turning itself off|my {product}/beep/beeping|{service}/share my data/sharing my data
{planguage} code/print warnings/printing warnings|paint/stick to {material}/sticking to {material}"""
#: A thing, and words that make it a narrower one.
_NARROWED: Final = """Write an email that asks for a refund of my {product}/Compose an email to get a refund for my {product}/refund email for my {product}/refund/partial|full|late
Convert {format1} to {format2} in {planguage}/How do I turn {format1} into {format2} with {planguage}?/{planguage} code that makes {format2} from {format1}/{format1}/nested|compressed|invalid
How do I get {drink} out of a {color} shirt?/What removes {drink} stains from a {color} shirt?/{drink} on a {color} shirt: how do I clean it?/shirt/silk|woolen|leather
How do I undo a commit in git?/Take back a git commit/What reverts a commit with git?/commit/pushed|merged|signed
How many calories are in {food}?/What is the calorie content of {food}?/calories of {food}/{food}/fried|canned|raw
How do I train {animal}?/What is the way to train {animal}?/training {animal}/{animal}/old|deaf|wild
Which visa do I need for {country}?/What kind of visa is required for {country}?/visa for {country}/visa/transit|business|student
Where can I buy a {device}?/Which shops sell a {device}?/shops that sell a {device}/{device}/used|refurbished|broken
How do I store {food}?/What is the best way to store {food}?/storing {food}/{food}/cooked|frozen|dried
Delete the files in a folder with {planguage}/How can {planguage} remove the files of a folder?/{planguage}: remove the files in a folder/files/hidden|empty|temporary
How do I write a letter to {company}?/What should a letter to {company} look like?/letter to {company}/letter/anonymous|threatening|formal
How do I treat {illness}?/What is the treatment of {illness}?/treating {illness}/{illness}/chronic|mild|severe"""
#: From one thing to another, in wordings whose order differs.
_TURNED: Final = """convert/converting/a {format1} file/a {format2} file|change/changing/{currency1}/{currency2}|turn/turning/{structure1}/{structure2}
migrate/migrating/{database1}/{database2}|port/porting/{planguage1} code/{planguage2} code|transfer/transferring/{service1} photos/{device} storage
translate/translating/a {tongue1} text/a {tongue2} text|upgrade/upgrading/version {version1}/version {version2}|switch/switching/{framework1}/{framework2}
rewrite/rewriting/a {filetype1}/a {filetype2}"""
#: A verb and its noun, from one to the other.
_NOUNS: Final = """influence/influenced/influence did/have on|help/helped/help did/give to|criticize/criticized/criticism did/make of|support/supported/support did/give to
harm/harmed/harm did/do to|inspire/inspired/inspiration did/give to|teach/taught/lessons did/give to|attack/attacked/attacks did/make on"""


def shades() -> list[Intent]:
    """Return all intents of the families."""
    families = (_towards, _about_somebody, _states, _times, _rated, _prevented, _narrowed, _turned, _nouns)
    return [intent for family in families for intent in family()]


def _rows(lines: str) -> list[list[str]]:
    return [line.split("/") for line in lines.replace("\n", "|").split("|")]


def _lines(lines: str) -> list[list[str]]:
    return [line.split("/") for line in lines.splitlines()]


def _towards() -> Iterator[Intent]:
    for deed in _TOWARDS:

        def wordings(one: str, other: str, deed: str = deed) -> list[str]:
            return [
                f"{{name1}} and {{name2}} had a fight. Would {one} {deed} {other}?", f"Would {one} {deed} {other} after a fight of {{name1}} and {{name2}}?",
                f"After {{name1}} and {{name2}} had a fight, would {one} {deed} {other}?",
            ]  # fmt: skip

        traps = [
            ("person", wording)
            for wording in (*wordings("she", "him"), *wordings("he", "him"), *wordings("they", "him"))
        ]
        yield Intent(
            f"towards_{deed.replace(' ', '_')}",
            wordings("he", "her"),
            [*traps, ("negation", wordings("he", "her not")[0])],
        )


def _about_somebody() -> Iterator[Intent]:
    for number, (said, one, other) in enumerate(_lines(_ABOUT_SOMEBODY)):
        versions = [[_filled(f"{said} {asked}", words) for asked in (one, other)] for words in _HIM]
        mine, *others = versions[number % 3 :] + versions[: number % 3]
        traps = [("person", text) for version in others for text in version]
        yield Intent(f"somebody_{number}", [*mine, f"{mine[0]} Thanks!"], traps)


def _filled(text: str, words: dict[str, str]) -> str:
    for slot, word in words.items():
        text = text.replace(f"{{{slot}}}", word)
    return text


def _states() -> Iterator[Intent]:
    for number, (said, asked, once) in enumerate(_lines(_STATES)):
        wordings = [
            asked,
            f"Is it true that {said}?",
            f"Tell me whether {said}.",
            f"{said}, right?",
            f"I heard that {said}. Is that so?",
        ]
        traps = [
            ("tense", once), ("tense", f"Is it true that {said} no longer?"), ("tense", f"Is it true that in the past {said}?"),
            ("tense", f"Since when is it so that {said}?"), ("negation", f"Is it false that {said}?"), ("scope", f"Why is it so that {said}?"),
        ]  # fmt: skip
        yield Intent(f"state_{number}", wordings, [*traps, ("tense", once)])


def _times() -> Iterator[Intent]:
    for number, (one, two, short, at) in enumerate(_lines(_TIMES)):
        when = at.split(" ", 1)[1]
        wordings = [
            f"{one} {at}?",
            f"{two} {at}?",
            f"{short} {at}",
            f"{at[0].upper()}{at[1:]}, {one[0].lower()}{one[1:]}?",
        ]
        traps = [("order", f"{text} {other} {when}") for other in _OTHER_TIMES for text in (f"{one}", f"{short}")]
        traps += [("order", f"{two} {other} {when}?") for other in _OTHER_TIMES]
        yield Intent(f"time_{number}", wordings, traps)


def _rated() -> Iterator[Intent]:
    for number, texts in enumerate(_lines(_RATED)):
        for rate, (each, adverb) in enumerate(_RATES):
            wordings = [text.replace("{a}", each).replace("{ly}", adverb) for text in texts]
            traps = [
                ("unit", text.replace("{a}", other_each).replace("{ly}", other_adverb))
                for other, (other_each, other_adverb) in enumerate(_RATES) if other != rate for text in texts[:3]
            ]  # fmt: skip
            if (number + rate) % 2:
                yield Intent(f"rate_{number}_{adverb}", wordings, traps)


def _prevented() -> Iterator[Intent]:
    for who, base, gerund in _rows(_DEEDS):
        wordings = [
            f"How do I make {who} {base}?", f"How can I get {who} to {base}?", f"I want {who} to {base}. How?", f"What makes {who} {base}?",
        ]  # fmt: skip
        kept = [
            f"How do I keep {who} from {gerund}?", f"How can I stop {who} from {gerund}?", f"What prevents {who} from {gerund}?",
            f"I do not want {who} to {base}. What can I do?",
        ]  # fmt: skip
        name = f"{who} {base}".replace(" ", "_")
        yield Intent(f"made_{name}", wordings, [("negation", text) for text in kept])
        yield Intent(f"made_{name}", kept, [("negation", text) for text in wordings])


def _narrowed() -> Iterator[Intent]:
    for number, (*wordings, thing, narrower) in enumerate(_lines(_NARROWED)):
        traps = [
            ("condition", text.replace(thing, f"{word} {thing}", 1))
            for word in narrower.split("|")
            for text in wordings
        ]
        yield Intent(f"narrowed_{number}", wordings, traps)


def _turned() -> Iterator[Intent]:
    for verb, gerund, one, two in _rows(_TURNED):

        def wordings(source: str, aim: str, verb: str = verb, gerund: str = gerund) -> list[str]:
            return [
                f"How do I {verb} {source} to {aim}?", f"What is the way to {verb} {source} into {aim}?", f"{gerund} {source} to {aim}",
                f"I have {source} and need {aim}. How do I {verb} it?", f"How can I get {aim} from {source}?", f"{source} to {aim}: how do I {verb} it?",
            ]  # fmt: skip

        yield Intent(f"turned_{verb}", wordings(one, two), [("role", text) for text in wordings(two, one)])


def _nouns() -> Iterator[Intent]:
    for verb, past, noun, towards in _rows(_NOUNS):

        def wordings(
            one: str, two: str, verb: str = verb, past: str = past, noun: str = noun, towards: str = towards
        ) -> list[str]:
            return [
                f"How did {one} {verb} {two}?", f"What {noun} {one} {towards} {two}?", f"In what way was {two} {past} by {one}?",
                f"Tell me how {one} {past} {two}.",
            ]  # fmt: skip

        for slot in ("person", "company"):
            one, two = f"{{{slot}1}}", f"{{{slot}2}}"
            traps = [
                *(("role", text) for text in wordings(two, one)),
                ("scope", f"When did {one} {verb} {two}?"),
                ("scope", f"Why did {one} {verb} {two}?"),
            ]
            yield Intent(f"noun_{verb}_{slot}", wordings(one, two), traps)
