"""What two prompts differ in, as numbers. Every feature is the same for (a, b) and (b, a)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from operator import lt
from typing import Final

from agentcache.engine.semantic.alignment import ALIGNMENT, alignment, weight, weights_of
from agentcache.engine.semantic.asking import distance
from agentcache.engine.semantic.lexicon import ANTONYM, KIND, SYNONYM, relation
from agentcache.engine.semantic.roles import ROLES, role_features, turns
from agentcache.engine.semantic.texts import Text
from agentcache.engine.semantic.words import (
    CONDITIONS,
    CONNECTORS,
    DEGREES,
    DIRECTIONS,
    MODALS,
    OPPOSITE_DIRECTIONS,
    ORDERS,
    SCOPES,
)  # fmt: skip

#: Names in the order of the values, each with the direction in which it may move the score: 1 = a larger value never
#: lowers it, -1 = a larger value never raises it, 0 = either.
DIRECTION_OF: Final[dict[str, int]] = {
    "cosine": 1,
    "margin": 0,
    "trigrams": 1,
    "overlap": 1,
    "overlap_synonyms": 1,
    "overlap_words": 1,
    "rarest_unmatched": -1,
    "unmatched_both": -1,
    "unmatched_more": -1,
    "one_sided": -1,
    "related_share": 0,
    "numbers_changed": -1,
    "numbers_added": -1,
    "numbers_reordered": -1,
    "units_changed": -1,
    "negation_parity": -1,
    "antonyms": 0,
    "polarity": -1,
    "preventions": -1,
    "kinds": -1,
    "names_changed": -1,
    "names_added": -1,
    "inversions": -1,
    "inversions_without_one": -1,
    "breaks": -1,
    "neighbours": 1,
    "exchanged": -1,
    "order_conflict": -1,
    "unexplained_order": -1,
    "passive_conflict": -1,
    "role_changes": -1,
    "question_changed": -1,
    "scopes": -1,
    "orders": -1,
    "directions": -1,
    "modals": -1,
    "connectors": -1,
    "conditions": -1,
    "degrees": -1,
    "people": -1,
    "tense": -1,
    "literals": -1,
    "length_ratio": 0,
    "content_total": 0,
    "content_fewest": 0,
    "run": 0,
    **ALIGNMENT,
    **ROLES,
}
FEATURES: Final = tuple(DIRECTION_OF)
#: How alike two prompts look. Paraphrases and traps share most of their words: the networks may take this either way, where the trees
#: are bound. What nothing may take for good is what differs.
LIKENESS: Final = frozenset({
    "trigrams", "overlap", "overlap_synonyms", "overlap_words", "neighbours", "alike", "alike_least", "alike_second", "bag",
})  # fmt: skip

#: What an unmatched pair of words of these relations still counts as common, in `overlap_synonyms`.
_SYNONYM_WORTH: Final = 0.85
#: A word of a prompt beyond so many content words is not paired one by one: it costs quadratic time.
_PAIRED_MAX: Final = 24
#: Nor is a sequence of common words followed further.
_RUN_MAX: Final = 128


def pair_features(asked: Text, stored: Text, cosine: float, margin: float) -> list[float]:
    """Return the values of `FEATURES`; `margin` is the best cosine less the next best distinct one, 0 where there is none."""
    is_after = asked.normal > stored.normal or (asked.normal == stored.normal and asked.raw > stored.raw)
    first, second = (stored, asked) if is_after else (asked, stored)
    ours, theirs = list(first.content), list(second.content)
    links, left, right = _match(ours, theirs)
    our_weights, their_weights = weights_of(first.content), weights_of(second.content)
    total = sum(our_weights) + sum(their_weights) or 1.0
    same = total - sum(our_weights[index] for index in left) - sum(their_weights[index] for index in right)
    left_words, right_words = [ours[index] for index in left], [theirs[index] for index in right]
    related, pairs, antonyms, kinds, open_words = _relate(left_words, right_words)
    # "Less smart" is told as "stupid": that stands against whatever is no synonym of it.
    antonyms += not antonyms and not (first.lessened | second.lessened).isdisjoint(open_words)
    synonyms = len(pairs)
    links = sorted([*links, *((left[one], right[other]) for one, other in pairs)])
    unmatched = sorted((sum(map(weight, left_words)) - related / 2, sum(map(weight, right_words)) - related / 2))
    parity = (first.negations + second.negations) % 2
    function_opposites = _opposed(
        first.function_words - second.function_words, second.function_words - first.function_words
    )
    compares = bool(first.degrees and second.degrees) and antonyms % 2 == 1
    turned = turns(first, second, links, compares)
    # "A before B" and "B after A", "A is larger than B" and "B is smaller than A": the order undoes the opposite.
    undone = turned.is_explained and not turned.count and (compares or function_opposites == 1)
    antonyms += function_opposites
    polarity = parity + antonyms - undone
    aligned, nearness = alignment(first, second, left, right)
    words = set(first.words), set(second.words)
    return [
        cosine,
        margin,
        _dice(first.trigrams, second.trigrams),
        same / total,
        (same + _SYNONYM_WORTH * related) / total,
        _dice(*words),
        max((weight(word) for word in open_words), default=0.0),
        max(0.0, unmatched[0]),
        max(0.0, unmatched[1]),
        unmatched[1] if min(len(left), len(right)) == 0 else 0.0,
        synonyms / (min(len(left), len(right)) or 1),
        *_numbers(first, second),
        float(parity),
        float(antonyms),
        float(polarity % 2 if polarity < 3 else 1),
        float(abs(first.preventions - second.preventions)),
        float(kinds),
        *_names(first, second, left_words, right_words),
        *_arrangement(first, second, links),
        float(_role_changes(first, second, links)),
        distance(first.question, second.question),
        *_small_words(first, second, open_words),
        float(len(first.literals ^ second.literals)),
        min(len(first.words), len(second.words)) / (max(len(first.words), len(second.words)) or 1),
        float(min(len(ours) + len(theirs), 60)),
        float(min(len(ours), len(theirs), 30)),
        _longest_run(first.words, second.words) / (max(len(first.words), len(second.words)) or 1),
        *aligned,
        *role_features((first, second), links, turned, (left, right), nearness, undone=undone),
    ]


def _small_words(first: Text, second: Text, open_words: list[str]) -> list[float]:
    """Return the features from `scopes` to `tense`."""
    function = first.function_words ^ second.function_words
    ours, theirs = _others(first.persons), _others(second.persons)
    return [
        float(len(function & SCOPES) + _open(open_words, SCOPES)),
        float(len(function & ORDERS) + _open(open_words, ORDERS)),
        float(len(function & DIRECTIONS)),
        float(len(function & MODALS)),
        float(len(function & CONNECTORS)),
        float(len(function & CONDITIONS) + _open(open_words, CONDITIONS)),
        float(len(function & DEGREES) + _open(open_words, DEGREES) + 2 * len(first.degrees ^ second.degrees)),
        float(bool(ours and theirs) and ours != theirs),
        float(bool(first.tense and second.tense and first.tense != second.tense) + ("used" in function)),
    ]


def _dice(ours: frozenset[str] | set[str], theirs: frozenset[str] | set[str]) -> float:
    return 2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours or theirs else 1.0


def _match(ours: list[str], theirs: list[str]) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Pair equal words, each once and in order, and return the pairs and what is left on either side."""
    places: dict[str, list[int]] = {}
    for index, word in enumerate(theirs):
        places.setdefault(word, []).append(index)
    links, left = [], []
    for index, word in enumerate(ours):
        free = places.get(word)
        if free:
            links.append((index, free.pop(0)))
        else:
            left.append(index)
    right = sorted(index for rest in places.values() for index in rest)
    return links, left, right


