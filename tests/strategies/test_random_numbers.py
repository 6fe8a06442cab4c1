"""Random numbers by value: SplitMix64's own, their distribution, and what they follow from."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.func import vmap

from driftboard.strategies import random_numbers
from driftboard.suite.checks import example_task

KEY, MOMENT = torch.tensor(8_675_309), torch.tensor(3)
MASK = 2**64 - 1


def splitmix64(seed, count):
    """The generator in Python's integers, as Steele, Lea and Flood write it down."""
    found = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        value = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
        found.append(value ^ (value >> 31))
    return found


def test_the_reference_is_splitmix64():
    """The first numbers of the seed 1234567, as other implementations print them."""
    assert splitmix64(1234567, 3) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@given(st.integers(0, 2**63 - 1), st.integers(-1, 10**6), st.text(max_size=8), st.integers(1, 5))
def test_numbers_are_those_of_splitmix64(key, moment, name, count):
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    (of_key,) = splitmix64((key + number - 0x9E3779B97F4A7C15) & MASK, 1)
    seed = splitmix64(of_key, moment + 1)[-1] if moment >= 0 else _mixed(of_key)
    expected = splitmix64(seed if moment < 0 else _nth(of_key, moment + 1), count)

    found = random_numbers.bits(torch.tensor(key), torch.tensor(moment), name, count)

    assert [value & MASK for value in found.tolist()] == expected


def _mixed(value):
    return splitmix64((value - 0x9E3779B97F4A7C15) & MASK, 1)[0]


def _nth(seed, number):
    """The number-th output of a seed, without those before it."""
    return splitmix64((seed + (number - 1) * 0x9E3779B97F4A7C15) & MASK, 1)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_numbers_are_uniform(dtype):
    drawn = random_numbers.uniform(KEY, MOMENT, "mask", (100_000,), dtype)
    assert drawn.dtype == dtype
    assert 0 <= drawn.min() < drawn.max() < 1
    assert stats.kstest(drawn.double().numpy(), "uniform").pvalue > 0.01


def test_normal_numbers_are_normal():
    drawn = random_numbers.normal(KEY, MOMENT, "noise", (100_000,), torch.float64)
    assert stats.kstest(drawn.numpy(), "norm").pvalue > 0.01


@pytest.mark.parametrize("what", ["name", "moment", "key", "place"])
def test_numbers_of_other_names_moments_keys_and_places_are_independent(what):
    """The first number under 20,000 pairs of neighbours: uncorrelated, and in all quadrants."""
    count = 20_000
    if what == "name":
        pairs = [
            [random_numbers.uniform(KEY, MOMENT, f"{n}", (1,), torch.float64) for n in (k, k + 1)]
            for k in range(0, 4000, 2)
        ]
        one, other = (torch.cat(part).numpy() for part in zip(*pairs, strict=True))
    else:
        numbers = torch.arange(2 * count)

        def first(number):
            key, moment = (number, MOMENT) if what == "key" else (KEY, number)
            return random_numbers.uniform(key, moment, "mask", (1,), torch.float64)[0]

        drawn = (
            random_numbers.uniform(KEY, MOMENT, "mask", (2 * count,), torch.float64)
            if what == "place"
            else vmap(first)(numbers)
        )
        one, other = drawn[::2].numpy(), drawn[1::2].numpy()
    table, *_ = np.histogram2d(one, other, bins=4, range=[[0, 1], [0, 1]])
    assert stats.chisquare(table.ravel()).pvalue > 0.01
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(len(one))


def test_learners_together_draw_what_each_draws_alone():
    keys = torch.tensor([5, 6, 7])
    together = vmap(lambda key: random_numbers.normal(key, MOMENT, "x", (2, 3), torch.float64))(
        keys
    )
    alone = [random_numbers.normal(key, MOMENT, "x", (2, 3), torch.float64) for key in keys]
    assert torch.equal(together, torch.stack(alone))


def test_single_precision_is_the_beginning_of_double():
    single, double = (
        random_numbers.uniform(KEY, MOMENT, "x", (50,), dtype)
        for dtype in (torch.float32, torch.float64)
    )
    assert torch.equal(single.double(), (double * 2**24).floor() / 2**24)


def test_integers_are_even_and_below():
    task = example_task(step=2)
    drawn = task.integers("choice", 7, 70_000)
    assert drawn.dtype == torch.int64
    assert stats.chisquare(torch.bincount(drawn, minlength=7).numpy()).pvalue > 0.01
    assert drawn.max() == 6
    assert task.integers("choice", torch.tensor(0), 5).tolist() == [0] * 5


def test_the_beginning_every_step_and_the_end_draw_anew():
    tasks = [example_task(), example_task(step=0), example_task(step=1), example_task(index=1)]
    drawn = [tuple(task.uniform("x", 3).tolist()) for task in tasks]
    assert len(set(drawn)) == 4


def test_a_task_without_a_key_says_so():
    from dataclasses import replace

    with pytest.raises(ValueError, match="without a key"):
        replace(example_task(), key=None).uniform("x", 1)
