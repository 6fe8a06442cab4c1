"""Splits: the recipes of a sequence's seeds, each made once and kept in a cache file of its own.

Making them imports continuum, which takes seconds; reading them takes milliseconds. The name of a
file covers the sequence, the protocol, the seed and the data, so a stale file is never read. Its
positions are those in the seed's view of the images, which is drawn again, so that it cannot lead
to an image that the seed does not have.
"""

import contextlib
import functools
import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from driftboard.suite.data import Pool
from driftboard.suite.errors import DataError, cause_of, one_line, place_of
from driftboard.suite.places import cache_folder
from driftboard.suite.protocol import Protocol
from driftboard.suite.rng import stream
from driftboard.suite.sequences.recipes import fault_of
from driftboard.suite.sequences.scenarios import Indices, Recipe, Scenario, View
from driftboard.suite.sequences.task_sequence import TaskSequence

Purpose = Literal["test", "validation"]
"""Where the images for testing come from: the test set, or a part of the training set."""


@dataclass(frozen=True)
class _Drawn:
    """The images of one seed: a view of them, and where they stand in the pool."""

    train: Indices
    test: Indices
    view: View

    def in_pool(self, recipes: list[Recipe]) -> list[Recipe]:
        """Return recipes of the view with their positions counted in the pool."""
        return [
            replace(recipe, train=self.train[recipe.train], test=self.test[recipe.test])
            for recipe in recipes
        ]


def make_splits(
    sequence: TaskSequence, pool: Pool, protocol: Protocol, seed: int, purpose: Purpose
) -> list[Recipe]:
    """Return one recipe per task, its positions counted in the pool.

    With ``purpose = "validation"`` both training and testing positions are those of the training
    set, and each class's last ``validation_share`` of images (in the seed's order) is for testing.

    Raises:
        DataError: the data set has too few images of a class or too few classes, or the recipes
            of a user's scenario cannot be.
    """
    drawn = _draw(sequence, pool, protocol, seed, purpose)
    return drawn.in_pool(_recipes(sequence, drawn.view))


def _draw(
    sequence: TaskSequence, pool: Pool, protocol: Protocol, seed: int, purpose: Purpose
) -> _Drawn:
    names = functools.partial(stream, protocol.name, protocol.version, sequence.name, seed)
    rows = _class_rows(pool.train_labels, names("subset", "train"))
    if purpose == "test":
        train_rows, test_rows = rows, _class_rows(pool.test_labels, names("subset", "test"))
        test_labels = pool.test_labels
    else:
        counts = _counts(pool, protocol, purpose)
        train_rows = [row[:count] for row, count in zip(rows, counts, strict=True)]
        test_rows = [row[count:] for row, count in zip(rows, counts, strict=True)]
        test_labels = pool.train_labels
    # A part is set aside for validation, so a sequence that uses nearly all images makes do with
    # what is left: tuning needs the same tasks, not the same number of images.
    exact = sequence.balance and purpose == "test"
    _check_test(sequence, pool, [len(row) for row in test_rows], exact)
    quotas = _quotas(sequence, pool, [len(row) for row in train_rows], exact)
    train = np.concatenate([row[:n] for row, n in zip(train_rows, quotas, strict=True)])
    test = np.sort(np.concatenate([row[: sequence.test_per_class] for row in test_rows]))
    view = View(
        train_labels=pool.train_labels[train],
        test_labels=test_labels[test],
        classes=pool.classes,
        pixels=pool.train_images.shape[2] * pool.train_images.shape[3],
        stream=names,
        exact=exact,
        groups=pool.groups,
    )
    return _Drawn(train, test, view)


def _class_rows(labels: Indices, random: np.random.Generator) -> list[Indices]:
    """Return the positions of every class, each in an order drawn anew."""
    return [
        random.permutation(np.flatnonzero(labels == label)) for label in range(labels.max() + 1)
    ]


def _counts(pool: Pool, protocol: Protocol, purpose: Purpose) -> list[int]:
    """Return how many images of each class there are to train on."""
    counts: list[int] = np.bincount(pool.train_labels).tolist()
    if purpose == "test":
        return counts
    return [count - round(protocol.validation_share * count) for count in counts]


def _check_test(sequence: TaskSequence, pool: Pool, counts: list[int], exact: bool) -> None:
    label = int(np.argmin(counts))
    if counts[label] == 0:
        raise DataError(
            f"{sequence.name}: '{sequence.source}' has a class with no image left for testing"
        )
    if exact and counts[label] < (sequence.test_per_class or 0):
        raise DataError(
            f"{sequence.name} needs {sequence.test_per_class} test images of every class, but in "
            f"'{sequence.source}' {_class(pool, label)} has {counts[label]}; lower test_per_class"
        )


