"""The registry of task sequences: every entry is plain data, its name is its documentation."""

from collections.abc import Iterator
from dataclasses import replace

from driftboard.suite.protocol import AdamTraining, Training
from driftboard.suite.sequences.groups import ByGroup
from driftboard.suite.sequences.linear import linear_entries
from driftboard.suite.sequences.scenarios import (
    Corrupted,
    FewShot,
    Overlap,
    Permuted,
    Relabelled,
    Repeat,
    Rotated,
    RotatedTo,
    Scenario,
    Split,
    Unequal,
)
from driftboard.suite.sequences.task_sequence import TaskSequence

DIGITS_PER_CLASS = 120


def _digits(
    name: str, description: str, scenario: Scenario, per_class: int = DIGITS_PER_CLASS
) -> TaskSequence:
    return TaskSequence(
        name=f"digits-{name}",
        description=description,
        source="digits",
        scenario=scenario,
        network="mlp-128x2",
        tier="quick",
        train_per_class=per_class,
        test_per_class=50,
    )


def _core(name: str, description: str, scenario: Scenario, task_classes: int) -> TaskSequence:
    """Return a sequence whose tasks have few images; the data set is the first word of the name."""
    if name.startswith("fashion"):
        source, network, train, test = "fashion-mnist", "mlp-256x2", 3000, 1000
    else:
        source, network, train, test = "cifar10", "resnet9-w16", 1000, 500
    return TaskSequence(
        name=name,
        description=description,
        source=source,
        scenario=scenario,
        network=network,
        tier="core",
        train_per_class=train // task_classes,
        test_per_class=test // task_classes,
    )


def _class_incremental(
    task_incremental: TaskSequence, training: Training | None = None
) -> TaskSequence:
    """Return a sequence of disjoint classes in whose tests all those seen so far may answer."""
    name = task_incremental.name.replace("split", "class-incremental")
    return replace(
        task_incremental,
        name=name.replace("unequal", "class-unequal"),
        description=task_incremental.description.replace(
            "task-incremental", "class-incremental: any class seen so far may be the answer"
        ),
        tier="full",
        training=training,
        class_incremental=True,
    )


def _full(name: str, description: str, source: str, scenario: Scenario) -> TaskSequence:
    network = "mlp-256x2" if source == "mnist" else "resnet9-w64"
    return TaskSequence(name, description, source, scenario, network, tier="full")


def _van_de_ven(source: str, network: str, batch_size: int) -> TaskSequence:
    """Return a sequence in the setting of van de Ven 2025 (arXiv 2502.11756)."""
    return TaskSequence(
        name=f"{source}-split-van-de-ven",
        description=f"Disjoint classes in five tasks, all images, {network} by Adam; the setting "
        "of van de Ven 2025, to compare with numbers from there.",
        source=source,
        scenario=Split(5),
        network=network,
        tier="full",
        training=AdamTraining(
            epochs=1, batch_size=batch_size, learning_rate=0.001, minimum_steps=2000
        ),
    )


def _mirzadeh(kind: str, description: str, scenario: Scenario) -> TaskSequence:
    """Return a sequence in the setting of Mirzadeh et al. 2020 (arXiv 2006.06958, experiment 2).

    Steps, batches, learning rate and momentum are those of plain training in its code,
    ``replicate_experiment_2.sh`` and ``stable_sgd/main.py`` of imirzadeh/stable-continual-learning.
    """
    return TaskSequence(
        name=f"mnist-{kind}-mirzadeh",
        description=f"{description} One pass over all images, mlp-256x2, batches of ten; the "
        "setting of Mirzadeh et al. 2020, to compare with numbers from there.",
        source="mnist",
        scenario=scenario,
        network="mlp-256x2",
        tier="full",
        training=Training(
            epochs=1, batch_size=10, learning_rate=0.01, momentum=0.8, minimum_steps=0
        ),
        balance=False,  # all 60,000 images, as there
    )


def _mnist(name: str, description: str, scenario: Scenario) -> TaskSequence:
    """Return a sequence of MNIST that two CPU cores train in minutes."""
    return TaskSequence(
        name=f"mnist-{name}",
        description=description,
        source="mnist",
        scenario=scenario,
        network="mlp-256x2",
        tier="full",
        train_per_class=500,
        test_per_class=100,
    )


TINY = Training(epochs=10, batch_size=50, learning_rate=0.05)


