"""Data folders that several tests share; ``made_up_data`` can be imported from all of them."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from driftboard.suite.data import SOURCES

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/driftboard/data"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def small_cifar10(monkeypatch):
    """CIFAR-10 with two training images and one test image per class."""
    monkeypatch.setitem(
        SOURCES, "cifar10", replace(SOURCES["cifar10"], train_count=20, test_count=10)
    )


@pytest.fixture
def small_mnist(monkeypatch):
    from made_up_data import SMALL_MNIST

    monkeypatch.setitem(SOURCES, "mnist", SMALL_MNIST)