def _quotas(sequence: TaskSequence, pool: Pool, counts: list[int], exact: bool) -> list[int]:
    """Return how many training images of each class the whole sequence takes."""
    sets, wanted, label = sequence.scenario.fresh_sets, sequence.train_per_class, np.argmin(counts)
    smallest = counts[label]
    where = f"in '{sequence.source}' {_class(pool, int(label))} has {smallest}"
    if exact and wanted is not None and wanted * sets > smallest:
        raise DataError(
            f"{sequence.name} needs {wanted * sets} training images of every class, but {where}; "
            "lower train_per_class"
        )
    if smallest < sets:
        raise DataError(
            f"{sequence.name}: {where} training images, too few for {sets} tasks with images of "
            "their own"
        )
    there = [smallest] * len(counts) if sequence.balance else counts
    taken = there if wanted is None else [min(count, wanted * sets) for count in there]
    return [count - count % sets for count in taken]


def _class(pool: Pool, label: int) -> str:
    return f"class {one_line(pool.class_name(label))}"


def unused_note(
    sequence: TaskSequence, pool: Pool, protocol: Protocol, purpose: Purpose
) -> str | None:
    """Return a line on training images that a sequence leaves out though it asks for all."""
    if sequence.train_per_class is not None or not sequence.balance:
        return None
    counts, sets = _counts(pool, protocol, purpose), sequence.scenario.fresh_sets
    label, most = int(np.argmin(counts)), max(counts)
    used = counts[label] - counts[label] % sets
    if used == most:
        return None
    if counts[label] == most:
        why = f"{sets} tasks take equally many"
    else:
        why = f"{_class(pool, label)} has {counts[label]}; balance=False keeps all"
    return f"{sequence.name}: {used} of {most} training images a class are used because {why}"


def _recipes(sequence: TaskSequence, view: View) -> list[Recipe]:
    """Return what a scenario makes of a view.

    Raises:
        DataError: it cannot, or what it makes is not what recipes are.
    """
    scenario = sequence.scenario
    try:
        recipes = [*scenario.recipes(view)]
    except DataError as error:
        raise DataError(f"{sequence.name}: {error}") from error
    except (Exception, SystemExit) as error:  # a user's scenario may raise anything
        raise DataError(
            f"{sequence.name}: its scenario makes no recipes, {cause_of(error)}{place_of(error)}"
        ) from error
    if fault := fault_of(scenario, view, recipes):
        raise DataError(f"{sequence.name}: {fault}")
    if sequence.class_incremental and len({recipe.active.tobytes() for recipe in recipes}) == 1:
        raise DataError(
            f"{sequence.name}: all its tasks have the same classes, so class_incremental changes "
            "nothing; leave it out"
        )
    return recipes


def cached_splits(
    sequence: TaskSequence,
    pool: Pool,
    protocol: Protocol,
    seeds: Sequence[int],
    purpose: Purpose,
    cache: Path | None = None,
) -> list[list[Recipe]]:
    """Return the recipes of several seeds, [seed][task], from the cache where it has them.

    Raises:
        DataError: as :func:`make_splits`.
    """
    # Without a home folder, a place where nothing can be kept.
    folder = cache or (cache_folder() or Path(os.devnull)) / "splits"
    common = (
        version("driftboard"),
        protocol.stamp().hash,
        sequence.hash(protocol),
        pool.fingerprint,
        *(pool.groups if any(pool.groups) else ()),  # names are no part of the fingerprint
        purpose,
    )
    splits = []
    for seed in seeds:
        key = hashlib.sha256("\x1f".join((*common, str(seed))).encode()).hexdigest()
        path = folder / f"{sequence.name}-{purpose}-{seed}-{key[:32]}.npz"
        drawn = _draw(sequence, pool, protocol, seed, purpose)
        recipes = _read(path, sequence.scenario, drawn.view)
        if recipes is None:
            recipes = _recipes(sequence, drawn.view)
            with contextlib.suppress(OSError):  # a read-only home costs time, not results
                folder.mkdir(parents=True, exist_ok=True)
                content = _encode(recipes)
                path.write_bytes(_digest(path, content) + content)
        splits.append(drawn.in_pool(recipes))
    return splits


def _digest(path: Path, content: bytes) -> bytes:
    """Return a digest that differs for another file's content, too."""
    return hashlib.sha256(path.name.encode() + content).digest()


def _read(path: Path, scenario: Scenario, view: View) -> list[Recipe] | None:
    """Return the recipes of a file, None if it is not there or cannot be what was written.

    So a file that another process is still writing, or never finished, counts as none.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    size = hashlib.sha256().digest_size
    if _digest(path, content[size:]) != content[:size]:
        return None
    try:
        recipes = _decode(content[size:])
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return None if fault_of(scenario, view, recipes) else recipes


def _encode(recipes: list[Recipe]) -> bytes:
    arrays: dict[str, NDArray[np.generic]] = {}
    for task, recipe in enumerate(recipes):
        parts = {name: value for name, value in vars(recipe).items() if value is not None}
        arrays.update({f"{task}/{name}": np.asarray(value) for name, value in parts.items()})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _decode(content: bytes) -> list[Recipe]:
    recipes: dict[int, dict[str, Any]] = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        for key, value in arrays.items():
            task, name = key.split("/")
            recipes.setdefault(int(task), {})[name] = value if value.ndim else value.item()
    return [Recipe(**recipes[task]) for task in range(len(recipes))]
