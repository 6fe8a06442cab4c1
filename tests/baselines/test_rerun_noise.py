"""Re-run noise: measured by hand from made-up pairs, and what comes with the package."""

import math

import pytest
from msgspec.structs import replace

from driftboard.baselines.published import published_sets
from driftboard.baselines.rerun_noise import (
    NoiseRow,
    measure_noise,
    measured_noise,
    noise_of,
)
from driftboard.leaderboard.verification.rerun import Noise
from driftboard.suite.sequences.registry import registered

ROTATED, SPLIT, FASHION = "digits-rotated-15", "digits-split", "fashion-rotated-5"


@pytest.fixture(scope="session")
def pair_of(make_record):
    """Return a function that makes a record and a re-run with ``by`` more answers at the end."""

    def make(sequence, strategy, seed, by):
        first = make_record(sequence, strategy, seed, ((90, 0), (60, 80)))
        return first, replace(first, correct=((90, 0), (60 + by, 80)))

    return make


def test_noise_is_the_root_mean_square_of_each_cells_largest_difference(pair_of):
    pairs = [
        pair_of(ROTATED, "sgd", 0, 6),
        pair_of(ROTATED, "sgd", 0, -2),  # the same cell in another way
        pair_of("digits-rotated-45", "ewc", 1, 0),
        pair_of(SPLIT, "sgd", 0, 8),
    ]
    rows = {(row.of, row.name): row for row in measure_noise(pairs)}
    assert {row.network for row in rows.values()} == {"mlp-128x2"}
    expected = {  # in answers of 100 on one of two tasks
        ("family", "rotated"): [6, 0],
        ("family", "split"): [8],
        ("strategy", "sgd"): [6, 8],
        ("strategy", "ewc"): [0],
    }
    assert {place: row.cells for place, row in rows.items()} == {
        place: len(some) for place, some in expected.items()
    }
    for place, some in expected.items():
        size = math.sqrt(sum(one**2 for one in some) / len(some)) / 100
        assert rows[place].differences["avg_acc"] == pytest.approx(size / 2)
        assert rows[place].differences["forgetting"] == pytest.approx(size)
        assert rows[place].differences["task_acc"] == 0.0


def test_a_cell_that_diverged_in_one_run_is_left_out(pair_of):
    one, again = pair_of(ROTATED, "sgd", 0, 40)
    diverged = replace(again, status="diverged", diverged_at=1, diverged_by="blow-up")
    rows = measure_noise([(one, diverged), pair_of(ROTATED, "sgd", 1, 2)])
    assert {row.cells for row in rows} == {1}
    assert [row.differences["avg_acc"] for row in rows] == pytest.approx([0.01] * len(rows))


def row(of, name, cells, size, network="mlp-128x2"):
    return NoiseRow(network, of, name, cells, {"avg_acc": size})


ROWS = [
    row("family", "rotated", 10, 0.03),
    row("family", "split", 30, 0.01),
    row("strategy", "sgd", 20, 0.005),
    row("strategy", "ewc", 12, 0.05),
    row("strategy", "joint", 9, 0.6),
    row("family", "rotated", 11, 0.5, network="mlp-256x2"),
    row("family", "split", 9, 0.5, network="resnet9-w16"),
]
POOLED = math.sqrt((10 * 0.03**2 + 30 * 0.01**2) / 40)


@pytest.mark.parametrize(
    ("sequence", "strategy", "size", "cells"),
    [
        (ROTATED, "sgd", 0.03, 10),  # its family's
        (SPLIT, "sgd", POOLED, 40),  # a quiet family has that of the network
        ("digits-repeat", "frozen", POOLED, 40),  # as one that was not measured
        (ROTATED, "ewc", 0.05, 12),  # a noisy strategy its own
        (SPLIT, "joint", POOLED, 40),  # but not if few cells say so
        (FASHION, "ewc", 0.5, 11),
    ],
)
def test_noise_of_a_cell_is_the_largest_that_is_known_of_it(sequence, strategy, size, cells):
    found = noise_of(sequence, strategy, "avg_acc", ROWS)
    assert (found.size, found.freedom) == (pytest.approx(size), cells)


@pytest.mark.parametrize(
    ("sequence", "metric"), [("mine", "avg_acc"), ("cifar10-split", "avg_acc"), (SPLIT, "task_acc")]
)
def test_where_nothing_was_measured_there_is_no_noise(sequence, metric):
    assert noise_of(sequence, "sgd", metric, ROWS) is None


def test_what_comes_with_the_package_covers_three_published_sets():
    rows = measured_noise().rows
    assert "tests/studies/rerun_noise.py" in measured_noise().command
    assert measured_noise().hardware
    networks = {
        registered()[name].network for name in ("digits-split", "fashion-split", "cifar10-split")
    }
    assert {row.network for row in rows} == networks
    assert {"quick", "core-fashion", "core-cifar10"} < set(published_sets())
    for metric in ("avg_acc", "forgetting", "task_acc"):
        noise = noise_of("fashion-rotated-15", "sgd", metric, rows)
        assert isinstance(noise, Noise)
        assert 0.001 < noise.size < 0.05
