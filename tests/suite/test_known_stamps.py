"""Stamps that are kept: the same as those of loading, never stale, and found without torch."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from driftboard.strategies.catalogue import BUILTIN
from driftboard.suite import known_stamps
from driftboard.suite.errors import StrategyError
from driftboard.suite.known_stamps import Stamped, stamped
from driftboard.suite.loading import load_strategy

SPECIFICATIONS = ["ewc,strength=2,rate=0.5", "sgd"]


@pytest.fixture
def loads(monkeypatch):
    """Return the list of what has been loaded, to which every loading adds."""
    found = []
    loaded = known_stamps._loaded
    monkeypatch.setattr(
        known_stamps, "_loaded", lambda texts: (found.append(texts), loaded(texts))[1]
    )
    return found


def expected(texts):
    return tuple(Stamped(text, load_strategy(text).stamp) for text in texts)


def test_kept_stamps_are_those_of_loading(tmp_path, loads):
    for _ in range(2):
        assert stamped(SPECIFICATIONS, tmp_path) == expected(SPECIFICATIONS)
    assert loads == [SPECIFICATIONS]


def test_without_specifications_they_are_those_of_the_board(tmp_path, loads):
    for _ in range(2):
        assert stamped(None, tmp_path) == expected(BUILTIN)
    assert len(loads) == 1


def test_other_specifications_have_stamps_of_their_own(tmp_path):
    stamped(["ewc,strength=2"], tmp_path)
    assert stamped(["ewc,strength=3"], tmp_path) == expected(["ewc,strength=3"])
    assert stamped(["ewc,strength=2", "sgd"], tmp_path) == expected(["ewc,strength=2", "sgd"])


@pytest.mark.parametrize("changed", ["strategies/ewc.py", "suite/loading.py", "strategies/new.py"])
def test_a_changed_source_makes_what_is_kept_void(tmp_path, loads, monkeypatch, changed):
    root = tmp_path / "sources"
    for room in ("strategies", "suite"):
        (root / room).mkdir(parents=True)
    for name in ("strategies/ewc.py", "suite/loading.py"):
        (root / name).write_text("before")
    monkeypatch.setattr(known_stamps, "_folder_of_strategies", lambda: root / "strategies")
    monkeypatch.setattr(known_stamps, "__file__", str(root / "suite" / "known_stamps.py"))
    for content in (None, None, "behind"):  # as long as before
        if content:
            (root / changed).write_text(content)
        stamped(["sgd"], tmp_path / "cache")
    assert len(loads) == 2


def test_strategy_of_a_file_is_always_loaded(tmp_path, weighing, loads):
    for weight in (1.0, 2.0):
        found = stamped(["sgd", str(weighing(weight))], tmp_path / "cache")
        assert found[1].stamp.parameters == {"weight": weight}
    assert len(loads) == 2
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b'[{"specification":"sgd"}]'])
def test_broken_file_is_made_anew(tmp_path, loads, content):
    stamped(["sgd"], tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    assert stamped(["sgd"], tmp_path) == expected(["sgd"])
    assert len(loads) == 2
    assert msgspec.json.decode(path.read_bytes(), type=tuple[Stamped, ...]) == expected(["sgd"])


def test_cache_that_cannot_be_written_costs_only_time(tmp_path):
    (tmp_path / "file").write_text("")
    assert stamped(["sgd"], tmp_path / "file") == expected(["sgd"])


def test_unknown_strategy_is_refused_and_not_kept(tmp_path):
    with pytest.raises(StrategyError, match="there is no strategy 'sgdd'"):
        stamped(["sgdd"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_kept_stamps_are_found_without_torch(tmp_path):
    stamped(SPECIFICATIONS, tmp_path)
    program = (
        "import sys; from pathlib import Path; from driftboard.suite.known_stamps import stamped; "
        f"found = stamped({SPECIFICATIONS!r}, Path({str(tmp_path)!r})); "
        "print(*(each.stamp.name for each in found)); assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path("/")
    )
    assert done.stdout.split() == [each.stamp.name for each in expected(SPECIFICATIONS)]
