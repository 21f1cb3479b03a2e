"""Words and phrases that `perturbing` puts in, takes out and exchanges."""

from __future__ import annotations

import re
from typing import Final

PREFIXES: Final = (
    "Please ", "Hi, ", "Hello! ", "Hey there, ", "Quick question: ", "Could you help me? ", "I was wondering: ", "Hi team, ",
    "Sorry to bother you, ", "One more thing: ", "Good morning, ", "I have a question. ", "Just curious: ", "Ok, ",
    "Help: ", "Maybe you know: ", "My question is: ", "Can you tell me: ", "So, ",
)  # fmt: skip
SUFFIXES: Final = (
    ", please", " thanks", ". Thanks in advance!", "? Thank you.", ", thanks a lot", " pls", "? Any help is welcome.", ". Thx", "?",
    ". I'd appreciate any help.",
)  # fmt: skip
INTENSIFIERS: Final = ("actually", "really", "basically", "truly", "simply", "indeed", "possibly")

#: Words for which any of the others does in nearly any sentence.
SAFE_SYNONYMS: Final[dict[str, list[str]]] = {
    word: [other for other in words if other != word]
    for words in (
        line.split("|")
        for line in """fix|repair|buy|purchase
begin|start
big|large
quick|fast
show|display
choose|select|pick
error|mistake
movie|film
company|firm
important|essential
difference|distinction
advantage|benefit
doctor|physician
kids|children
change|modify
delete|remove|erase
create|make
write|compose|draft
smart|clever
photo|picture
car|automobile
often|frequently
allowed|permitted
usually|typically
approximately|roughly
house|home
shop|store
trip|journey
reason|cause
explain|describe
summarize|sum up
employee|worker
sick|ill
many|numerous
use|utilize
try|attempt
answer|reply
finish|complete
money|cash
phone|telephone
function|routine
method|approach|technique
steps|procedure
improve|enhance
reduce|lower|decrease
increase|raise
safe|secure
wrong|incorrect
difficult|hard
easy|simple
common|widespread
famous|well-known
buying|purchasing
making|creating
fee|charge
cancel|call off
account|profile
immediately|right away
possible|feasible
verify|confirm
customers|clients
issue|problem|trouble
happen|occur
happened|occurred
list|enumerate
utilize|use|employ
allows|enables|lets
contains|includes
large|big|huge
requires|needs
ensure|make sure
additional|extra|further
several|various""".splitlines()
    )
    for word in words
    if " " not in word
}  # fmt: skip

