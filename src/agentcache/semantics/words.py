"""What pages say of modes, verifiers, exclusions, features and verdicts: one table each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from agentcache.engine.semantic.eligibility import TOKENS_MAX
from agentcache.semantics.models import Mode, VerifierKind

MODES: Final[Mapping[str, str]] = MappingProxyType({
    Mode.OFF.value: "Off: only the very same request is a hit.",
    Mode.SHADOW.value: "Shadow: looked up and compared, nothing is served. Begin here.",
    Mode.SAFE.value: "Safe: served from a fixed, high score on; raised where the evidence is against it.",
    Mode.BALANCED.value: "Balanced: as safe until the evidence shows that your target holds with more; then score, cosine, length and "
    "known answers of neighbours decide together, by the risk that was seen in this namespace. Never for negations, opposites, names and other traps.",
    Mode.CUSTOM.value: "Custom: served from a score of your own on, whatever the evidence says.",
})  # fmt: skip

VERIFIERS: Final[Mapping[str, str]] = MappingProxyType({
    VerifierKind.TREES.value: "Verifier: a small model over the differences of both texts. A tenth of the wrong hits at as many hits.",
    VerifierKind.COSINE.value: "Cosine alone: at 0.95 it served 9.7 % of traps with 33 % of the paraphrases, on pairs that neither "
    "had seen.",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What takes no part in semantic look-ups."""

    what: str
    why: str
    #: Name of the setting that lifts it; "" where none does.
    lifted_by: str = ""
    #: In words.
    lifted: str = "Never"


EXCLUSIONS: Final = (
    Exclusion(
        "Questions about what passes: today, latest, now, price, weather",
        "The right answer changes while the words do not.",
        "allows_time_bound", "By this namespace's settings",
    ),
    Exclusion(
        "A request that names a temperature above 0",
        "Whoever asks for variety does not want an earlier answer.",
        "allows_temperature", "By this namespace's settings",
    ),
    Exclusion(
        "Prompts that are not English",
        "The embedder and the verifier were measured on English.",
        "", "By an embedder for several languages",
    ),
    Exclusion(
        f"Prompts of more than {TOKENS_MAX} tokens",
        "In a long text a small difference weighs nothing, and changes the answer.",
    ),
    Exclusion(
        "A conversation that was written into one prompt",
        "Its earlier turns decide, and a likeness of the whole hides them.",
    ),
    Exclusion(
        "Tool results, images, files, sound; several answers at once, log probabilities",
        "What decides stands outside the question's words.",
    ),
    Exclusion(
        "Everything but the last user message",
        "Model, parameters, tools, system prompt and all earlier messages must be the very same.",
    ),
    Exclusion(
        "Changed digits in amounts, versions and ids; changed code, addresses and quoted words",
        "No likeness outweighs a literal that differs.",
    ),
)  # fmt: skip

#: Why a prompt is left out, and why a pair is vetoed -> in words.
LEFT_OUT: Final[Mapping[str, str]] = MappingProxyType({
    "empty": "it holds no words",
    "long": f"it has more than {TOKENS_MAX} tokens",
    "conversation": "it holds several turns of a conversation",
    "time-bound": "it asks about what passes",
    "not-english": "it does not read as English",
})  # fmt: skip
VETOES: Final[Mapping[str, str]] = MappingProxyType({
    "numbers": "a number is another one",
    "literals": "code, an address, a file or quoted words differ",
    "surplus": "one says far more than the other, and so may ask for more",
})  # fmt: skip

#: What decided on a near question -> in words.
JUDGED_BY: Final[Mapping[str, str]] = MappingProxyType({
    "normalised": "by comparing both answers word for word",
    "embedding": "by how near both answers are",
    "judge": "by the judge",
    "caller": "by who reported it",
})  # fmt: skip

#: Why a judge was not asked, or did not answer -> in words. One that is not named is shown by its name.
JUDGE_TROUBLES: Final[Mapping[str, str]] = MappingProxyType({
    "budget_used_up": "The budget of the day is used up.",
    "budget_too_small": "The budget of a day is less than one pair may cost.",
    "credential_missing": "The team keeps no credential for this provider any more.",
    "provider_not_found": "This server has no such provider any more, or it has no chat models.",
    "price_unknown": "The price of this model is not known here.",
    "provider_refused": "The provider refused the call.",
    "upstream_timeout": "The provider did not answer in time.",
    "upstream_unreachable": "The provider could not be reached.",
    "upstream_cut": "The provider's answer broke off.",
    "upstream_invalid": "The provider's answer was not HTTP.",
    "store_unavailable": "The cache could not be read.",
})  # fmt: skip

