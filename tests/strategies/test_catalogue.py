"""The catalogue: every strategy stands in one family, and says what it stores."""

from collections import Counter

import pytest

from driftboard.strategies.catalogue import BUILTIN, FAMILIES, FURTHER
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import SHAPE, tiny_cohort
from driftboard.suite.listing import stored_by
from driftboard.suite.training.stored import bytes_of, shaped_as_images

KNOWN = BUILTIN | FURTHER


def test_every_strategy_stands_in_one_family():
    names = Counter(name for names in FAMILIES.values() for name in names)
    assert set(names) == set(KNOWN)
    assert set(names.values()) == {1}


@pytest.mark.parametrize("name", KNOWN)
def test_a_strategy_stores_what_the_list_says(name):
    memory = learn(tiny_cohort("MLP", (0,)), KNOWN[name], "loop")[-1].memory
    images = shaped_as_images(memory, SHAPE)
    told = "examples" if images else "parameters" if bytes_of(memory) else "nothing"
    assert stored_by(KNOWN[name]) == told
