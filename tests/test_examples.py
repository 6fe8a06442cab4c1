"""The examples in docstrings: each gives what it says."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("strategies", "suite", "leaderboard", "baselines")
WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_give_what_they_say(name):
    name = name.replace("suite.api", "").strip(".")
    module = importlib.import_module(f"driftboard.{name}" if name else "driftboard")
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0


def test_examples_are_found():
    assert {"suite.errors", "strategies.base", "suite.checks"} <= set(WITH_EXAMPLES)
