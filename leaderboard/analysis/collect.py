"""From results folders to one row of metrics per cell (sequence, strategy, seed).

Whatever must not stand in one table is refused or left out with a line that names it: nothing is
mixed, guessed or dropped in silence.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from driftboard.leaderboard.analysis.cells import Cell, Measure, cell_of, matrix_of
from driftboard.leaderboard.analysis.join import (
    EVERYTHING,
    Choice,
    Join,
    LeftOut,
    Place,
    Source,
    Unchosen,
    measure_of,
)
from driftboard.suite.errors import RecordError, counted
from driftboard.suite.metrics import Matrix
from driftboard.suite.records import (
    AnyRecord,
    Environment,
    ProtocolStamp,
    SequenceStamp,
    StrategyStamp,
    cell_place,
    name_part,
    read_record,
    record_paths,
)

OVERALL = "overall"  # what the tables call the mean over all sequences

PUBLISHED = Source("", is_published=True)
"""Stands for all published sets together."""


@dataclass(frozen=True, slots=True)
class Collection:
    """All cells of one measure, protocol and split, sorted by sequence, strategy and seed.

    ``matrices`` holds the mean over the seeds that finished of the accuracy matrices, shape
    (tasks, tasks), entry [t, k] for task k after training task t, by sequence and strategy; of
    excess losses likewise. ``builds`` counts records by the digest of the package that made them,
    None where it was not recorded. ``backing`` names by strategy the sources that have all of its
    cells as they stand, published sets taken together as ``PUBLISHED``.
    """

    cells: tuple[Cell, ...]
    matrices: Mapping[tuple[str, str], tuple[tuple[float, ...], ...]]
    measure: Measure
    protocol: ProtocolStamp
    split: Literal["test", "validation"]
    sequences: Mapping[str, SequenceStamp]
    versions: Mapping[str, tuple[str, ...]]  # e.g. "torch": every version behind the records
    builds: Mapping[str | None, int]
    backing: Mapping[str, frozenset[Source]]
    left_out: LeftOut
    skipped: tuple[str, ...]  # why, for each broken record that was left out


@dataclass(frozen=True, slots=True)
class _Kept:
    """What remains of a record once it has been read: far less memory than the record."""

    cell: Cell
    matrix: Matrix
    environment: Environment


class _Gathered:
    """Takes one record after the other and keeps what a collection needs of each."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.kept: dict[Place, _Kept] = {}
        self.sequences: dict[str, SequenceStamp] = {}
        self.strategies: dict[str, StrategyStamp] = {}
        self.sample: AnyRecord | None = None
        self.join = Join()
        self._taken: set[tuple[str, str]] = set()  # sequence and strategy
        self._left: dict[tuple[str, str], int] = {}

    def asks_for(self, sequence: str, strategy: str) -> bool:
        """Tell whether records of this sequence and strategy are wanted, and count them if not."""
        place = sequence, strategy
        if place in self._taken:
            return True
        if place not in self._left and self.choice.takes(sequence, strategy):
            self._taken.add(place)
            return True
        self._left[place] = self._left.get(place, 0) + 1
        return False

    def take(self, source: Source, path: Path, record: AnyRecord, in_memory: bool = False) -> None:
        """Add a record, if it stands."""
        if not self.join.take(source, path, record, in_memory):
            return
        self.sample = self.sample or record
        self.strategies[record.strategy.name] = record.strategy
        self.sequences[record.sequence.name] = record.sequence
        matrix = matrix_of(record)
        cell = cell_of(record, matrix)
        place = (cell.sequence, cell.strategy, cell.seed)
        self.kept[place] = _Kept(cell, matrix, record.environment)

    def collection(self, skipped: Sequence[str]) -> Collection:
        """Return what was gathered.

        Raises:
            DriftboardError: there is nothing; a source contradicts itself; or a pattern matches
                nothing.
        """
        places = self._taken | self._left.keys()
        self.choice.check(
            {sequence for sequence, _ in places}, {strategy for _, strategy in places}
        )
        if self.sample is None:
            raise RecordError(
                self.choice.nothing_taken(places)
                if places
                else "no results folder was given; name at least one"
            )
        self.join.check()
        check_names(self.strategies.values())
        kept = [self.kept[place] for place in sorted(self.kept)]
        return Collection(
            cells=tuple(one.cell for one in kept),
            matrices=_mean_matrices(kept),
            measure=measure_of(self.sample),
            protocol=self.sample.protocol,
            split=self.sample.split,
            sequences=self.sequences,
            versions=_versions([one.environment for one in kept]),
            builds=Counter(one.environment.package for one in kept),
            backing=self._backing(),
            left_out=self.join.left_out(self._unchosen()),
            skipped=tuple(sorted(set(skipped))),
        )

    def _unchosen(self) -> Unchosen | None:
        if not self._left:
            return None
        strategies = {name for _, name in self._left} - {name for _, name in self._taken}
        sequences = {name for name, _ in self._left} - {name for name, _ in self._taken}
        count = sum(self._left.values())
        return Unchosen(count, tuple(sorted(strategies)), tuple(sorted(sequences)))

    def _backing(self) -> dict[str, frozenset[Source]]:
        backing: dict[str, frozenset[Source]] = {}
        for place in self.kept:
            sources = frozenset(
                PUBLISHED if source.is_published else source for source in self.join.sources(place)
            )
            backing[place[1]] = backing.get(place[1], sources) & sources
        return backing


