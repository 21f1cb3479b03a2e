"""The gallery shows every component, to those who work on pages."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from agentcache.design.icons import ICONS
from agentcache.design.templatetags.design import register
from agentcache.site import contrast
from tests.support.accounts import Person
from tests.support.django_project import use_settings
from tests.support.sessions import browser_of, stranger
from tests.unit.design import test_contrast as measured

SOURCE = Path(contrast.__file__).parent / "templates/site/gallery.html"
#: Tags that show nothing by themselves, or a part of what another one shows.
PARTS = {"query_with", "copy", "definition", "field", "form_errors"}


def page(browser=None, **given):
    return (browser or stranger()).get("/dev/design", **{"REMOTE_ADDR": "127.0.0.1", **given})


def test_every_component_is_shown(sqlite_project):
    source = SOURCE.read_text()
    missing = {name for name in register.tags if not re.search(rf"{{% {name}\b", source)}
    assert missing <= PARTS
    html = page().content.decode()
    for shown in ("has-error", "aria-invalid", "Enough", "light-fresh", "light-stale", "light-expired", "<dialog", 'class="tabs"',
                  "toast-error", "empty-state", "data-chart", "data-copy", "notice bad", "menu-panel", "sparkline", "quota-bad"):  # fmt: skip
        assert shown in html, shown
    assert "Too little" not in html
    assert html.count("<li><svg") >= len(ICONS)
    assert "<script>" not in html
    assert " style=" not in html


def test_ids_are_of_one_thing_each(sqlite_project):
    ids = re.findall(r'\bid="([^"]+)"', page().content.decode())
    assert sorted(ids) == sorted(set(ids))


def test_it_is_for_this_machine_and_for_operators(sqlite_project):
    assert page().status_code == 200
    assert page(REMOTE_ADDR="192.0.2.7").status_code == 404
    hosted = replace(sqlite_project, public_url="https://cache.example.com")
    user, operator = Person().join().user, Person("op@example.com").join().user
    operator.is_staff = True
    operator.save()
    with use_settings(hosted):
        given = {"headers": {"host": "cache.example.com"}}
        assert page(**given).status_code == 404
        assert page(browser_of(user), **given).status_code == 404
        assert page(browser_of(operator), **given).status_code == 200


@pytest.mark.parametrize(("one", "other"), [("text", "page"), ("on-accent", "accent"), ("warn", "warn-soft")])
def test_the_contrast_it_prints_is_the_one_that_is_tested(sqlite_project, one, other):
    known = measured.tokens()
    found = contrast.pair(one, other, 4.5)
    assert found.light == pytest.approx(measured.contrast(known[one]["light"], known[other]["light"]))
    assert found.dark == pytest.approx(measured.contrast(known[one]["dark"], known[other]["dark"]))
    assert not contrast.pair("text", "text", 4.5).is_enough