def _tiny() -> Iterator[TaskSequence]:
    """Yield the sequences of Tiny ImageNet: small ones, then with all images and a wide network."""
    named = (
        ("split-10", "Disjoint classes, twenty a task.", Split(10)),
        ("split-20", "Disjoint classes, ten a task.", Split(20)),
        (
            "overlap-50",
            "Twenty classes a task, half of them shared with the task before.",
            Overlap(10, 20, 10),
        ),
        (
            "corrupted-3",
            "Disjoint classes, twenty a task; noise grows task by task to severity 3.",
            Corrupted(Split(10), 3),
        ),
        (
            "class-10",
            "Disjoint classes, twenty a task; class-incremental: any class seen so far may be the "
            "answer.",
            Split(10),
        ),
        (
            "fewshot-10",
            "Disjoint classes, twenty a task; after the first task ten images a class.",
            FewShot(Split(10), 10),
        ),
        (
            "half",
            "A hundred classes, then ten times ten others, in an order drawn per seed.",
            Unequal((100, *(10,) * 10)),
        ),
    )
    small = [
        TaskSequence(
            name=f"tiny-{name}",
            description=description,
            source="tiny-imagenet",
            scenario=scenario,
            network="resnet9-w8",
            tier="full",
            train_per_class=100,
            test_per_class=25,
            training=TINY,
            class_incremental=name.startswith("class"),
        )
        for name, description, scenario in named
    ]
    yield from small
    for one in small:
        yield replace(
            one,
            name=f"{one.name}-full",
            description=f"{one.description} All images.",
            network="resnet9-w64",
            train_per_class=None,
            test_per_class=None,
            training=None,
        )


def _omniglot(name: str, description: str, *, class_incremental: bool) -> TaskSequence:
    return TaskSequence(
        name=f"omniglot-{name}",
        description=description,
        source="omniglot",
        scenario=ByGroup(8, shuffled=True),
        network="mlp-256x2",
        tier="full",
        training=Training(epochs=40, batch_size=25, learning_rate=0.02),
        class_incremental=class_incremental,
    )


