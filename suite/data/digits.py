"""Digits: a part of scikit-learn."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

from driftboard.suite.data.pool import Pool
from driftboard.suite.data.source import Source
from driftboard.suite.errors import DataError

TEST_PER_CLASS = 50
SIDE = 8
FILE = "sklearn/datasets/data/digits.csv.gz"
"""Within scikit-learn: a line per image, 64 values 0..16 and the class. It is read without
importing scikit-learn, which takes seconds in every worker process."""


def _read(source: Source, _: Path) -> Pool:
    """Read scikit-learn's digits; the last 50 of each class in file order are the test set.

    Their values 0..16 are multiplied by 15, so that the brightest pixel is 240 and every value
    stays a whole number below 255.
    """
    try:
        rows = np.loadtxt(str(distribution("scikit-learn").locate_file(FILE)), delimiter=",")
    except (PackageNotFoundError, OSError, ValueError) as error:
        raise DataError(
            f"the digits that come with scikit-learn cannot be read ({error}); "
            "install it again: pip install --force-reinstall scikit-learn"
        ) from error
    images = (rows[:, :-1] * 15).astype(np.uint8).reshape(-1, 1, SIDE, SIDE)
    labels = rows[:, -1].astype(np.int64)
    tested = np.zeros(len(labels), dtype=bool)
    for label in range(source.classes):
        tested[np.flatnonzero(labels == label)[-TEST_PER_CLASS:]] = True
    return Pool(source.title, images[~tested], labels[~tested], images[tested], labels[tested])


DIGITS = Source(
    name="digits",
    title="Digits",
    description="handwritten digits, 8x8 grey, 10 classes",
    layout="nothing on disk: comes with scikit-learn",
    origin="scikit-learn's copy of UCI's Optical Recognition of Handwritten Digits (test part), "
    "CC BY 4.0",
    image_shape=(1, SIDE, SIDE),
    classes=10,
    train_count=1297,
    test_count=500,
    read_files=_read,
)
