import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcache.engine.semantic.normalising import normalised

SAME = [
    ("What is JSON?", "what is json"),
    ("Hello! Could you please explain recursion?", "Explain recursion."),
    ("Don't  list\nnames", "do not list names!"),
    ("What's a monad?  Thanks in advance!", "what is a monad"),
    ("Please sort the list, thank you.", "SORT THE LIST"),
    ("ｆｕｌｌ width", "full width"),
]
DIFFERENT = [
    ("Run `rm -r X`", "Run `rm -r x`"),
    ('Say "Hello" in Greek', 'Say "hello" in Greek'),
    ("Read https://example.com/A", "Read https://example.com/a"),
    ("What should I tell us?", "What should I tell US?"),
    ("How is `VAT` treated in the US `federal` code?", "How is `VAT` treated in the us `federal` code?"),
    ("Compare `a` US `b`", "Compare `a` us `b`"),
    ("Is it on?", "Is it not on?"),
    ("Version 1.0", "Version 10"),
    ("Could you swim?", "Swim"),
    ("Well water quality", "Water quality"),
    ("Hello kitty", "Kitty"),
    ("Question marks", "Marks"),
    ("Please", "Thanks"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_carries_no_meaning_is_folded(one, other):
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_carries_meaning_is_kept(one, other):
    assert normalised(one) != normalised(other)


@given(st.text(max_size=200))
def test_the_form_of_a_form_is_itself_and_digits_are_never_lost(text):
    form = normalised(text)
    assert normalised(form) == form or "`" in form or '"' in form or "'" in form
    ascii_digits = [character for character in text if character in "0123456789"]
    assert [character for character in form if character in "0123456789"][: len(ascii_digits)] or not ascii_digits
