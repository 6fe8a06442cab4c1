"""Sequences of twenty tasks, to see what a strategy does as tasks add up.

    driftboard run --sequence-file tests/studies/twenty_tasks.py --sequence 'twenty-*'

docs/results/hybrid.md shows what came out.
"""

from driftboard.suite.sequences import Permuted, Rotated, TaskSequence

permuted = TaskSequence(
    name="twenty-permuted",
    description="Digits; the pixels in a new order for every one of twenty tasks but the first.",
    source="digits",
    scenario=Permuted(20),
    network="mlp-128x2",
    train_per_class=120,
    test_per_class=50,
)

rotated = TaskSequence(
    name="twenty-rotated-15",
    description="Digits; each of twenty tasks is turned by 15 degrees more.",
    source="digits",
    scenario=Rotated(20, 15),
    network="mlp-128x2",
    train_per_class=120,
    test_per_class=50,
)
