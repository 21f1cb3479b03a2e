"""How diverse the prompts are that one entry answers.

Paraphrases of one question share most of their words. An entry that was made to be near to everything, or that is as vague as
"tell me more", answers prompts that share hardly any: whoever asks gets its answer instead of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Final

#: Different prompts that an entry has to answer within `WINDOW_DAYS` before anything is said of them.
PROMPTS_MIN: Final = 12
#: So many of the newest are compared, each with each.
PROMPTS_MAX: Final = 40
WINDOW_DAYS: Final = 7
#: At this diversity and above an entry is put into quarantine. Of 77 intents of a bank's customers, each asked in its own loose
#: ways, 2.4 % of draws of twelve come that far; of draws across intents, 96 % do.
DIVERSITY_MAX: Final = 0.95
_WORD: Final = re.compile(r"\w+")
_ENDING: Final = re.compile(r"(?:ing|ed|es|s)$")
#: They say nothing of what a prompt is about.
_WORDS_CHARS_MIN: Final = 4


def diversity(prompts: Sequence[str]) -> float:
    """Return 1 less the mean share of words that two of the prompts have in common; 0 for fewer than two.

    Words are runs of letters and digits from four characters on, without case and ending; a prompt of shorter ones only counts
    with those. The share is that of what both have among what either has (Jaccard).
    """
    bags = [_words(prompt) for prompt in prompts]
    shares = [_share(first, second) for first, second in combinations(bags, 2)]
    return 1 - sum(shares) / len(shares) if shares else 0.0


def is_diverse(prompts: Sequence[str]) -> bool:
    """Whether an entry that answers these different prompts answers too much."""
    return len(prompts) >= PROMPTS_MIN and diversity(prompts) >= DIVERSITY_MAX


def _words(prompt: str) -> frozenset[str]:
    found = [word.lower() for word in _WORD.findall(prompt)]
    long = [word for word in found if len(word) >= _WORDS_CHARS_MIN]
    return frozenset(_ENDING.sub("", word) for word in long or found)


def _share(first: frozenset[str], second: frozenset[str]) -> float:
    either = first | second
    return len(first & second) / len(either) if either else 1.0