_HOW: Final = (
    "How do I {rest}?", "How can I {rest}?", "What is the best way to {rest}?", "What's the way to {rest}?", "How to {rest}",
    "What steps do I take to {rest}?", "I want to {rest}. How?", "I'd like to {rest}, how do I do that?", "Steps to {rest}",
    "How should I go about it if I want to {rest}?", "Tell me how to {rest}.", "Is there a way to {rest}? How?",
    "What do I have to do to {rest}?", "Please explain how to {rest}.", "How would one {rest}?", "I need to {rest}. What do I do?",
    "Could you show me how to {rest}?", "I'm trying to {rest}, what should I do?",
)  # fmt: skip
_CAN: Final = (
    "Can I {rest}?", "Is it possible to {rest}?", "Am I able to {rest}?", "Could I {rest}?", "Would it be possible for me to {rest}?",
    "Is there any way I can {rest}?", "I wonder if I can {rest}.", "May I {rest}?", "Do you know if I can {rest}?",
)  # fmt: skip
_WHAT: Final = (
    "What is {rest}?", "What's {rest}?", "Tell me what {rest} is.", "Explain what {rest} is.", "Can you explain {rest}?",
    "I'd like to know what {rest} is.", "Do you know what {rest} is?", "Define {rest}.", "Give me an explanation of {rest}.",
)  # fmt: skip
#: "The": something definite, for which nobody wants a definition.
_WHAT_THE: Final = (
    "What is {rest}?", "What's {rest}?", "Tell me what {rest} is.", "I'd like to know what {rest} is.",
    "Do you know what {rest} is?", "Can you tell me {rest}?", "Please give me {rest}.", "I need to know {rest}.",
)  # fmt: skip
_WHY: Final = (
    "Why {rest}?",
    "For what reason {rest}?",
    "What is the reason why {rest}?",
    "How come {rest}?",
    "Any idea why {rest}?",
)
_WRITE: Final = (
    "Write {rest}.", "Please write {rest}.", "Can you write {rest}?", "I need you to write {rest}.", "Compose {rest}.",
    "I want you to write {rest}.", "Could you create {rest}?", "Produce {rest}.", "I need {rest}.", "Help me write {rest}.",
)  # fmt: skip
_EXPLAIN: Final = (
    "Explain {rest}.", "Describe {rest}.", "Can you explain {rest}?", "Give an explanation of {rest}.", "Please explain {rest} to me.",
    "I need an explanation of {rest}.", "Help me understand {rest}.",
)  # fmt: skip
_LIST: Final = (
    "List {rest}.",
    "Give me {rest}.",
    "Name {rest}.",
    "Can you list {rest}?",
    "I need a list of {rest}.",
    "Provide {rest}.",
)
FRAMES: Final = [
    (re.compile(r"^How (?:do|can|should|would) (?:I|you|we|one) (?P<rest>.+)$", re.IGNORECASE), _HOW),
    (re.compile(r"^How to (?P<rest>.+)$", re.IGNORECASE), _HOW),
    (re.compile(r"^What is the (?:best |right )?way to (?P<rest>.+)$", re.IGNORECASE), _HOW),
    (re.compile(r"^(?:Can|Could|May) I (?P<rest>.+)$", re.IGNORECASE), _CAN),
    (re.compile(r"^Is it possible to (?P<rest>.+)$", re.IGNORECASE), _CAN),
    (re.compile(r"^What(?: is|'s) (?P<rest>an? .{3,60})$", re.IGNORECASE), _WHAT),
    (re.compile(r"^What(?: is|'s) (?P<rest>the .{3,60})$", re.IGNORECASE), _WHAT_THE),
    (re.compile(r"^Why (?P<rest>.+)$", re.IGNORECASE), _WHY),
    (re.compile(r"^Write (?P<rest>.+)$", re.IGNORECASE), _WRITE),
    (re.compile(r"^(?:Explain|Describe) (?P<rest>.+)$", re.IGNORECASE), _EXPLAIN),
    (re.compile(r"^(?:List|Name|Give me) (?P<rest>.+)$", re.IGNORECASE), _LIST),
]
FRONTED: Final = re.compile(
    r"^(?P<head>(?:How|What|Which|Can|Should|Is|Are|Write|Explain|Why|Where|Do|Does)\b.{8,90}?) (?P<tail>(?:in|for|on|during|with) [A-Za-z+#]+(?: [A-Za-z]+)?)"
    r"(?P<end>[.?!]*)$"
)
CONDITIONS: Final = tuple(
    """without using any library|for free|in 2019|in 2023|for my daughter|on a weekend|if I am under 18|with only one hand|at night|in winter
for a large family|without my phone|without an account|from abroad|for the first time|twice a day|for less than 50 dollars|in public|alone
when it is raining|as a beginner|as a student|on a budget|with children|without internet|in Canada|in Texas|in Python|in Java|on my phone
on Windows|on a Mac|using only the command line|with a screen reader|after midnight|before Friday|by email|in person|over the phone
for two people|for a company|for a dog|without pain|without surgery|without a car|without telling anyone|with a different card
if I lost my passport|if it was stolen|if the store is closed|when I am pregnant|while driving|during a flight|for three months|at home
from my tablet|with a business account|for elderly people|in ancient Rome|in the 19th century|according to Kant|without sugar|in Germany
in front of an audience|more than once|less than a year ago|except on Sundays|only on Mondays|instead of my brother|on behalf of my mother
if they refuse|even if nobody agrees|after the deadline|before paying|without approval|for commercial use|in production|offline
with at least two examples|in reverse order|in alphabetical order|recursively|in constant memory|without recursion|for negative numbers
in the southern hemisphere|at high altitude|under water|for left-handed people|with a broken arm|on the last day of the month""".replace(
        "\n", "|"
    ).split("|")
)
DETAILS: Final = tuple(
    """answer in French.|reply in German.|in Spanish|in one sentence|in exactly five words|as JSON.|as a table.|as a bulleted list.|as a poem.
explain it to a child.|give three examples.|with sources.|without examples.|in formal English.|in less than 50 words.|step by step.
using an analogy.|only yes or no.|for an expert reader.|in the style of Hemingway.|with code.|without code.|as a tweet.|in the past tense.
include the costs.|leave out the costs.|compare it with the alternatives.|mention the risks.""".replace(
        "\n", "|"
    ).split("|")
)
QUALIFIERS: Final = tuple(
    """only|every|no|the first|the last|the second|the largest|the smallest|the cheapest|the best|the worst|at least one|at most one|another
a new|a used|an old|a broken|a free|an electric|a wooden|a digital|a fake|a former|the average|the total|half the|both|several|all|most
a virtual|a physical|an international|a local|a private|a public|a joint|a daily|a monthly|a temporary|a foreign|an expired|a stolen|each""".replace(
        "\n", "|"
    ).split("|")
)
QUESTION_SWAPS: Final = [
    (
        re.compile(r"^How (?:do|can|should) (?=I|you|we)"),
        ("Why do ", "When do ", "Where do ", "Should ", "How often do ", "Did "),
    ),
    (re.compile(r"^How to\b"), ("When to", "Why", "Where to", "Who can")),
    (re.compile(r"^Why "), ("How often ", "When ", "Where ", "How ")),
    (
        re.compile(r"^What is\b"),
        ("Who invented", "Where is", "Why is there", "When is", "How old is", "How much is", "What causes", "What was"),
    ),
    (re.compile(r"^What are\b"), ("Who are", "Where are", "How many are", "Why are there", "What were")),
    (re.compile(r"^Who\b"), ("When", "Why", "Where", "How")),
    (re.compile(r"^When\b"), ("Where", "Why", "How", "How often")),
    (re.compile(r"^Where\b"), ("When", "Why", "How")),
    (
        re.compile(r"^Can I\b"),
        ("Why can I", "How can I", "When can I", "Must I", "Should I", "Where can I", "How often can I", "Can you"),
    ),
    (re.compile(r"^Is\b"), ("Why is", "When is", "How often is", "Was", "Who said it is")),
    (re.compile(r"^Explain\b"), ("Criticize", "Rewrite", "Translate", "Count", "Quote")),
    (re.compile(r"^Write\b"), ("Read", "Correct", "Rate", "Translate", "Shorten", "Improve")),
    (re.compile(r"^List\b"), ("Count", "Rank", "Explain", "Compare")),
]
TENSES: Final = [
    (re.compile(r"\bis\b"), ("was", "used to be")),
    (re.compile(r"\bare\b"), ("were", "will be", "used to be")),
    (re.compile(r"\bdo\b"), ("did",)),
    (re.compile(r"\bdoes\b"), ("did", "will", "should")),
    # "How can I" asks for what "how should I" asks for: only where the whole question is whether.
    (re.compile(r"^Can\b"), ("Must", "Should", "Could", "Did")),
    (re.compile(r"^Should\b"), ("Must", "Can", "Did", "Why should")),
    (re.compile(r"\bI have\b"), ("I had", "I will have", "I could have")),
    (re.compile(r"\bbefore\b"), ("after", "while", "until")),
    (re.compile(r"\bafter\b"), ("before", "while", "until")),
    (re.compile(r"\bmy\b"), ("his", "her", "their")),
    (re.compile(r"\band\b"), ("or", "but not", "without")),
    (re.compile(r"\bor\b"), ("and", "but not")),
    (re.compile(r"\bwith\b"), ("without", "against")),
    (re.compile(r"\ball\b|\bevery\b", re.IGNORECASE), ("some", "no", "only a few", "most")),
    (re.compile(r"\bfrom\b"), ("to", "for", "against")),
    (re.compile(r"\bto (?=[A-Z])"), ("from ", "via ")),
    (re.compile(r"\bmore\b"), ("less", "as", "too")),
]
OTHER_VERBS: Final = tuple(
    """delete list count compare print update test replace copy rename check measure describe draw clean avoid sell store cancel paint export teach
cook translate move hide share record cut open throw wash burn lend publish hire follow watch feed build destroy ignore weigh""".split()
)
PAST_STATES: Final = [
    (
        re.compile(r"^Is (.+?)([?.!]*)$"),
        (r"Was \1 in the past\2", r"Was \1 at one time\2", r"Is it true that formerly \1\2"),
    ),
    (re.compile(r"^Are (.+?)([?.!]*)$"), (r"Were \1 in the past\2", r"Were \1 before\2")),
    (re.compile(r"^Do(?:es)? (I|you|we|they|people|he|she|it|the \w+|my \w+|[A-Z]\w+)\b"), (r"Did \1 use to",)),
    (re.compile(r"^What (?:is|are)\b"), ("What used to be", "What was once")),
    (re.compile(r"^(How|Why|Where) do (I|you|we|they|people)\b"), (r"\1 did \2 use to", r"\1 did \2 previously")),
]
PERSONS: Final = {
    "he": ("she", "they"), "she": ("he", "they"), "him": ("her", "them"), "his": ("her", "their"), "her": ("his", "their"),
    "himself": ("herself",), "herself": ("himself",), "my": ("his", "her", "their"), "me": ("him", "her"),
}  # fmt: skip
PREVENTIONS: Final = (
    "How do I avoid", "How can I keep from", "How do I stop people from", "How do I prevent others from", "What stops somebody from",
    "How do I keep myself from",
)  # fmt: skip
