"""The safety net of every change of layout and names: nothing that is hashed has changed."""

import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
KEPT = json.loads((FOLDER / "golden.json").read_text())


@pytest.fixture(scope="module")
def made():
    """Return what ``golden.py`` makes of the present code."""
    specification = importlib.util.spec_from_file_location("golden", FOLDER / "golden.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.golden()


@pytest.mark.parametrize("part", KEPT)
def test_no_hash_has_changed(made, part):
    assert made[part] == KEPT[part]


def test_nothing_is_left_out(made):
    assert list(made) == list(KEPT)
    assert len(KEPT["sequences"]) == 82
