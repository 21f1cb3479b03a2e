import pytest

from agentcache.kit.clock import ManualClock
from agentcache.site.remembered import Remembered


def test_a_value_is_made_anew_after_its_time_or_for_another_key():
    clock = ManualClock()
    kept = Remembered(lambda value: 60, clock)
    made = []

    def make():
        made.append(len(made))
        return made[-1]

    assert [kept.get("a", make), kept.get("a", make)] == [0, 0]
    clock.move(59)
    assert kept.get("a", make) == 0
    clock.move(1)
    assert kept.get("a", make) == 1
    assert kept.get("b", make) == 2
    kept.forget()
    assert kept.get("b", make) == 3


def test_how_long_a_value_stays_depends_on_it():
    clock = ManualClock()
    kept = Remembered(lambda value: 60 if value else 5, clock)
    values = iter([0, 7, 8])
    assert kept.get("a", lambda: next(values)) == 0
    clock.move(6)
    assert kept.get("a", lambda: next(values)) == 7
    clock.move(6)
    assert kept.get("a", lambda: next(values)) == 7


def test_a_failure_is_not_kept():
    kept = Remembered(lambda value: 60, ManualClock())
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: "well") == "well"