def _opposed(ours: frozenset[str], theirs: frozenset[str]) -> int:
    """Count opposites among function words ("before" and "after")."""
    return sum(any(relation(word, other) == ANTONYM for other in theirs) for word in ours)


def _relate(ours: Sequence[str], theirs: Sequence[str]) -> tuple[float, list[tuple[int, int]], int, int, list[str]]:
    """Pair unmatched words by what they mean to each other.

    Return the weight of synonyms and their places, the numbers of opposites and of things of a kind, and the words that
    have no synonym on the other side.
    """
    total, antonyms, kinds = 0.0, 0, 0
    synonyms: list[tuple[int, int]] = []
    alone = list(ours[_PAIRED_MAX:])
    taken: set[int] = set()
    opposed: set[int] = set()
    free = list(enumerate(theirs[:_PAIRED_MAX]))
    for place, word in enumerate(ours[:_PAIRED_MAX]):
        found = [relation(word, other) for _, other in free]
        if not any(found):
            alone.append(word)
            continue
        opposite = free[found.index(ANTONYM)][0] if ANTONYM in found else None
        if opposite is not None and opposite not in opposed:
            antonyms += 1
            opposed.add(opposite)
            alone.append(word)
            continue
        if SYNONYM in found:
            synonym, other = free.pop(found.index(SYNONYM))
            synonyms.append((place, synonym))
            taken.add(synonym)
            total += weight(word) + weight(other)
            continue
        alone.append(word)
        kinds += KIND in found
    alone += [word for index, word in enumerate(theirs) if index not in taken]
    return total, synonyms, antonyms, kinds, alone


