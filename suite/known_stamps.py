"""The stamps of strategies that come with the project, kept from when they were last loaded.

Loading a strategy imports torch, which takes seconds; to see that a run has nothing left to do its
stamp is enough. The key of what is kept covers all that such a stamp follows from: what was asked
for, and the bytes of every file that says what a strategy is. So a stale one is never read.
"""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from driftboard.suite.errors import RecordError
from driftboard.suite.records import StrategyStamp, write_atomically


@dataclass(frozen=True)
class Stamped:
    """A strategy by what it is called and what records say of it."""

    specification: str  # for load_strategy
    stamp: StrategyStamp


def stamped(specifications: Sequence[str] | None, cache: Path | None = None) -> tuple[Stamped, ...]:
    """Return the strategies of some specifications, those of the board if None.

    Strategies of a user's file are always loaded: their settings may come from other files.

    Args:
        specifications: as for ``load_strategy``.
        cache: the folder of what is kept; by default the user's own.

    Raises:
        StrategyError: a specification names no strategy, or a setting is wrong.
    """
    if any(".py" in text for text in specifications or ()):
        return _loaded(specifications)
    path = (cache or user_cache_path("driftboard") / "stamps") / f"{_key(specifications)}.json"
    with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return msgspec.json.decode(path.read_bytes(), type=tuple[Stamped, ...])
    found = _loaded(specifications)
    with contextlib.suppress(RecordError):  # a read-only home costs time, not results
        write_atomically(path, msgspec.json.encode(found))
    return found


def _loaded(specifications: Sequence[str] | None) -> tuple[Stamped, ...]:
    from driftboard.strategies.catalogue import BUILTIN
    from driftboard.suite.loading import load_strategy

    loaded = (load_strategy(text) for text in specifications or BUILTIN)
    return tuple(Stamped(each.specification, each.stamp) for each in loaded)


def _key(specifications: Sequence[str] | None) -> str:
    digest = hashlib.sha256(repr((version("driftboard"), specifications)).encode())
    for source in [
        *sorted(_folder_of_strategies().glob("*.py")),
        Path(__file__).with_name("loading.py"),
    ]:
        content = source.read_bytes()
        digest.update(f"{source.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _folder_of_strategies() -> Path:
    """Return where the strategies' sources lie, without importing them."""
    found = find_spec("driftboard.strategies")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent
