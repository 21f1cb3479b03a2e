"""Which thing comes first whatever the wording, and what narrows a thing, a time or a rate: features of who stands where.

"From Rome to Oslo" and "to Oslo from Rome" name the same first thing, "A influences B" and "the influence of B on A" do not.
Each content word has an anchor, the function word that governs its phrase; anchors have ranks, and two things stand in the
order of their ranks, then in that of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import lt
from typing import Final

from agentcache.engine.semantic.alignment import Nearness, weight
from agentcache.engine.semantic.lexicon import ANTONYM, KIND, lexicon, opposites_by_synonym, relation
from agentcache.engine.semantic.texts import Text
from agentcache.engine.semantic.word_vectors import nearness_of
from agentcache.engine.semantic.words import ANCHORS

#: Names in the order of the values, with the directions that `features.DIRECTION_OF` explains.
ROLES: Final[dict[str, int]] = {
    "turned": -1,
    "turned_count": -1,
    "aims_exchanged": -1,
    "turn_explained": 0,
    "anchors_changed": -1,
    "times_changed": -1,
    "narrowed": -1,
    "narrowed_both": -1,
    "rates_changed": -1,
    "past_state": -1,
    "persons_exchanged": -1,
    "units_lost": -1,
    "phrases_less": -1,
    "phrases_more": -1,
    "asked_turned": -1,
    "deeds_less": -1,
    "deeds_more": -1,
    "opposites_of_a_kind": -1,
    "case_changed": -1,
}
_TIMES: Final = frozenset({"before", "after", "since", "until"})
_DATES: Final = frozenset(
    """monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september october
    november december noon midnight christmas easter""".split()
)
#: What an anchor makes of what it governs, where another one makes something else of it.
_SENSES: Final = {
    **dict.fromkeys("to into onto toward towards".split(), "aim"), "from": "start", "via": "way", "through": "way", "without": "lack", "against": "against",
    "for": "for", "than": "than", "instead": "instead", "by": "by", "over": "over", "under": "under", "between": "between", "before": "before",
    "until": "before", "after": "after", "since": "after", "with": "with", "on": "on",
}  # fmt: skip
#: Said of one thing by either word.
_ALIKE_SENSES: Final = frozenset(
    frozenset(pair.split("/"))
    for pair in "aim/for with/by way/by way/with for/with than/over instead/over instead/than by/for start/by start/after start/with on/aim on/for on/with on/by on/over on/under on/against on/between start/between aim/between".split()
)
#: With these, which of two words they govern is all that says which is which.
_STRONG: Final = frozenset({"aim", "start", "than", "instead", "before", "after", "by", "on"})
#: Two words whose vectors are at least so near are things of one sort: either could stand in the place of the other.
_OF_ONE_SORT: Final = 0.3
#: As in `features`: beyond so many words nothing is paired.
_PAIRED_MAX: Final = 24


def role_features(
    texts: tuple[Text, Text], links: Sequence[tuple[int, int]], turned: Turns, unmatched: tuple[Sequence[int], Sequence[int]],
    nearness: Nearness, *, undone: bool,
) -> list[float]:  # fmt: skip
    """Return the values of `ROLES`.

    `unmatched` are the places of the words that the other prompt lacks, `nearness` is how near its nearest word is to each.
    `undone` tells that the order undoes an opposite: then times differ as they must.
    """
    first, second = texts
    added = (phrases_added(*of) for of in zip(texts, unmatched, nearness, strict=True))
    # Most common words are governed by the same one in both.
    moved = [pair for pair in links if first.anchors[pair[0]] != second.anchors[pair[1]]]
    return [
        turned.most,
        float(turned.count),
        float(turned.aims),
        float(turned.is_explained),
        anchors_changed(first, second, moved),
        0.0 if undone else times_changed(first, second, moved),
        *narrowed(first, second, links, *unmatched),
        rates_changed(first, second),
        float(first.is_past != second.is_past),
        persons_exchanged(first, second),
        units_lost(first, second),
        *sorted(added),
        asked_turned(first, second),
        *sorted(deed_lost(*of) for of in zip(texts, unmatched, nearness, strict=True)),
        opposites_of_a_kind(texts, unmatched),
        case_changed(first, second),
    ]


@dataclass(frozen=True, slots=True)
class Turns:
    """What stands in another order."""

    #: How alike the most alike two words are whose order differs, 0 to 1.
    most: float
    #: How many pairs of things there are.
    count: int
    #: How many pairs where one text makes one of them the aim (the start, what is compared with), and the other text the other.
    aims: int
    #: Whether there are two of one sort that moved, and anchors or opposites say that they mean the same.
    is_explained: bool


def turns(first: Text, second: Text, links: Sequence[tuple[int, int]], opposed: bool) -> Turns:
    """Return what stands in another order.

    `opposed` tells that the prompts compare with opposite words ("larger", "smaller"): then the other order is the same one.
    """
    most, count, aims, explained = 0.0, 0, 0, False
    links = links[:_PAIRED_MAX]
    if not opposed and _stand_alike(first, second, links):
        return Turns(most, count, aims, explained)
    places = [_Placed(here, there, first.anchors[here], second.anchors[there]) for here, there in links]
    for number, one in enumerate(places):
        for other in places[number + 1 :]:
            was_moved = (one.here < other.here) != (one.there < other.there)
            is_turned = (one.ours < other.ours) != (one.theirs < other.theirs)
            if is_turned and not was_moved:
                is_turned = (one.is_anchored_anew and other.is_anchored_anew) or one.is_by or other.is_by
            if not (is_turned or was_moved or opposed):
                continue
            alike = _alike(first, one.here, other.here)
            if is_turned != opposed:
                most = max(most, alike)
                count += _is_thing(first, one.here) and _is_thing(first, other.here)
                aims += one.exchanges_aims_with(other)
            elif alike >= _OF_ONE_SORT:
                explained = True
    return Turns(most, count, aims, explained)


def _stand_alike(first: Text, second: Text, links: Sequence[tuple[int, int]]) -> bool:
    """Tell whether all common words stand in one order and are governed by the same words, as in most near prompts."""
    theirs = [there for _, there in links]
    return all(map(lt, theirs, theirs[1:])) and all(
        first.anchors[here] == second.anchors[there] for here, there in links
    )


class _Placed:
    """A word that both prompts have: its places, and its ranks there."""

    __slots__ = ("here", "is_anchored_anew", "is_by", "our_sense", "ours", "their_sense", "theirs", "there")

    def __init__(self, here: int, there: int, anchor: str, other_anchor: str) -> None:
        self.here, self.there = here, there
        self.ours = ANCHORS.get(anchor, 0), here
        self.theirs = ANCHORS.get(other_anchor, 0), there
        self.is_anchored_anew = anchor != other_anchor
        self.is_by = (anchor == "by") != (other_anchor == "by")
        self.our_sense, self.their_sense = _SENSES.get(anchor, ""), _SENSES.get(other_anchor, "")

    def exchanges_aims_with(self, other: _Placed) -> bool:
        """Tell whether what governs this one in one text governs the other one in the other."""
        ours, theirs = (self.our_sense, other.our_sense), (self.their_sense, other.their_sense)
        return ours[0] != ours[1] and ours == theirs[::-1] and bool(_STRONG & {*ours})


def anchors_changed(first: Text, second: Text, moved: Sequence[tuple[int, int]]) -> float:
    """Return how many common words, of those with other anchors, are governed by words of different senses: "to Rome", "via Rome"."""
    pairs = ((_SENSES.get(first.anchors[here]), _SENSES.get(second.anchors[there])) for here, there in moved)
    return float(
        sum(bool(one and other) and one != other and {one, other} not in _ALIKE_SENSES for one, other in pairs)
    )


def _is_thing(text: Text, place: int) -> bool:
    word = text.content[place]
    return word in text.names or word[0].isdigit() or bool(lexicon().kinds.get(word))


def _alike(text: Text, one: int, other: int) -> float:
    """Return how far two words of a prompt are things of one sort, 0 to 1."""
    first, second = text.content[one], text.content[other]
    if (first in text.names and second in text.names) or (first[0].isdigit() and second[0].isdigit()):
        return 1.0
    if relation(first, second) in {KIND, ANTONYM}:
        return 1.0
    return max(0.0, nearness_of(first, second))


def times_changed(first: Text, second: Text, moved: Sequence[tuple[int, int]]) -> float:
    """Return how many common words, of those with other anchors, are placed in time another way: "in 2019", "since 2019"."""
    count = 0
    for here, there in moved:
        one, other = first.anchors[here], second.anchors[there]
        if one in _TIMES or other in _TIMES:
            # "After the fight" and "had a fight" may be the same time, "before six" and "at six" are not.
            count += (
                (one in _TIMES and other in _TIMES) or first.content[here][0].isdigit() or first.content[here] in _DATES
            )
    return float(count)


def narrowed(
    first: Text, second: Text, links: Sequence[tuple[int, int]], left: Sequence[int], right: Sequence[int]
) -> tuple[float, float]:
    """Return how many common words stand behind a word of one prompt alone ("a *partial* refund"), and behind one in either."""
    ours, theirs = _narrowing(first, left), _narrowing(second, right)
    if not ours and not theirs:
        return 0.0, 0.0
    alone = sum((here in ours) != (there in theirs) for here, there in links)
    both = sum(here in ours and there in theirs for here, there in links)
    return float(alone), float(both)


def _narrowing(text: Text, unmatched: Sequence[int]) -> set[int]:
    return {place + 1 for place in unmatched if place + 1 < len(text.content) and text.follows[place + 1]}


def rates_changed(first: Text, second: Text) -> float:
    """Return 2 where both name a rate and another one ("monthly", "a year"), 1 where only one does."""
    if first.rates == second.rates:
        return 0.0
    return 2.0 if first.rates and second.rates else 1.0


def persons_exchanged(first: Text, second: Text) -> float:
    """Return how many times one person stands for another: "my app", "their app"."""
    if first.persons == second.persons:
        return 0.0
    gone, new = list(first.persons), list(second.persons)
    for person in first.persons:
        if person in new:
            gone.remove(person)
            new.remove(person)
    return float(min(len(gone), len(new)))


def asked_turned(first: Text, second: Text) -> float:
    """Return 1 where one prompt asks who does what the other one asks to whom it is done, else 0."""
    if first.asks_object == second.asks_object:
        # "What roses attract", "what attracts roses".
        ours, theirs = first.asks_who, second.asks_who
        return float(ours != theirs and ours in second.content and theirs in first.content)
    verb, other = (second.asks_who, first) if first.asks_object else (first.asks_who, second)
    return float(bool(verb) and verb in other.content)


def units_lost(first: Text, second: Text) -> float:
    """Return how many numbers of both have a unit in one alone: "27 percent of 311", "what percent of 311 is 27"."""
    if not first.numbers or not second.numbers:
        return 0.0
    ours, theirs = ({number.value: number.unit for number in text.numbers} for text in (first, second))
    return float(sum(bool(ours[value]) != bool(theirs[value]) for value in ours.keys() & theirs.keys()))


def phrases_added(text: Text, unmatched: Sequence[int], nearness: Sequence[float]) -> float:
    """Return what those phrases of a prompt weigh of whose words the other prompt has none: "for free", "on a phone"."""
    near = dict(zip(unmatched, nearness, strict=False))
    if not near:
        return 0.0
    total = 0.0
    for phrase in _phrases(text.anchors, text.follows):
        if text.anchors[phrase[0]] and near.keys() >= {*phrase}:
            total += max(weight(text.content[place]) * (1 - near[place]) for place in phrase)
    return total


def deed_lost(text: Text, unmatched: Sequence[int], nearness: Sequence[float]) -> float:
    """Return what the first word of content weighs, mostly the deed, where the other prompt lacks it: "merge", "rebase"."""
    return weight(text.content[0]) * (1 - nearness[0]) if unmatched and not unmatched[0] and nearness else 0.0


def opposites_of_a_kind(texts: tuple[Text, Text], unmatched: tuple[Sequence[int], Sequence[int]]) -> float:
    """Return how many words that the other prompt lacks have an opposite there by way of a synonym."""
    ours, theirs = (
        [text.content[place] for place in of[:_PAIRED_MAX]] for text, of in zip(texts, unmatched, strict=True)
    )
    return float(sum(not opposites_by_synonym(word).isdisjoint(theirs) for word in ours))


def case_changed(first: Text, second: Text) -> float:
    """Return 1 where the speaker does it in one prompt and has it done in the other: "do I teach him", "does he teach me"."""
    ours, theirs = ({"i", "me"}.intersection(text.words) for text in (first, second))
    return float(len(ours) == len(theirs) == 1 and ours != theirs)


@lru_cache(maxsize=4096)
def _phrases(anchors: tuple[str, ...], follows: tuple[bool, ...]) -> list[range]:
    """Return the places of the words of each phrase: what follows an anchor without a break."""
    starts = [
        place for place, anchor in enumerate(anchors) if not place or not follows[place] or anchor != anchors[place - 1]
    ]
    return [range(*ends) for ends in pairwise([*starts, len(anchors)])]
