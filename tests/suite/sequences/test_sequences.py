"""The registry and the protocol: names and seeds as published, hashes that cover what decides."""

import dataclasses
import json
from itertools import chain

import pytest

from driftboard.suite.errors import DriftboardError
from driftboard.suite.protocol import PROTOCOL, Protocol, Training, digest
from driftboard.suite.sequences.groups import ByGroup
from driftboard.suite.sequences.network import Weights
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.scenarios import (
    Corrupted,
    FewShot,
    Overlap,
    Permuted,
    Rotated,
    RotatedTo,
    Split,
    Unequal,
)
from driftboard.suite.sequences.task_sequence import (
    TaskSequence,
    choose_sequences,
    describe,
    find_sequences,
)

QUICK = ["split", "permuted", "rotated-15", "rotated-45", "overlap-50", "repeat"]
FASHION = [
    *("split", "permuted", "permuted-25"),
    *(f"rotated-{step}" for step in (5, 15, 30, 60)),
    *(f"overlap-{share}" for share in (0, 25, 50, 75)),
    *(f"corrupted-{severity}" for severity in (1, 3, 5)),
    "relabelled-5",
    *(f"fewshot-rotated-{step}" for step in (5, 15, 30, 60)),
    *("fewshot-overlap-0", "fewshot-overlap-50", "mixed"),
    "repeat",
]
CIFAR10 = ["split", "overlap-50", "corrupted-3"]
TINY = [
    *("split-10", "split-20", "overlap-50", "corrupted-3", "class-10", "fewshot-10", "half"),
]
FULL = [
    *(f"{data}-class-incremental" for data in ("digits", "fashion", "cifar10")),
    *(f"{data}-unequal" for data in ("digits", "fashion", "cifar10")),
    *(f"{data}-class-unequal" for data in ("digits", "fashion", "cifar10")),
    *("mnist-permuted", "cifar10-split-full", "cifar100-split-10", "cifar100-split-20"),
    *("cifar100-overlap-50", "cub200-split", "cub200-corrupted-3"),
    *("mnist-split-van-de-ven", "cifar10-split-van-de-ven"),
    *("fashion-split-online", "mnist-then-fashion", "four-sets"),
    *("mnist-permuted-mirzadeh", "mnist-rotated-mirzadeh"),
    *("mnist-permuted-10", "mnist-permuted-20", "mnist-rotated-15"),
    *("omniglot-alphabets", "omniglot-class"),
    *(f"tiny-{name}" for name in TINY),
    *(f"tiny-{name}-full" for name in TINY),
]
LINEAR = [
    *(f"linear-fewshot-{hundredths}" for hundredths in (0, 25, 50, 75, 100)),
    *("linear-fewshot-five-50", "linear-few-50", "linear-many-50"),
]
TIERS = {
    "quick": [f"digits-{name}" for name in QUICK],
    "linear": LINEAR,
    "core": [f"fashion-{name}" for name in FASHION] + [f"cifar10-{name}" for name in CIFAR10],
    "full": FULL,
}

PROTOCOL_2 = "33415d93c32f1a0ae99e91eba7eebfce008aa0ea1ac67b268f48a400a0eaebd2"
DIGITS_SPLIT_1 = "6ecdbad1edbf892ea620d43ae88965491d25d6738adef5032a96172c392a4061"

BASE = TaskSequence(
    name="base",
    description="Words.",
    source="digits",
    scenario=Corrupted(Split(5), 3),
    network="mlp-8x1",
    train_per_class=10,
    test_per_class=10,
    training=Training(epochs=1, batch_size=10, learning_rate=0.1),
)


def test_registry_has_the_published_names_in_order():
    sequences = registered()
    assert list(sequences) == list(chain(*TIERS.values()))
    assert len(sequences) == 6 + 8 + 26 + 42
    for tier, names in TIERS.items():
        assert {sequences[name].tier for name in names} == {tier}


