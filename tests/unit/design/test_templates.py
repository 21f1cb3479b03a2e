"""Every template of every app compiles, and draws no icon that does not exist."""

import re
from pathlib import Path

import pytest
from django.template.loader import get_template

from agentcache.design import icons
from agentcache.design.navigation import SECTIONS

APPS = Path(__file__).parents[3] / "src/agentcache"
TEMPLATES = sorted(path for kind in ("html", "txt") for path in APPS.glob(f"*/templates/**/*.{kind}"))
_ICON = re.compile(r'{% icon "([a-z-]+)"|\bsign="([a-z-]+)"|{% menu "[^"]*" "([a-z-]+)"')


def test_there_are_templates():
    assert len(TEMPLATES) > 100


@pytest.mark.parametrize(
    "path", TEMPLATES, ids=lambda path: path.relative_to(APPS).as_posix().replace("/templates/", ":")
)
def test_a_template_compiles_and_names_icons_that_exist(sqlite_project, path):
    get_template(path.relative_to(next(up for up in path.parents if up.name == "templates")).as_posix())
    for names in _ICON.findall(path.read_text()):
        icons.content("".join(names))


def test_the_side_bar_names_icons_that_exist():
    for _, entries in SECTIONS:
        for entry in entries:
            icons.content(entry.icon)