#: Verdict of a comparison -> tone, word, sentence; `{veto}` stands for why a pair is vetoed.
VERDICTS: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType({
    "same": ("good", "One question", "Both have one normal form, so the stored answer is served in every mode but off and shadow."),
    "hit_safe": ("good", "Hit", "The score is at or above the safe threshold: served in the modes safe and balanced."),
    "hit_balanced": (
        "warn", "Hit in balanced only",
        "Below the safe threshold and above the balanced one: served in the mode balanced, once evidence allows it.",
    ),
    "no_hit": ("bad", "No hit", "The score is below both thresholds: the provider is asked."),
    "hit_risk": (
        "good", "Hit", "By what was compared in this namespace the risk is within its limit: served in the mode balanced.",
    ),
    "risky": ("bad", "No hit", "By what was compared in this namespace the risk is above its limit: the provider is asked."),
    "trapped": (
        "bad", "No hit",
        "They differ in a way that no evidence opens below the balanced threshold: the provider is asked.",
    ),
    "held": (
        "warn", "No hit with this embedder",
        "The score would do, but the embedder tells like questions from the same ones too badly to be served by: the provider is asked.",
    ),
    "vetoed": ("bad", "No hit", "{veto}. No score outweighs that: the provider is asked."),
    "left_out": ("quiet", "Not looked up", "Prompts like this take no part: the provider is asked."),
    "unknown": ("quiet", "No score", "Without an embedder whose cosine can be read there is no score."),
})  # fmt: skip

#: What stands above the features of a pair, with a score and without one.
FEATURES_LEAD: Final = (
    "How the prompts differ, and by how much log-odds that moved the score; what moved it most is first."
)
FEATURES_LEAD_UNSCORED: Final = "How the prompts differ. There is no score that this could have moved."

#: Feature -> what it measures. One that is not named is shown by its name.
FEATURES: Final[Mapping[str, str]] = MappingProxyType({
    "cosine": "cosine of both vectors",
    "margin": "lead over the next neighbour",
    "trigrams": "common runs of three letters",
    "overlap": "common words, by rarity",
    "overlap_synonyms": "common words and synonyms",
    "overlap_words": "common words, each alike",
    "rarest_unmatched": "rarest word that only one has",
    "unmatched_both": "words that only one has, on both sides",
    "unmatched_more": "words that only one has, on the longer side",
    "one_sided": "words added on one side only",
    "related_share": "words related to one of the other's",
    "numbers_changed": "numbers changed",
    "numbers_added": "numbers added",
    "numbers_reordered": "numbers in another order",
    "units_changed": "units changed",
    "negation_parity": "negated on one side only",
    "antonyms": "opposites",
    "polarity": "opposite direction",
    "kinds": "other things of one kind",
    "names_changed": "names changed",
    "names_added": "names added",
    "inversions": "words in another order",
    "inversions_without_one": "words in another order, all but one",
    "neighbours": "neighbouring words that both have",
    "exchanged": "words in each other's place",
    "breaks": "places where the order breaks",
    "order_conflict": "who does what to whom, by order",
    "passive_conflict": "who does what to whom, by voice",
    "role_changes": "roles exchanged",
    "question_changed": "another question word",
    "scopes": "other scope: all, some, only",
    "orders": "before and after",
    "directions": "to and from",
    "modals": "can, must, should",
    "connectors": "and, or, but",
    "conditions": "conditions added",
    "degrees": "more, less, most",
    "people": "another person",
    "tense": "another tense",
    "literals": "literals that differ",
    "length_ratio": "length of the shorter by the longer",
    "content_total": "words that carry meaning, both",
    "content_fewest": "words that carry meaning, the shorter",
    "run": "longest common run of words",
    "turned": "words turned round, by how alike they are",
    "turned_count": "things turned round",
    "aims_exchanged": "start and aim exchanged",
    "turn_explained": "another order that means the same",
    "anchors_changed": "to, via, for, against",
    "times_changed": "in, before, after or since a time",
    "narrowed": "a thing narrowed on one side only",
    "narrowed_both": "a thing narrowed on both sides",
    "rates_changed": "a day, a month, a year",
    "past_state": "what used to be, on one side only",
    "persons_exchanged": "one person for another",
    "units_lost": "a unit on one side only",
    "phrases_less": "phrases that only one has, on both sides",
    "phrases_more": "phrases that only one has, on the longer side",
    "asked_turned": "who does it is asked, and to whom it is done",
    "deeds_less": "another deed in front, on the nearer side",
    "deeds_more": "another deed in front, on the farther side",
    "opposites_of_a_kind": "opposites by way of a synonym",
    "pieces_lost": "what only one has, by what its words mean in the sentence",
    "pieces_lost_less": "what only one has in the sentence, on the side with less",
    "pieces_lost_more": "what only one has in the sentence, on the side with more",
    "pieces_worst": "what matters most in the sentence, and only one has",
    "pieces_second": "what matters second in the sentence, and only one has",
    "pieces_worst_both": "what matters most in the sentence, where each has something of its own",
    "case_changed": "the speaker does it, and has it done",
    "alike": "how near the words are, all together",
    "alike_least": "the word farthest from any of the other's",
    "alike_second": "the word second farthest from any of the other's",
    "exchanged_alike": "how near exchanged words are, on average",
    "exchanged_least": "how near exchanged words are, the farthest pair",
    "left_over_less": "meaning that only one has, on the side with less",
    "left_over_more": "meaning that only one has, on the side with more",
    "left_over_most": "the word that adds most meaning on one side",
    "bag": "how near all words are as one sum",
    "remainders": "how near the words are that only one has, as one sum",
    "function_alike": "how near the small words are that only one has",
})  # fmt: skip


def judge_trouble(code: str, status: int | None) -> str:
    """Return what went wrong with a judge."""
    text = JUDGE_TROUBLES.get(code, f"It was not asked: {code.replace('_', ' ')}.")
    return text if status is None else f"{text[:-1]} (status {status})."


def feature(name: str) -> str:
    """Return what a feature measures."""
    return FEATURES.get(name, name.replace("_", " "))