def test_every_entry_is_whole():
    for name, sequence in registered().items():
        assert sequence.name == name
        assert sequence.scenario.tasks >= 2
        assert sequence.description.endswith(".")
        own = name.endswith(("van-de-ven", "mirzadeh", "online"))
        own |= name.startswith(("fashion-class-", "omniglot-")) or name in [
            f"tiny-{one}" for one in TINY
        ]
        assert (sequence.training is not None) == own


@pytest.mark.parametrize(
    ("name", "scenario"),
    [
        ("digits-rotated-45", Rotated(5, 45)),
        ("fashion-permuted-25", Permuted(5, 0.25)),
        ("fashion-overlap-0", Overlap(5, 4, 0)),
        ("fashion-overlap-25", Overlap(5, 4, 1)),
        ("fashion-overlap-50", Overlap(5, 4, 2)),
        ("fashion-overlap-75", Overlap(5, 4, 3)),
        ("fashion-fewshot-rotated-30", FewShot(Rotated(5, 30), 10)),
        ("fashion-mixed", RotatedTo((0, 5, 65, 70, 130))),
        ("cifar10-corrupted-3", Corrupted(Split(5), 3)),
        ("cifar100-split-20", Split(20)),
        ("cifar100-overlap-50", Overlap(10, 20, 10)),
        ("cub200-corrupted-3", Corrupted(Split(10), 3)),
        ("mnist-permuted-20", Permuted(20)),
        ("mnist-rotated-15", Rotated(5, 15)),
        ("omniglot-alphabets", ByGroup(8, shuffled=True)),
        ("tiny-split-20", Split(20)),
        ("tiny-overlap-50", Overlap(10, 20, 10)),
        ("tiny-corrupted-3", Corrupted(Split(10), 3)),
        ("tiny-fewshot-10", FewShot(Split(10), 10)),
        ("tiny-half", Unequal((100,) + (10,) * 10)),
    ],
)
def test_name_tells_the_scenario(name, scenario):
    assert registered()[name].scenario == scenario


@pytest.mark.parametrize(
    ("of_tasks", "of_classes"), [("split", "class-incremental"), ("unequal", "class-unequal")]
)
@pytest.mark.parametrize(("data", "rate"), [("digits", 0.05), ("fashion", 0.02), ("cifar10", 0.05)])
def test_class_incremental_sequences_are_the_others_but_for_their_answers(
    data, rate, of_tasks, of_classes
):
    split, incremental = (registered()[f"{data}-{name}"] for name in (of_tasks, of_classes))
    same = ("source", "scenario", "network", "train_per_class", "test_per_class", "balance")
    assert [n for n in same if getattr(split, n) != getattr(incremental, n)] == []
    training = dataclasses.replace(split.training_under(), learning_rate=rate)
    assert incremental.training_under() == training
    assert incremental.tier == "full"
    assert (split.setting, incremental.setting) == ("task", "class")
    assert (split.class_incremental, incremental.class_incremental) == (False, True)


def test_the_online_sequence_takes_every_image_once():
    online, split = (registered()[f"fashion-split{end}"] for end in ("-online", ""))
    training = online.training_under()
    assert (training.epochs, training.minimum_steps) == (1, 0)
    classes_of_a_task = 10 // online.scenario.tasks
    assert online.train_per_class * classes_of_a_task % training.batch_size == 0
    same = ("source", "scenario", "network", "train_per_class", "test_per_class")
    assert [name for name in same if getattr(online, name) != getattr(split, name)] == []


@pytest.mark.parametrize("name", TINY)
def test_full_sequences_of_tiny_imagenet_have_the_tasks_of_the_small_ones(name):
    small, full = registered()[f"tiny-{name}"], registered()[f"tiny-{name}-full"]
    same = ("source", "scenario", "tier", "balance", "class_incremental", "setting")
    assert [one for one in same if getattr(small, one) != getattr(full, one)] == []
    assert small.class_incremental == (name == "class-10")
    assert (full.network, full.train_per_class, full.test_per_class) == ("resnet9-w64", None, None)
    assert full.training_under() == PROTOCOL.training["resnet9-w64"]


