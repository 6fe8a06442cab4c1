"""Named random streams: Philox with the hash of the names as its key, and nothing shared."""

import hashlib

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from driftboard.suite.rng import stream

NAMES = ("driftboard", 1, "digits-split", 0, "class order")
PARTS = st.lists(
    st.one_of(st.text("ab0-", max_size=3), st.integers(0, 120)).map(str), min_size=1, max_size=4
)


def philox(key, blocks):
    """Philox4x64-10 (Salmon et al. 2011) in plain integers; the counter starts at 1 as in NumPy."""
    mask = 2**64 - 1
    words = []
    for counter in range(1, blocks + 1):
        a, b, c, d = counter, 0, 0, 0
        low, high = key & mask, key >> 64
        for _ in range(10):
            one, two = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
            a, b, c, d = two >> 64 ^ b ^ low, two & mask, one >> 64 ^ d ^ high, one & mask
            low, high = low + 0x9E3779B97F4A7C15 & mask, high + 0xBB67AE8584CAA73B & mask
        words += [a, b, c, d]
    return words


def key_of(*names):
    digest = hashlib.sha256("\x1f".join(map(str, names)).encode()).digest()
    return sum(byte << 8 * place for place, byte in enumerate(digest[:16]))


def raw(*names):
    return stream(*names).bit_generator.random_raw(8).tolist()


def test_the_words_are_those_of_philox_under_the_hash_of_the_names():
    assert raw(*NAMES) == philox(key_of(*NAMES), blocks=2)


def test_the_key_is_the_first_half_of_the_digest_as_a_little_endian_number():
    key = 0xC6431A8ECB3A437B2BD2FB78F8C2FF6C  # from the sha256sum of coreutils
    assert key_of(*NAMES) == key
    assert raw(*NAMES) == philox(key, blocks=2)


def test_uniform_numbers_are_the_upper_53_bits_of_the_words():
    words = philox(key_of(*NAMES), blocks=2)
    np.testing.assert_array_equal(stream(*NAMES).random(8), [(w >> 11) / 2**53 for w in words])


def test_a_stream_does_not_depend_on_any_other_draw():
    expected = raw("a", 1)
    other = stream("a", 2)
    other.random(7)
    np.random.default_rng(0).random(3)
    first, second = stream("a", 1), stream("a", 1)
    drawn = []
    for _ in range(8):
        drawn.append(int(first.bit_generator.random_raw()))
        other.normal()
        second.random(2)
    assert drawn == expected


@given(PARTS, PARTS)
def test_streams_differ_by_any_part_of_the_name(one, other):
    assume(one != other)
    assert set(raw(*one)).isdisjoint(raw(*other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "bc"), ("ab", "c")),
        (("a", "b"), ("ab",)),
        (("a", "b"), ("b", "a")),
        ((1, 23), (12, 3)),
        (("a",), ("a", "")),
        (("a", 0), ("a", 1)),
    ],
)
def test_names_are_joined_without_confusion(one, other):
    assert set(raw(*one)).isdisjoint(raw(*other))


def test_uniform_numbers_of_many_streams_are_uniform_and_uncorrelated():
    numbers = np.stack([stream("uniform", seed).random(64) for seed in range(500)])
    # means of 500 numbers of variance 1/12; 5 standard errors
    assert np.abs(numbers.mean(axis=0) - 0.5).max() < 5 * np.sqrt(1 / 12 / 500)
    neighbours = np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(numbers[1:].size)
