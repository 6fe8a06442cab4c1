"""Digits: a part of scikit-learn."""

from pathlib import Path

import numpy as np

from driftboard.suite.data.pool import Pool
from driftboard.suite.data.source import Source

TEST_PER_CLASS = 50


def _read(source: Source, _: Path) -> Pool:
    """Read scikit-learn's digits; the last 50 of each class in file order are the test set.

    Their values 0..16 are multiplied by 15, so that the brightest pixel is 240 and every value
    stays a whole number below 255.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)[:, np.newaxis]
    labels = digits.target.astype(np.int64)
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
    image_shape=(1, 8, 8),
    classes=10,
    train_count=1297,
    test_count=500,
    read_files=_read,
)
