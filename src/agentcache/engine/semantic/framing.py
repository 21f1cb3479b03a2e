"""One frame for ways of asking that say nothing about what is asked: "how can I", "the best way to" and "tell me how to" are "how do i".

Two prompts that are the same in this frame share an answer, whatever the verifier, which is taught by differences, makes of
them. So only frames are here that mean the same with anything after them: "explain" is not "what is", "was" is not "is",
and "you" is not "I".
"""

from __future__ import annotations

import re
from typing import Final

_ONE: Final = r"(?:i|we|one)"
_GOOD: Final = r"(?:(?:best|right|proper|correct|usual|recommended|good) )?"
_WAY: Final = r"(?:ways?|methods?|steps?|process|procedure|instructions?)"
_NEXT: Final = r"(?=(?:how|what|which|who|when|where|why|whether)\b)"
#: Before a question that could stand alone.
_TELL: Final = re.compile(
    rf"(?:(?:(?:can|could|would|will) (?:you|someone|somebody|anyone) )?(?:please )?(?:tell|show|teach)(?: me| us)? {_NEXT}"
    rf"|do(?:es)? (?:you|anyone|anybody) know {_NEXT}|(?:i|we) (?:want|need|would like) to (?:know|learn|find out) {_NEXT})",
    re.IGNORECASE,
)
_WISH: Final = re.compile(
    r"(?:i|we)(?: am| are)? (?:want|need|would like|trying|looking) to (?P<rest>[^.,;:?!]+)[.,;:?!-]+ ?"
    r"(?:how(?: (?:do|can|should) (?:i|we)(?: do (?:it|that|this|so))?)?|what (?:do|should|must) (?:i|we) (?:have to |need to )?do)",
    re.IGNORECASE,
)
_FRAMES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), frame)
    for pattern, frame in (
        (rf"how (?:do|can|could|should|would) {_ONE} ", "how do i "),
        (rf"how {_ONE} (?:can|could|should) ", "how do i "),
        (r"how to ", "how do i "),
        (rf"what (?:is|are) (?:the |some |a )?{_GOOD}{_WAY} to ", "how do i "),
        (rf"what (?:do|should|can|must) {_ONE} (?:(?:have|need) to )?do (?:in order )?to ", "how do i "),
        (rf"(?:the )?{_GOOD}{_WAY} to ", "how do i "),
        (rf"(?:can|could|may) {_ONE} ", "can i "),
        (r"is it possible (?:for (?:me|us) )?to ", "can i "),
        (rf"(?:am|are) {_ONE} (?:able|allowed) to ", "can i "),
        (rf"(?:must {_ONE}|do {_ONE} (?:have|need) to|is it necessary (?:for me )?to) ", "must i "),
    )
)


def framed(normal: str) -> str:
    """Return a normalised prompt in the one frame of its way of asking; any other prompt as it is."""
    wish = _WISH.fullmatch(normal)
    if wish:
        return f"how do i {wish['rest']}"
    told = _TELL.match(normal)
    text = normal[told.end() :] if told else normal
    for pattern, frame in _FRAMES:
        found = pattern.match(text)
        if found and found.end() < len(text):
            return frame + text[found.end() :]
    return text
