"""Classes of function words: what changes a question's meaning without being rare."""

from __future__ import annotations

from typing import Final

#: Say nothing about what is asked; left out of every comparison of content.
STOP: Final = frozenset(
    """a an the this that these those it its itself there here i me my mine myself you your yours yourself we us our ours
    be am is are was were been being do does did done have has had having will would shall should can could may might must
    of to in on at by for with from as into about and or but if so than then too very also just really actually indeed truly
    please what which who whom whose when where why how need want like get know tell let go some any such own
inside outside within onto upon toward towards through via using during under over above below behind across between among near prior off out
explain describe calculate compute give show provide recommend suggest
    before after without against until while since when where
    he him his she her hers they them their theirs one ones s t re ve ll d m not no up out
    way thing there's basically simply quite kindly possible able wonder curious possibly etc one's""".split()
)
NEGATIONS: Final = frozenset(
    "not no never none nobody nothing neither nor nowhere without cannot hardly barely scarcely avoid stop refuse lack "
    "fail unable except excluding instead".split()
)
#: Those that simply negate; the rest of the above counts as half a negation when compared.
STRICT_NEGATIONS: Final = frozenset("not no never none nobody nothing neither nor nowhere cannot".split())
SCOPES: Final = frozenset(
    """only all some any every each both either neither none no most few several least always never sometimes often usually
    exactly about approximately almost entirely partially without except excluding including besides once twice first last
    atleast atmost morethan lessthan simultaneously alone together everyone someone anyone nobody everything something
    anything half whole total average per nearly rarely seldom mostly mainly merely solely purely strictly other another else
    additional extra still already yet again currently previously formerly ever original next previous second third""".split()
)
ORDERS: Final = frozenset("before after until during while prior following since".split())
DIRECTIONS: Final = frozenset(
    """to from into out off onto over under above below within outside inside through without with against between among by
    for than toward towards across behind beyond near""".split()
)
#: Function words that say the same place or means.
ALIKE_DIRECTIONS: Final = {
    "inside": "in", "within": "in", "into": "in", "at": "in", "onto": "on", "upon": "on", "toward": "to", "towards": "to", "prior": "before",
    "via": "with", "using": "with", "through": "with", "off": "from", "out": "from", "during": "in", "is": "", "are": "", "was": "", "were": "", "be": "",
    "do": "", "does": "", "did": "", "i": "", "my": "", "you": "", "your": "", "it": "", "what": "", "which": "", "how": "", "why": "", "have": "", "has": "",
    "can": "", "will": "", "should": "", "would": "", "could": "", "there": "", "we": "", "our": "", "this": "", "that": "", "these": "", "the": "", "me": "",
}  # fmt: skip
OPPOSITE_DIRECTIONS: Final = frozenset(
    frozenset(pair.split("/"))
    for pair in "to/from in/from with/without before/after over/under above/below for/against inside/outside on/off".split()
)
#: Words that govern a phrase, and where what it names stands among all that is named: the doer and the start come first, the
#: aim and what is compared with last. What nothing governs has 0.
ANCHORS: Final = {
    "from": -2, "by": -2, "after": -1, "since": -1, "of": 1, "before": 3, "until": 3, "than": 3, "instead": 3, "to": 3, "into": 3, "onto": 3,
    "toward": 3, "towards": 3,
    **dict.fromkeys("in on at for with within inside over under against between about during via using through as without near upon".split(), 2),
}  # fmt: skip
#: Between an anchor and what it governs these may stand: "before I eat".
UNANCHORED: Final = frozenset(
    "a an the this that these those i me my you your we us our he him his she her they them their it its some any and or very just".split()
)
MODALS: Final = frozenset("can could should must may might shall ought would need".split())
CONNECTORS: Final = frozenset("and or but nor versus vs".split())
CONDITIONS: Final = frozenset("if unless because although despite whether assuming given provided though".split())
PAST: Final = frozenset("was were did had been used".split())
FUTURE: Final = frozenset("will shall 'll going tomorrow".split())
PRESENT: Final = frozenset("is are am do does has have".split())
PEOPLE: Final = {
    **dict.fromkeys("i me my mine myself we us our ours".split(), "speaker"),
    **dict.fromkeys("he him his himself".split(), "he"),
    **dict.fromkeys("she her hers herself".split(), "she"),
    **dict.fromkeys("they them their theirs themselves".split(), "they"),
}
DEGREES: Final = frozenset("more less most least better worse best worst fewer".split())
NUMBER_WORDS: Final = {
    "zero": "0", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14", "fifteen": "15", "sixteen": "16",
    "seventeen": "17", "eighteen": "18", "nineteen": "19", "twenty": "20", "thirty": "30", "forty": "40", "fifty": "50",
    "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90", "hundred": "100", "thousand": "1000", "million": "1000000",
    "billion": "1000000000", "dozen": "12", "half": "0.5", "twice": "2", "thrice": "3", "single": "1",
    "third": "3", "fourth": "4", "fifth": "5", "tenth": "10",
}  # fmt: skip
UNITS: Final = {
    word: names.split()[0]
    for names in (
        "percent % pct|dollar $ usd buck|euro € eur|pound £ gbp lb lbs|yen ¥|rupee ₹ inr|kilometer km kilometre|mile mi|meter metre m|foot ft|"
        "inch|centimeter cm centimetre|millimeter mm|kilogram kg kilo|gram g|ounce oz|liter litre l|gallon gal|milliliter ml|"
        "celsius °c|fahrenheit °f|kelvin|degree °|second sec s|minute min|hour hr h|day|week|month|year yr|decade|century|"
        "byte|kilobyte kb|megabyte mb|gigabyte gb|terabyte tb|word|sentence|paragraph|page|line|bullet|point|step|character|token|"
        "people person|time|cent|am|pm|mph|kph|hz|mhz|ghz|volt v|watt w|kw|calorie kcal|cup|pint|quart|yard yd|stone|franc|peso|milligram mg|microgram mcg|acre|hectare|tablespoon tbsp|teaspoon tsp|row|column|item|"
        "star|chapter|slide|question|example|reason|way|tip|idea"
    ).split("|")
    for word in names.split()
}
#: The answer to a question that holds any of these is another tomorrow.
TIME_BOUND: Final = frozenset(
    """today tonight now currently latest newest recent recently yesterday tomorrow nowadays weather forecast price prices
    news stock stocks headlines trending upcoming""".split()
)