def collect(
    results: Sequence[Path],
    skip_broken: bool = False,
    records: Mapping[Source, Iterable[AnyRecord]] = {},
    choice: Choice = EVERYTHING,
) -> Collection:
    """Read the records below results folders and those in memory that are asked for.

    Where sources meet, ``join.py`` says which stand: folders as they are named, then ``records``,
    published ones last, or first if ``choice`` prefers them. With ``skip_broken`` an unreadable
    record is left out and counted.

    Raises:
        RecordError: a folder without records; a broken record; a file that lies in the wrong
            place; a folder with two versions of a strategy or sequence; folders of several
            measures, protocols or splits; or nothing that is asked for.
        DriftboardError: a pattern matches nothing, or published records are preferred and there
            are none.
    """
    gathered = _Gathered(choice)
    skipped: list[str] = []
    folders = {Source(str(folder)): folder for folder in results}
    for source in choice.in_order([*folders, *records]):
        if source in folders:
            skipped += _read_folder(source, folders[source], skip_broken, gathered)
            continue
        for record in records[source]:
            if gathered.asks_for(record.sequence.name, record.strategy.name):
                gathered.take(source, Path(source.name), record, in_memory=True)
    return gathered.collection(skipped)


def read_folder(folder: Path) -> list[AnyRecord]:
    """Return the records of a results folder.

    Raises:
        RecordError: there are none, one is broken, or lies in the wrong place.
    """
    records = []
    for path in record_paths(folder):
        record = read_record(path)
        _check_place(path, record)
        records.append(record)
    if not records:
        raise RecordError(_nothing_in(folder, "no records"))
    return records


def _mean_matrices(kept: Iterable[_Kept]) -> dict[tuple[str, str], tuple[tuple[float, ...], ...]]:
    by_place: dict[tuple[str, str], list[Matrix]] = {}
    for one in kept:
        if not one.cell.has_finished:
            continue
        by_place.setdefault((one.cell.sequence, one.cell.strategy), []).append(one.matrix)
    means = {place: np.mean(matrices, axis=0) for place, matrices in by_place.items()}
    return {place: tuple(map(tuple, mean.tolist())) for place, mean in means.items()}


def _read_folder(source: Source, folder: Path, skip_broken: bool, gathered: _Gathered) -> list[str]:
    """Read the records of one folder and return why broken ones were left out."""
    broken: list[str] = []
    count = 0
    for path in record_paths(folder):
        sequence, strategy = path.parts[-3:-1]
        count += 1
        if not gathered.asks_for(sequence, strategy):
            continue
        try:
            record = read_record(path)
        except RecordError as error:
            if not skip_broken:
                raise RecordError(f"{error}, or leave it out with --skip-broken") from error
            broken.append(str(error))
            continue
        _check_place(path, record)
        gathered.take(source, path, record)
    if count == len(broken):
        state = f"only {counted(len(broken), 'broken record')}" if broken else "no records"
        raise RecordError(_nothing_in(folder, state))
    return broken


def _nothing_in(folder: Path, state: str) -> str:
    return f"{state} in {folder}; name a results folder that 'driftboard run' has filled"


def _check_place(path: Path, record: AnyRecord) -> None:
    if record.sequence.name == OVERALL:
        raise RecordError(f"{path}: '{OVERALL}' is no name for a sequence, the tables use it")
    place = cell_place(record.sequence.name, record.strategy.name, record.seed)
    if path.parts[-3:] != place:
        raise RecordError(
            f"{path} holds the record of {'/'.join(('records', *place))}; "
            "move the file there or delete it"
        )


def check_names(strategies: Iterable[StrategyStamp]) -> None:
    """Check that no strategy stands under two names, which would be two rows of one method.

    Names tell settings: two names of equal source and settings are those of one strategy where
    they differ in the settings told only, which may be defaults or in another order.

    Raises:
        RecordError: one does.
    """
    names: dict[object, str] = {}
    for one in sorted(strategies, key=lambda stamp: stamp.name):
        settings = {key: value for key, value in one.parameters.items() if (key, value) != _NO_RATE}
        kind = _base_name(one), one.role, one.source_hash, tuple(sorted(settings.items()))
        if (other := names.setdefault(kind, one.name)) != one.name:
            raise RecordError(
                f"{other} and {one.name} are one strategy with equal settings under two names; "
                "leave the records of one of them out, for example by --exclude"
            )


_NO_RATE = ("rate", 1.0)


def _base_name(strategy: StrategyStamp) -> str:
    """Return the name without the settings that it tells."""
    name = strategy.name
    parts = [name_part(key, value) for key, value in strategy.parameters.items()]
    while told := next(filter(name.endswith, parts), None):
        name = name.removesuffix(told)
    return name


def _versions(environments: Iterable[Environment]) -> dict[str, tuple[str, ...]]:
    """Return every version that occurs, by what it is a version of."""
    fields = {"driftboard": "driftboard", "Python": "python", "torch": "torch"}
    fields |= {"device": "device", "lane": "lane"}
    found: dict[str, set[str]] = {title: set() for title in fields}
    for environment in environments:
        for title, field in fields.items():
            found[title].add(getattr(environment, field))
    return {title: tuple(sorted(versions)) for title, versions in found.items()}
