import sys
from importlib import import_module

import pytest

from agentcache.kit.imports import without


def test_a_package_is_missing_within_the_block_and_there_again_after_it(tmp_path, monkeypatch):
    (tmp_path / "optional_colours.py").write_text("IS_HERE = True")
    monkeypatch.syspath_prepend(tmp_path)
    with without("optional_colours"), pytest.raises(ImportError):
        import_module("optional_colours")
    assert import_module("optional_colours").IS_HERE
    del sys.modules["optional_colours"]


def test_what_is_loaded_already_stays():
    with without("json"):
        import json
    assert json.loads("1") == 1
