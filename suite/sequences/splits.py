"""Splits: the recipes of a sequence's seeds, each made once and kept in a cache file of its own.

Making them imports continuum, which takes seconds; reading them takes milliseconds. The name of a
file covers the sequence, the protocol, the seed and the data, so a stale file is never read.
"""

import contextlib
import functools
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from driftboard.suite.data import Pool
from driftboard.suite.errors import DataError, DriftboardError, cause_of, place_of
from driftboard.suite.places import cache_folder
from driftboard.suite.protocol import Protocol
from driftboard.suite.rng import stream
from driftboard.suite.sequences.scenarios import Indices, Recipe, View
from driftboard.suite.sequences.task_sequence import TaskSequence

Purpose = Literal["test", "validation"]
"""Where the images for testing come from: the test set, or a part of the training set."""


def make_splits(
    sequence: TaskSequence, pool: Pool, protocol: Protocol, seed: int, purpose: Purpose
) -> list[Recipe]:
    """Return one recipe per task, its positions counted in the pool.

    With ``purpose = "validation"`` both training and testing positions are those of the training
    set, and each class's last ``validation_share`` of images (in the seed's order) is for testing.

    Raises:
        DataError: the data set has too few images of a class.
    """
    names = functools.partial(stream, protocol.name, protocol.version, sequence.name, seed)
    rows = _class_rows(pool.train_labels, names("subset", "train"))
    if purpose == "test":
        train_rows, test_rows = rows, _class_rows(pool.test_labels, names("subset", "test"))
        test_labels = pool.test_labels
    else:
        kept = [len(row) - round(protocol.validation_share * len(row)) for row in rows]
        train_rows = [row[:count] for row, count in zip(rows, kept, strict=True)]
        test_rows = [row[count:] for row, count in zip(rows, kept, strict=True)]
        test_labels = pool.train_labels
    if min(len(row) for row in test_rows) == 0:
        raise DataError(
            f"{sequence.name}: '{sequence.source}' has a class with no image left for testing"
        )
    train = _take(train_rows, _train_quota(sequence, train_rows, purpose), sequence)
    test = np.sort(np.concatenate([row[: sequence.test_per_class] for row in test_rows]))
    view = View(
        train_labels=pool.train_labels[train],
        test_labels=test_labels[test],
        classes=pool.classes,
        pixels=pool.train_images.shape[2] * pool.train_images.shape[3],
        stream=names,
    )
    try:
        recipes = sequence.scenario.recipes(view)
        return [
            replace(recipe, train=train[recipe.train], test=test[recipe.test]) for recipe in recipes
        ]
    except DriftboardError:
        raise
    except (Exception, SystemExit) as error:  # the scenario may be of the user's own
        raise DataError(
            f"{sequence.name}: its scenario makes no recipes, {cause_of(error)}{place_of(error)}"
        ) from error


def _class_rows(labels: Indices, random: np.random.Generator) -> list[Indices]:
    """Return the positions of every class, each in an order drawn anew."""
    return [
        random.permutation(np.flatnonzero(labels == label)) for label in range(labels.max() + 1)
    ]


def _train_quota(sequence: TaskSequence, rows: list[Indices], purpose: Purpose) -> int:
    """Return how many training images of a class the whole sequence needs."""
    smallest = min(len(row) for row in rows)
    sets = sequence.scenario.fresh_sets
    if sequence.train_per_class is None:
        return smallest - smallest % sets
    needed = sequence.train_per_class * sets
    if purpose == "test":
        return needed
    # A part is set aside for validation, so a sequence that uses nearly all images makes do
    # with what is left: tuning needs the same tasks, not the same number of images.
    available = min(needed, smallest)
    return available - available % sets


def _take(rows: list[Indices], quota: int, sequence: TaskSequence) -> Indices:
    smallest = min(len(row) for row in rows)
    if quota == 0:
        raise DataError(
            f"{sequence.name}: '{sequence.source}' has a class of {smallest} training images, "
            f"too few for {sequence.scenario.fresh_sets} tasks with images of their own"
        )
    if quota > smallest:
        raise DataError(
            f"{sequence.name} needs {quota} training images of every class, but "
            f"'{sequence.source}' has a class of {smallest}; lower train_per_class"
        )
    return np.concatenate([row[:quota] for row in rows])


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
        purpose,
    )
    splits = []
    for seed in seeds:
        key = hashlib.sha256("\x1f".join((*common, str(seed))).encode()).hexdigest()
        path = folder / f"{sequence.name}-{purpose}-{seed}-{key[:32]}.npz"
        content = _read_checked(path)
        if content is not None:
            splits.append(_decode(content, sequence.scenario.tasks))
            continue
        splits.append(make_splits(sequence, pool, protocol, seed, purpose))
        content = _encode(splits[-1])
        with contextlib.suppress(OSError):  # a read-only home costs time, not results
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(hashlib.sha256(content).digest() + content)
    return splits


def _read_checked(path: Path) -> bytes | None:
    """Return the arrays' bytes if the file is there and its digest, which comes first, is right.

    So a file that another process is still writing, or never finished, counts as none.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    size = hashlib.sha256().digest_size
    return content[size:] if hashlib.sha256(content[size:]).digest() == content[:size] else None


def _encode(recipes: list[Recipe]) -> bytes:
    arrays: dict[str, NDArray[np.generic]] = {}
    for task, recipe in enumerate(recipes):
        parts = {name: value for name, value in vars(recipe).items() if value is not None}
        arrays.update({f"{task}/{name}": np.asarray(value) for name, value in parts.items()})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _decode(content: bytes, tasks: int) -> list[Recipe]:
    recipes: list[dict[str, Any]] = [{} for _ in range(tasks)]
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        for key, value in arrays.items():
            task, name = key.split("/")
            recipes[int(task)][name] = value if value.ndim else value.item()
    return [Recipe(**parts) for parts in recipes]