@pytest.mark.parametrize("kind", ["permuted", "rotated"])
def test_sequences_of_mirzadeh_take_one_pass_in_batches_of_ten(kind):
    sequence = registered()[f"mnist-{kind}-mirzadeh"]
    assert sequence.training == Training(1, 10, 0.01, momentum=0.8, minimum_steps=0)
    assert (sequence.network, sequence.train_per_class) == ("mlp-256x2", None)
    assert not sequence.balance
    assert sequence.scenario == (Permuted(20) if kind == "permuted" else Rotated(20, 10))
    assert sequence.setting == "domain"


def test_hashes_tell_all_sequences_apart():
    hashes = [sequence.hash() for sequence in registered().values()]
    assert len(set(hashes)) == len(hashes)


CHANGES = {
    "name": "other",
    "source": "mnist",
    "scenario": Corrupted(Split(5), 4),
    "network": "mlp-9x1",
    "tier": "core",
    "train_per_class": 11,
    "test_per_class": None,
    "training": Training(epochs=2, batch_size=10, learning_rate=0.1),
    "balance": False,
    "class_incremental": True,
    "weights": Weights("a.pt", sha256=64 * "0"),
}


def test_every_field_but_the_description_has_a_change_below():
    fields = {field.name for field in dataclasses.fields(TaskSequence)}
    assert set(CHANGES) == fields - {"description"}


@pytest.mark.parametrize(("field", "value"), CHANGES.items())
def test_hash_changes_with_what_decides_results(field, value):
    assert dataclasses.replace(BASE, **{field: value}).hash() != BASE.hash()


def test_hash_covers_the_weights_and_not_the_name_of_their_file():
    one, same, other = (
        dataclasses.replace(BASE, weights=Weights(file, digit * 64)).hash()
        for file, digit in (("a.pt", "1"), ("b.safetensors", "1"), ("a.pt", "2"))
    )
    assert one == same != other


def test_hash_does_not_change_with_words():
    assert dataclasses.replace(BASE, description="Other words.").hash() == BASE.hash()


def test_hash_tells_scenarios_of_equal_fields_apart():
    """A nested scenario counts with the name of its class, not its numbers alone."""
    corrupted = dataclasses.replace(BASE, scenario=Corrupted(Rotated(5, 3), 3))
    few = dataclasses.replace(BASE, scenario=FewShot(Rotated(5, 3), 3))
    split = dataclasses.replace(BASE, scenario=Corrupted(Split(5), 3))
    assert len({sequence.hash() for sequence in (corrupted, few, split)}) == 3


def test_hash_covers_the_protocols_training_where_the_sequence_has_none():
    plain = dataclasses.replace(BASE, training=None, network="mlp-256x2")
    other = Protocol(training={"mlp-256x2": Training(1, 1, 1.0)})
    assert plain.training_under() == PROTOCOL.training["mlp-256x2"]
    assert plain.hash(other) != plain.hash()
    assert BASE.hash(other) == BASE.hash()
    same = dataclasses.replace(plain, training=PROTOCOL.training["mlp-256x2"])
    assert same.hash() == plain.hash()


def test_description_of_a_sequence_is_plain_data():
    described = describe(BASE)
    assert json.loads(json.dumps(described)) == described
    assert described["tasks"] == 5
    assert described["hash"] == BASE.hash()
    assert described["description"] == "Words."
    assert described["scenario"] == {
        "class": "Corrupted",
        "base": {"class": "Split", "tasks": 5},
        "severity": 3,
    }
    assert described["training"]["minimum_steps"] == 60


# Finding.


def test_patterns_find_in_registry_order():
    found = find_sequences(["digits-rotated-*", "digits-split"], registered())
    assert list(found) == ["digits-split", "digits-rotated-15", "digits-rotated-45"]
    assert found["digits-split"] == registered()["digits-split"]


def test_a_name_is_no_prefix():
    assert list(find_sequences(["fashion-permuted"], registered())) == ["fashion-permuted"]


def test_overlapping_patterns_count_once():
    assert len(find_sequences(["digits-*", "*-split", "digits-split"], registered())) == 12
    assert list(find_sequences(["*"], registered())) == list(registered())