def _numbers(first: Text, second: Text) -> tuple[float, float, float, float]:
    ours, theirs = [number.value for number in first.numbers], [number.value for number in second.numbers]
    if ours == theirs:
        pairs = zip(first.numbers, second.numbers, strict=True)
        return 0.0, 0.0, 0.0, float(sum(bool(one.unit and two.unit and one.unit != two.unit) for one, two in pairs))
    gone, new = _surplus(ours, theirs), _surplus(theirs, ours)
    return float(min(gone, new)), float(abs(gone - new)), float(not gone and not new), 0.0


def _surplus(ours: list[str], theirs: list[str]) -> int:
    rest = list(theirs)
    count = 0
    for value in ours:
        if value in rest:
            rest.remove(value)
        else:
            count += 1
    return count


def _names(first: Text, second: Text, left: list[str], right: list[str]) -> tuple[float, float]:
    gone = sum(word in first.names for word in left)
    new = sum(word in second.names for word in right)
    return float(min(gone, new)), float(abs(gone - new))


def _arrangement(first: Text, second: Text, links: list[tuple[int, int]]) -> list[float]:
    """Return the features from `inversions` to `passive_conflict`."""
    inversions, rest, breaks = 0.0, 0.0, 0
    exchanged = conflicts = unexplained = 0
    paired = links[:_PAIRED_MAX]
    if not _is_rising([there for _, there in paired]):
        inversions, rest, breaks = _order(paired)
        exchanged, conflicts, unexplained = _exchanges(first, second, paired)
    passive = _passive(first, second, links)
    if passive < 0:
        # The same doer in active and passive explains the order.
        inversions = rest = 0.0
        conflicts = unexplained = 0
    neighbours = _dice(_neighbours(first.content), _neighbours(second.content))
    return [
        inversions,
        rest,
        float(breaks),
        neighbours,
        float(exchanged),
        float(conflicts),
        float(unexplained),
        float(passive > 0),
    ]


