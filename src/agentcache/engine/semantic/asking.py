"""What kind of answer a prompt asks for, however it is worded: "in what year" asks when, "what makes" asks why."""

from __future__ import annotations

import re
from typing import Final

_Q: Final = r"(?:what|which)(?:'s| is| are| was| were)?"
#: Where a kind of asking may begin: with the text, a sentence or a part of one. What comes next is tried there only.
_BEGINNING: Final = re.compile(r"[.?!,:;\"]\s*|\band\s+")
#: Where two begin at one place, the first of these decides.
_KINDS: Final = tuple(
    (kind, re.compile(rf"(?:(?:tell|show|explain|give|teach)(?: to)? (?:me|us)\s+)?(?:{pattern})\b"))
    for kind, pattern in (
        ("when", rf"when|since when|until when|(?:in|at|on|during|from|by|for)?\s*{_Q}(?: the)? (?:\w+ )?(?:year|date|day|month|time of year|age|century|season)|(?:at )?what time (?:is|does|do|should|will|can|did)|year of"),
        ("duration", rf"how (?:long|many (?:\w+ )?(?:seconds|minutes|hours|days|weeks|months|years)|much time|soon|quickly)|(?:for |in )how (?:long|many|much)|{_Q}(?: the)? (?:\w+ )?duration|time needed"),
        ("frequency", rf"how (?:often|frequently|regularly|many times)|{_Q}(?: the)? (?:\w+ )?(?:frequency|schedule)"),
        ("price", rf"how (?:expensive|cheap)|how much (?:does|do|is|are|did|would|will)\b.*\b(?:cost|charge|pay|price|fee|earn|salary)|{_Q}(?: the)? (?:\w+ )?(?:price|cost|fee|salary|pay)|what (?:does|do|did|would|will)\b[^.?!]*\bcost"),
        ("what", r"how much (?:is|are|makes?) (?:\d[\d.,]*|half)"),
        ("count", rf"how many|{_Q}(?: the)? (?:\w+ )?(?:number|count|population|total)|number of"),
        ("amount", r"how (?:much|big|large|high|tall|far|fast|deep|old|heavy|hot|cold|strong|wide|hard|safe|common|rare|bad|good|close)"),
        ("where", rf"where|(?:in|at|on|to|from)?\s*{_Q}(?: the)? (?:\w+ )?(?:place|location|city|country|folder|region|continent|side)|location of"),
        ("who", rf"who|(?:to |for |with |from )?whom|whose|{_Q}(?: the)? (?:\w+ )?(?:person|people|man|woman|author|painter|playwright|president|ceo|founder|inventor)|by whom"),
        ("effect", r"(?:what|which)(?: things)? (?:do|does|did|can|could|will|would|might) [^.?!]+ (?:cause|lead to|result in|bring about)(?=[.?! ]*$)|what (?!is |are |was |were |the |usually |really |often )(?:\w+ ){1,3}(?:causes|leads to|results in)(?=[.?! ]*$)"),
        ("why", rf"why|how come|for (?:what|which) reasons?|{_Q}(?: the)? (?:\w+ )?(?:reasons?|causes?)|what (?:makes|causes|caused|made)|(?:any idea|do you know) why|reasons? for"),
        ("how", rf"how|{_Q}(?: the| some| a)? (?:\w+ ){{0,3}}?(?:ways?|steps?|methods?|process|procedure|approach|command|solution)|(?:best |good )?(?:steps|ways|tips|methods|instructions)|what (?:should|do|can|must|would) (?:i|you|we|one) (?:have to )?do\b|what helps|walk me|show me how"),
        ("what", r"what|which|in which|define|explain what|meaning of"),
        ("whether", r"is|are|am|was|were|does|did|can|could|should|would|will|may|might|must|has|had|do (?:i|you|we|they|people|most|the|any|all|\w+s)|have (?:i|you|we|they)|shall"),
    )
)  # fmt: skip
#: Pieces of text of which one is there wherever the kind's pattern matches.
_HINTS: Final = {
    "when": "when|year|date|day|month|age|what time|century|season", "duration": "how|duration|time needed", "frequency": "how|schedule|frequency",
    "price": "how|price|cost|fee|salary|pay", "count": "how|number|count|population|total", "amount": "how",
    "effect": "cause|lead|result|bring", "why": "why|reason|cause|make|made|how come", "whether": "", "who": "who|person|people|man|author|painter|playwright|president|ceo|founder|inventor",
    "where": "where|place|location|city|country|folder|region|continent|side",
    "how": "how|way|step|method|process|procedure|approach|command|solution|tips|instructions|do|helps|walk",
}  # fmt: skip
_HINTED: Final = tuple(
    (kind, tuple(filter(None, _HINTS.get(kind, "").split("|"))), pattern) for kind, pattern in _KINDS
)
#: Words that belong to the asking, not to what is asked about.
WORDS_OF: Final = {
    "when": frozenset("year date day time month when".split()),
    "effect": frozenset("cause lead result bring thing".split()),
    "why": frozenset("reason cause make come idea".split()),
    "price": frozenset("price cost expensive charge much pay many".split()),
    "amount": frozenset("much".split()),
    "count": frozenset("number count total amount many".split()),
    "duration": frozenset("long time duration take soon quickly quick need many much".split()),
    "frequency": frozenset("often frequently regularly time frequency frequent many".split()),
    "how": frozenset("step method procedure process approach good right proper help".split()),
    "where": frozenset("place location".split()),
    "who": frozenset("person name".split()),
    "what": frozenset("name meaning definition".split()),
}
#: Wherever it stands: "40 is what percent of 160".
_SHARE: Final = re.compile(r"\b(?:what|which|how many|how much) percent(?:age)?\b")
_FIRST_WORD: Final = re.compile(r"[a-z]+")


def kind_of(text: str) -> str:
    """Return the kind of answer that a lower-case prompt asks for: one of the names above, or `order`."""
    if "percent" in text and _SHARE.search(text):
        return "share"
    best, place = "order", len(text) + 1
    beginnings = [(0, 0), *(found.span() for found in _BEGINNING.finditer(text))]
    for kind, hints, pattern in _HINTED:
        if hints and not any(map(text.__contains__, hints)):
            continue
        for start, end in beginnings:
            if start >= place:
                break
            if pattern.match(text, end):
                best, place = kind, start
                break
        if not place:
            break
    if best != "order":
        return best
    for word in _FIRST_WORD.findall(text):
        if word in _ANYWHERE:
            return _ASKED_AS.get(word, str(word))
    return "order"


_ASKED_AS: Final = {"which": "what", "whom": "who"}
_ANYWHERE: Final = frozenset("when where who whom why how what which whether".split())


#: An answer to one of these is never one to another.
_SHARP: Final = frozenset("when where who why price count".split())


def distance(one: str, other: str) -> float:
    """Return from 0 (the same) to 1.5 how unlikely it is that one answer does for two kinds."""
    if one == other:
        return 0.0
    pair = {one, other}
    if "share" in pair or pair <= _SHARP:
        return 1.5
    if pair <= {"what", "order", "how"}:
        return 0.3
    if pair == {"how", "whether"}:
        return 0.8
    if pair <= {"amount", "count", "price", "duration", "frequency"}:
        return 0.7
    return 0.5 if pair & {"what", "order"} else 1.0