def test_unknown_name_shows_the_nearest():
    with pytest.raises(DriftboardError) as caught:
        find_sequences(["digits-*", "fashion-splt"], registered())
    message = str(caught.value)
    assert message.startswith("there is no sequence 'fashion-splt'; did you mean fashion-split")


def test_name_like_nothing_points_to_the_list():
    with pytest.raises(DriftboardError, match="see `driftboard sequences`"):
        find_sequences(["0123456789"], registered())


# The protocol.


def test_tuning_seeds_are_disjoint_from_those_of_every_tier():
    tuning = set(PROTOCOL.seeds_of("core", tuning=True))
    assert len(tuning) == 5
    for tier, count in PROTOCOL.seeds.items():
        seeds = PROTOCOL.seeds_of(tier)
        assert seeds == tuple(range(count))
        assert count >= 5
        assert tuning.isdisjoint(seeds)


def test_every_tier_has_seeds():
    assert {*TIERS, "own"} == set(PROTOCOL.seeds)


def test_unlisted_network_trains_as_others_do():
    assert PROTOCOL.training_of("mlp-8x1") == PROTOCOL.other_training
    assert PROTOCOL.training_of("mlp-128x2") == Training(5, 50, 0.05, 0.9, 60)


PROTOCOL_CHANGES = {
    "name": "other",
    "version": 3,
    "seeds": {**PROTOCOL.seeds, "quick": 6},
    "tuning_seeds": (1000, 1001),
    "validation_share": 0.25,
    "training": {**PROTOCOL.training, "mlp-128x2": Training(6, 50, 0.05)},
    "other_training": Training(5, 50, 0.03),
}


@pytest.mark.parametrize(("field", "value"), PROTOCOL_CHANGES.items())
def test_protocol_hash_covers_every_field(field, value):
    assert dataclasses.replace(PROTOCOL, **{field: value}).stamp().hash != PROTOCOL.stamp().hash


def test_every_field_of_the_protocol_has_a_change_above():
    assert set(PROTOCOL_CHANGES) == {field.name for field in dataclasses.fields(Protocol)}


def test_protocol_is_the_published_one():
    stamp = PROTOCOL.stamp()
    assert (stamp.name, stamp.version, stamp.hash) == ("driftboard", 2, PROTOCOL_2), (
        "the protocol is not that of version 2: results made before cannot be compared with new "
        "ones. If that is meant, raise Protocol.version and write the new hash down here"
    )


def test_sequence_is_the_published_one():
    assert registered()["digits-split"].hash() == DIGITS_SPLIT_1, (
        "digits-split, or how sequences are hashed, is not that of protocol version 2: results "
        "made before cannot be compared with new ones. If that is meant, raise Protocol.version "
        "and write the new hash down here"
    )


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1, "b": [1, 2]}) != digest({"a": 1, "b": [2, 1]})
    assert digest(None) == "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"


def names_chosen(**options):
    given = {"tier": None, "patterns": None, "own": False} | options
    return [one.name for one in choose_sequences(registered(), **given)]


def test_a_setting_chooses_from_all_tiers_or_from_what_else_is_named():
    assert names_chosen(setting="class") == [
        *(
            f"{data}-class-{kind}"
            for kind in ("incremental", "unequal")
            for data in ("digits", "fashion", "cifar10")
        ),
        *("omniglot-class", "tiny-class-10", "tiny-class-10-full"),
    ]
    quick = names_chosen(tier="quick")
    of_settings = [names_chosen(tier="quick", setting=s) for s in ("task", "domain")]
    assert of_settings == [
        ["digits-split", "digits-overlap-50"],
        ["digits-permuted", "digits-rotated-15", "digits-rotated-45", "digits-repeat"],
    ]
    assert sorted(chain(*of_settings)) == sorted(quick)
    assert names_chosen(patterns=["digits-*"], setting="class") == [
        "digits-class-incremental",
        "digits-class-unequal",
    ]


def test_no_sequence_of_a_setting_is_said_with_those_that_there_are():
    with pytest.raises(DriftboardError, match="none of these sequences is class-incremental: dig"):
        names_chosen(tier="quick", setting="class")