def _order(links: list[tuple[int, int]]) -> tuple[float, float, int]:
    """Return how far the order of common words differs.

    That is the share of pairs whose order differs, the same when the one word that moved most is left out (a verb goes to
    the end of a passive), and how many neighbours are no longer so.
    """
    places = [there for _, there in links]
    count = len(places)
    ranks = {place: rank for rank, place in enumerate(sorted(places))}
    breaks = sum(ranks[places[index + 1]] - ranks[places[index]] != 1 for index in range(count - 1))
    moves = [0] * count
    for one in range(count):
        for other in range(one + 1, count):
            if places[one] > places[other]:
                moves[one] += 1
                moves[other] += 1
    inverted = sum(moves) / 2
    if count == 2:
        return 1.0, 1.0, breaks
    # "If A, B" became "B if A": two whole parts changed places.
    first_part = places.index(min(places))
    if breaks == 1 and min(first_part, count - first_part) > 1:
        return 0.0, 0.0, breaks
    whole, rest = count * (count - 1) / 2, (count - 1) * (count - 2) / 2
    return inverted / whole, (inverted - max(moves)) / rest, breaks


def _is_rising(places: list[int]) -> bool:
    """Tell whether the common words, told apart by their places, stand in one order: most near prompts need no more."""
    return all(map(lt, places, places[1:]))


@lru_cache(maxsize=4096)
def _neighbours(words: tuple[str, ...]) -> set[str]:
    """Return the pairs of neighbouring words, whichever stands first."""
    return {f"{one} {other}" if one < other else f"{other} {one}" for one, other in pairwise(words)}


def _passive(first: Text, second: Text, links: list[tuple[int, int]]) -> int:
    """Return 1 where an active and a passive sentence have the doer exchanged, -1 where they have the same, else 0."""
    if first.is_passive == second.is_passive:
        return 0
    if second.is_passive:
        first, second = second, first
        links = sorted((there, here) for here, there in links)
    agent = next((pair for pair in links if first.before[pair[0]] == "by"), None)
    if agent is None or agent == links[0]:
        return 0
    return 1 if agent[1] > links[0][1] else -1


def _exchanges(first: Text, second: Text, links: list[tuple[int, int]]) -> tuple[int, int, int]:
    """Return how many pairs of common words stand in each other's place, and how many changed order without reason: alike ones, all.

    In each other's place: after the function words of the other ("than Java", "than Go"). A reason for another order is
    that each took its function word along ("from Rome to Oslo", "to Oslo from Rome"); for words of no common kind it is
    enough that one did ("in winter").
    """
    exchanged = conflicts = unexplained = 0
    for number, (here, there) in enumerate(links):
        for other_here, other_there in links[number + 1 :]:
            if there < other_there:
                continue
            one, other = first.before[here], first.before[other_here]
            one_then, other_then = second.before[there], second.before[other_there]
            if one == one_then and other == other_then and (one or other):
                continue
            exchanged += one == other_then and other == one_then and one != other
            conflicts += _are_alike(first, first.content[here], first.content[other_here])
            unexplained += not (one and one == one_then) and not (other and other == other_then)
    return exchanged, conflicts, unexplained


def _are_alike(text: Text, one: str, other: str) -> bool:
    if one in text.names and other in text.names:
        return True
    return (one[0].isdigit() and other[0].isdigit()) or relation(one, other) in {KIND, ANTONYM}


def _role_changes(first: Text, second: Text, links: list[tuple[int, int]]) -> int:
    """Count the common words that stand after the opposite function word ("to Paris", "from Paris")."""
    pairs = ((first.before[one], second.before[two]) for one, two in links)
    return sum(one != two and frozenset((one, two)) in OPPOSITE_DIRECTIONS for one, two in pairs)


def _open(words: list[str], of: frozenset[str]) -> int:
    return sum(word in of for word in words)


def _others(persons: tuple[str, ...]) -> list[str]:
    return [person for person in persons if person != "speaker"]


def _longest_run(ours: tuple[str, ...], theirs: tuple[str, ...]) -> float:
    """Return the length in words of the longest sequence that both have."""
    # Each word as a letter: a search in a string is many times as quick as a comparison word by word.
    letters: dict[str, int] = {}
    left, right = (
        "".join([chr(letters.setdefault(word, len(letters))) for word in words[:_RUN_MAX]]) for words in (ours, theirs)
    )
    best = 0
    for start in range(len(left)):
        while start + best < len(left) and left[start : start + best + 1] in right:
            best += 1
    return float(best)
