"""The sequences of twenty tasks are sound, and nothing that the package registers."""

from pathlib import Path

from driftboard.suite.loading import load_sequences
from driftboard.suite.sequences.registry import registered

FILE = Path(__file__).parent / "twenty_tasks.py"


def test_the_file_adds_two_sequences_of_twenty_tasks():
    known = load_sequences([FILE])
    assert not known.unsound
    added = {name: known[name] for name in known.keys() - registered().keys()}
    assert added.keys() == {"twenty-permuted", "twenty-rotated-15"}
    assert {sequence.scenario.tasks for sequence in added.values()} == {20}
