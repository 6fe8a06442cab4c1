"""What a results folder holds: whether its records are of what is asked for, and its mark."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from driftboard.suite.errors import DataError, RecordError, counted, refusal_of
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import (
    MARKER,
    ProtocolStamp,
    SequenceStamp,
    read_record,
    record_paths,
    write_atomically,
)
from driftboard.suite.sequences.splits import Purpose

R = TypeVar("R")

Parts = Iterable[tuple[str, object, object]]
"""What is compared, in words; what a record says; what is asked for."""

OVERWRITE = "--overwrite (in Python overwrite=True) to measure them again"
UNREADABLE = "that this version cannot read"
OF_OTHER_IMAGES = "of other images"


@dataclass
class Outdated:
    """Records of a results folder that are of something else than what is asked for.

    Args:
        changed: what was measured on other images, each with a line that says so.
        kinds: the records, by what they are of, in words.
        asked: all that is asked for and there.
    """

    changed: Mapping[Path, str] = field(default_factory=dict)
    kinds: dict[str, list[Path]] = field(default_factory=dict)
    asked: set[Path] = field(default_factory=set)

    @property
    def paths(self) -> list[Path]:
        """All outdated records."""
        return [path for paths in self.kinds.values() for path in paths]

    def lacking(
        self,
        paths: Mapping[int, Path],
        read: Callable[[Path], R],
        parts: Callable[[R, int], Parts],
    ) -> tuple[int, ...]:
        """Return the seeds whose records have to be made, and note those of something else.

        Args:
            paths: by seed, where the record is, if there is one.
            read: returns what a path holds.
            parts: returns what is compared of a record for a seed.
        """
        return tuple(seed for seed, path in paths.items() if self._lacks(path, read, parts, seed))

    def _lacks(
        self, path: Path, read: Callable[[Path], R], parts: Callable[[R, int], Parts], seed: int
    ) -> bool:
        if not path.exists():
            return True
        self.asked.add(path)
        try:
            differing = (what for what, said, wanted in parts(read(path), seed) if said != wanted)
            other = next((f"of another {what}" for what in differing), None)
        except RecordError:
            other = UNREADABLE
        other = other or (OF_OTHER_IMAGES if path in self.changed else None)
        if other is not None:
            self.kinds.setdefault(other, []).append(path)
        return other is not None

    def in_words(self) -> str:
        """Return how many there are of which kind, and name one."""
        kinds = {what: counted(len(paths), "record") for what, paths in self.kinds.items()}
        first = min(next(iter(self.kinds.values())))
        return f"{', '.join(f'{n} {what}' for what, n in kinds.items())}, such as {first}"

    def refuse(self, results: Path) -> None:
        """Refuse to go on if there are any.

        Raises:
            RecordError: says how many, and how they are measured again.
        """
        if self.kinds:
            raise RecordError(
                f"{results} holds {self.in_words()}; add {OVERWRITE}, or choose another --out"
            )

    def check_others(self, results: Path) -> list[str]:
        """Check that nothing of other images is left beside what is measured again.

        Returns:
            A line for what another command has measured on them.

        Raises:
            DataError: something that this command could have measured is left.
        """
        kinds = {path.relative_to(results).parts[0] for path in self.asked}
        left = [path for path in self.changed if path not in self.asked]
        for path in left:
            if path.relative_to(results).parts[0] in kinds:
                raise DataError(
                    f"{self.changed[path]}; ask for all that {results} holds, or choose another "
                    "--out"
                )
        return [f"{self.changed[path]}; measure it again as well" for path in left]


def claim_folder(results: Path, purpose: Purpose, again: Iterable[Path] = ()) -> None:
    """Mark a results folder with the protocol's stamp, or check the mark that is there.

    Args:
        results: the folder.
        purpose: what its records are, or will be, made for.
        again: its records that are of something else and will be measured again.

    Raises:
        RecordError: it cannot be written, or holds results of another protocol or split.
    """
    marker, replaced = results / MARKER, set(again)
    first = next((path for path in record_paths(results) if path not in replaced), None)
    if not marker.exists():
        _write_mark(marker)
    try:
        found = msgspec.json.decode(marker.read_bytes(), type=ProtocolStamp)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordError(f"{marker} is not readable: {error}; choose another --out") from error
    if found != PROTOCOL.stamp() and (first is not None or not replaced):
        raise RecordError(
            f"{results} holds results of protocol {found.name} {found.version} "
            f"({found.hash[:12]}), this is {PROTOCOL.name} {PROTOCOL.version} "
            f"({PROTOCOL.stamp().hash[:12]}); choose another --out"
        )
    if found != PROTOCOL.stamp():
        _write_mark(marker)
    if first is not None and read_record(first).split != purpose:
        raise RecordError(
            f"{first} is not of the {purpose} split, and no board shows both; choose another --out"
        )


def check_writable(folder: Path) -> None:
    """Check that a folder can be made and written to, before anything is trained for it.

    Raises:
        RecordError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # of no name, so a killed process leaves nothing
            pass
    except OSError as error:
        raise RecordError(
            f"cannot write {folder}: {refusal_of(error)}, then run the same command again"
        ) from error


def _write_mark(marker: Path) -> None:
    write_atomically(marker, msgspec.json.encode(PROTOCOL.stamp()) + b"\n")


class _Measured(msgspec.Struct):
    """What records, sweeps and grades have in common, as far as it is needed here."""

    sequence: SequenceStamp


MEASURED = ("records/*/*/seed-*.json", "sweeps/*/seed-*.json", "grades/*.json", "grades/*/*.json")
"""Where a results folder keeps what was measured."""


def measured(results: Path) -> dict[Path, SequenceStamp]:
    """Return what each file with something measured says of its sequence.

    Broken ones are left out: whoever needs them complains of them.
    """
    paths = (path for pattern in MEASURED for path in sorted(results.glob(pattern)))
    return {path: stamp for path in paths if (stamp := _stamp_of(path)) is not None}


def _stamp_of(path: Path) -> SequenceStamp | None:
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Measured).sequence
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