def registered() -> dict[str, TaskSequence]:
    """Return all sequences of the benchmark by name, in the order of the tiers."""
    split = "Disjoint classes in five tasks, in an order drawn per seed; task-incremental."
    permuted = "All classes; the pixels in a new order for every task but the first."
    rotated = "All classes; every task is turned by {} degrees more."
    halved = "Four classes a task, half of them shared with the task before."
    unequal = "Six classes, then two and two others, in an order drawn per seed; task-incremental."
    repeat = "The same task five times with fresh images: the distance is zero by construction."
    # At the rate of the task-incremental sequences the answers of earlier tasks, all wrong on the
    # next one, throw plain training far away, and some runs diverge.
    slow = Training(epochs=3, batch_size=100, learning_rate=0.02)
    entries = [
        _digits("split", split, Split(5)),
        _digits("permuted", permuted, Permuted(5)),
        *(_digits(f"rotated-{step}", rotated.format(step), Rotated(5, step)) for step in (15, 45)),
        _digits("overlap-50", halved, Overlap(5, 4, 2)),
        _digits("repeat", repeat, Repeat(5), DIGITS_PER_CLASS // 5),
        *linear_entries(),
        _core("fashion-split", split, Split(5), 2),
        _core("fashion-permuted", permuted, Permuted(5), 10),
        _core(
            "fashion-permuted-25",
            "All classes; a quarter of the pixels change places in every task but the first.",
            Permuted(5, 0.25),
            10,
        ),
        *(
            _core(f"fashion-rotated-{step}", rotated.format(step), Rotated(5, step), 10)
            for step in (5, 15, 30, 60)
        ),
        *(
            _core(
                f"fashion-overlap-{25 * shared}",
                f"Four classes a task, {shared} of them shared with the task before.",
                Overlap(5, 4, shared),
                4,
            )
            for shared in range(4)
        ),
        *(
            _core(
                f"fashion-corrupted-{severity}",
                f"All classes, fresh images; noise grows task by task to severity {severity}.",
                Corrupted(Repeat(5), severity),
                10,
            )
            for severity in (1, 3, 5)
        ),
        _core(
            "fashion-relabelled-5",
            "All classes; five labels change places in every task but the first.",
            Relabelled(5, 5),
            10,
        ),
        *(
            _core(
                f"fashion-fewshot-rotated-{step}",
                f"A large first task, then ten images a class, turned by {step} degrees a task.",
                FewShot(Rotated(5, step), 10),
                10,
            )
            for step in (5, 15, 30, 60)
        ),
        *(
            _core(
                f"fashion-fewshot-overlap-{25 * shared}",
                "A large first task of four classes, then ten images a class; "
                f"{shared or 'none'} of the classes are shared with the task before.",
                FewShot(Overlap(5, 4, shared), 10),
                4,
            )
            for shared in (0, 2)
        ),
        _core(
            "fashion-mixed",
            "All classes; every task is turned more, by 5 and by 60 degrees in turn.",
            RotatedTo((0, 5, 65, 70, 130)),
            10,
        ),
        _core("fashion-repeat", repeat, Repeat(5), 10),
        _core("cifar10-split", split, Split(5), 2),
        _core("cifar10-overlap-50", halved, Overlap(5, 4, 2), 4),
        _core(
            "cifar10-corrupted-3",
            "Disjoint classes in five tasks; noise grows task by task to severity 3.",
            Corrupted(Split(5), 3),
            2,
        ),
        _class_incremental(_digits("split", split, Split(5))),
        _class_incremental(_core("fashion-split", split, Split(5), 2), slow),
        _class_incremental(_core("cifar10-split", split, Split(5), 2)),
        *(
            replace(one, tier="full")
            for one in (
                _digits("unequal", unequal, Unequal((6, 2, 2))),
                _core("fashion-unequal", unequal, Unequal((6, 2, 2)), 5),
                _core("cifar10-unequal", unequal, Unequal((6, 2, 2)), 5),
            )
        ),
        _class_incremental(_digits("unequal", unequal, Unequal((6, 2, 2)))),
        _class_incremental(_core("fashion-unequal", unequal, Unequal((6, 2, 2)), 5), slow),
        _class_incremental(_core("cifar10-unequal", unequal, Unequal((6, 2, 2)), 5)),
        _full("mnist-permuted", permuted, "mnist", Permuted(5)),
        _full("cifar10-split-full", f"{split} All images.", "cifar10", Split(5)),
        _full("cifar100-split-10", "Disjoint classes in ten tasks.", "cifar100", Split(10)),
        _full("cifar100-split-20", "Disjoint classes in twenty tasks.", "cifar100", Split(20)),
        _full(
            "cifar100-overlap-50",
            "Twenty classes a task, half of them shared with the task before.",
            "cifar100",
            Overlap(10, 20, 10),
        ),
        _full("cub200-split", "Disjoint classes of birds in ten tasks.", "cub200", Split(10)),
        _full(
            "cub200-corrupted-3",
            "Disjoint classes of birds in ten tasks; noise grows to severity 3.",
            "cub200",
            Corrupted(Split(10), 3),
        ),
        _van_de_ven("mnist", "mlp-400x2", 128),
        _van_de_ven("cifar10", "resnet18-w20", 256),
        replace(
            _core("fashion-split", split, Split(5), 2),
            name="fashion-split-online",
            description=f"{split} One pass over the images, in batches of ten.",
            tier="full",
            training=Training(epochs=1, batch_size=10, learning_rate=0.01, minimum_steps=0),
        ),
        TaskSequence(
            name="mnist-then-fashion",
            description="All classes of MNIST, then those of Fashion-MNIST; task-incremental.",
            source="mnist+fashion-mnist",
            scenario=ByGroup(2),
            network="mlp-256x2",
            tier="full",
            train_per_class=300,
            test_per_class=100,
        ),
        TaskSequence(
            name="four-sets",
            description="MNIST, Fashion-MNIST, CIFAR-10 in grey and digits, all of 28x28 pixels, "
            "one a task, in an order drawn per seed; task-incremental.",
            source="mnist+fashion-mnist+cifar10+digits",
            scenario=ByGroup(4, shuffled=True),
            network="mlp-256x2",
            tier="full",
            train_per_class=DIGITS_PER_CLASS,
            test_per_class=50,
        ),
        _mirzadeh("permuted", permuted, Permuted(20)),
        _mirzadeh("rotated", rotated.format(10), Rotated(20, 10)),
        _mnist("permuted-10", permuted, Permuted(10)),
        _mnist("permuted-20", permuted, Permuted(20)),
        _mnist("rotated-15", rotated.format(15), Rotated(5, 15)),
        _omniglot(
            "alphabets",
            "The characters of an alphabet, 17 to 47 of them; task-incremental.",
            class_incremental=False,
        ),
        _omniglot(
            "class",
            "The characters of an alphabet, 17 to 47 of them; class-incremental: any character "
            "seen so far may be the answer.",
            class_incremental=True,
        ),
        *_tiny(),
    ]
    return {sequence.name: sequence for sequence in entries}
