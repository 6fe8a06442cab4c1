"""Results: the records of a run, of results folders or of what is published, as frames."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from driftboard.suite.errors import DriftboardError, RecordError
from driftboard.suite.patterns import matching, no_match
from driftboard.suite.records import AnyRecord, LossRecord

if TYPE_CHECKING:
    import pandas as pd

    from driftboard.leaderboard.analysis.cells import Cell
    from driftboard.leaderboard.analysis.join import LeftOut


@dataclass(frozen=True, eq=False)
class Results:
    """Records of cells, one for every sequence, strategy and seed, in this order.

    Attributes:
        records: the records as they were written; every number follows from them.
        folders: the results folders they came from, whose grades a leaderboard uses.
        published: the names of the published sets among them.
        left_out: what several folders had of the same cells, strategies or sequences and is not
            among the records; a leaderboard says so.
        made_by: the Python that makes these results again, as a leaderboard prints it.

    >>> import driftboard as db
    >>> results = db.published("quick")
    >>> results
    <Results: 1560 records, 6 sequences x 52 strategies x 5 seeds, 1 diverged>
    >>> results.accuracy("digits-split", "ewc", seed=0).shape
    (5, 5)
    """

    records: tuple[AnyRecord, ...]
    folders: tuple[Path, ...] = ()
    published: tuple[str, ...] = ()
    left_out: "LeftOut | None" = None
    made_by: str = field(default="results", repr=False)

    def frame(self) -> "pd.DataFrame":
        """Return a tidy frame: one row per sequence, strategy, seed and metric.

        Columns: ``sequence``, ``suite``, ``strategy``, ``role``, ``seed``, ``status``,
        ``metric`` and ``value``. Metrics are those of the leaderboard (``avg_acc``, ``task_acc``,
        ``forgetting`` and others, as shares and not in percent; ``avg_loss``, ``task_loss`` and
        ``forgetting`` of excess losses), ``step`` and ``drift`` (relative to the size of the
        parameters), ``memory_bytes``, ``operations`` (floating-point, of training, NaN where they
        were not counted) and ``seconds``. A run whose ``status`` is ``diverged`` has the accuracy
        of chance from there on, and neither step nor drift.

        >>> import driftboard as db
        >>> frame = db.published("quick").frame()
        >>> ewc = frame.query("strategy == 'ewc' and metric == 'avg_acc'")
        >>> print(round(ewc["value"].mean(), 3))
        0.82
        """
        import pandas as pd

        rows = [
            (*_place(cell), name, value) for cell in self._cells for name, value in _values(cell)
        ]
        columns = ["sequence", "suite", "strategy", "role", "seed", "status", "metric", "value"]
        return pd.DataFrame(rows, columns=columns)

    def accuracy(self, sequence: str, strategy: str, seed: int | None = None) -> "pd.DataFrame":
        """Return the accuracy matrix, shape (tasks, tasks), entries in [0, 1].

        Row t holds the test accuracies on every task after training task t; tasks are counted
        from 1. Without ``seed``, entries are means over the seeds that did not diverge; the
        frame's ``attrs`` say which seeds ``finished`` and which ``diverged``.

        Raises:
            DriftboardError: there is no such cell, all of them diverged, or records hold losses.

        >>> import driftboard as db
        >>> matrix = db.published("quick").accuracy("digits-split", "noop", seed=0)
        >>> bool((matrix.iloc[0] == matrix.iloc[-1]).all())  # noop stops after the first task
        True
        """
        return self._matrix(sequence, strategy, seed, losses=False)

    def losses(self, sequence: str, strategy: str, seed: int | None = None) -> "pd.DataFrame":
        """Return the matrix of excess losses of a linear sequence, laid out as ``accuracy``."""
        return self._matrix(sequence, strategy, seed, losses=True)

    def select(
        self,
        sequences: str | Iterable[str] | None = None,
        strategies: str | Iterable[str] | None = None,
        seeds: Iterable[int] | None = None,
    ) -> "Results":
        """Return the results on some sequences, of some strategies, with some seeds.

        Sequences and strategies may be patterns such as ``fashion-*``.

        Raises:
            DriftboardError: a pattern matches nothing.

        >>> import driftboard as db
        >>> db.published("quick").select("digits-r*", ["sgd", "ewc"])
        <Results: 30 records, 3 sequences x 2 strategies x 5 seeds>
        """
        if sequences is None and strategies is None and seeds is None:
            return self
        on, of = names_of(sequences), names_of(strategies)
        wanted = None if seeds is None else tuple(seeds)
        found_on = matching(on, self.sequences, "these results have no sequence")
        found_of = matching(of, self.strategies, "these results have no strategy")
        chosen = [
            record
            for record in self.records
            if record.sequence.name in found_on
            and record.strategy.name in found_of
            and (wanted is None or record.seed in wanted)
        ]
        if not chosen:
            raise DriftboardError("no record is of these sequences, strategies and seeds")
        given = {"sequences": on, "strategies": of, "seeds": wanted}
        arguments = [f"{name}={[*some]!r}" for name, some in given.items() if some is not None]
        made_by = f"{self.made_by}.select({', '.join(arguments)})"
        return replace(self, records=tuple(chosen), made_by=made_by)

    @property
    def sequences(self) -> tuple[str, ...]:
        """The names of the sequences, sorted."""
        return tuple(sorted({record.sequence.name for record in self.records}))

    @property
    def strategies(self) -> tuple[str, ...]:
        """The names of the strategies, sorted."""
        return tuple(sorted({record.strategy.name for record in self.records}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, sorted."""
        return tuple(sorted({record.seed for record in self.records}))

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.records)

    def __repr__(self) -> str:
        """Say how much there is, and how much of it diverged or was left out."""
        counts = {"diverged": sum(record.status == "diverged" for record in self.records)}
        counts["left out"] = self.left_out.records if self.left_out else 0
        others = "".join(f", {count} {what}" for what, count in counts.items() if count)
        return (
            f"<Results: {len(self)} records, {len(self.sequences)} sequences x "
            f"{len(self.strategies)} strategies x {len(self.seeds)} seeds{others}>"
        )

    def _repr_html_(self) -> str:
        """Return the mean Avg.Acc (or Avg.Loss) of every strategy on every sequence, as HTML.

        Runs that diverged count with the accuracy of chance, and a line says how many there are.
        """
        frame = self.frame()
        first = frame[frame["metric"].isin(["avg_acc", "avg_loss"])]
        table = first.pivot_table("value", "strategy", ["metric", "sequence"])
        text = str(table.to_html(float_format=lambda value: f"{value:.3f}"))
        count = int((first["status"] == "diverged").sum())
        if not count:
            return text
        return f"{text}<p>{count} of {len(first)} runs diverged and count as chance.</p>"

    @cached_property
    def _cells(self) -> "list[Cell]":
        from driftboard.leaderboard.analysis.cells import cell_of, matrix_of

        return [cell_of(record, matrix_of(record)) for record in self.records]

    def _matrix(
        self, sequence: str, strategy: str, seed: int | None, losses: bool
    ) -> "pd.DataFrame":
        import numpy as np
        import pandas as pd

        from driftboard.leaderboard.analysis.cells import matrix_of

        found = [
            record
            for record in self.records
            if (record.sequence.name, record.strategy.name) == (sequence, strategy)
            and seed in (None, record.seed)
        ]
        if not found:
            raise DriftboardError(self._missing(sequence, strategy, seed))
        if any(isinstance(record, LossRecord) != losses for record in found):
            other = "accuracy" if losses else "losses"
            raise DriftboardError(f"{sequence} has no such matrix; use .{other}(...)")
        seeds = {
            status: [record.seed for record in found if record.status == status]
            for status in ("finished", "diverged")
        }
        if seed is None:
            found = [record for record in found if record.status == "finished"]
        if not found:
            raise DriftboardError(
                f"all runs of {strategy} on {sequence} diverged, so there is no mean; name a seed"
            )
        mean: np.ndarray = np.mean([matrix_of(record) for record in found], axis=0)
        tasks = range(1, len(mean) + 1)
        frame = pd.DataFrame(
            mean, index=pd.Index(tasks, name="after task"), columns=pd.Index(tasks, name="task")
        )
        frame.attrs |= seeds
        return frame

    def _missing(self, sequence: str, strategy: str, seed: int | None) -> str:
        for what, name, known in (
            ("sequence", sequence, self.sequences),
            ("strategy", strategy, self.strategies),
        ):
            if name not in known:
                return no_match(name, known, f"these results have no {what}")
        which = "" if seed is None else f" with seed {seed}"
        return f"these results have no record of {strategy} on {sequence}{which}"


def load(
    *folders: str | Path,
    sequences: str | Iterable[str] | None = None,
    strategies: str | Iterable[str] | None = None,
) -> Results:
    """Return the records of results folders, as ``driftboard run`` and ``driftboard.run`` fill.

    Of a cell that several folders have, and of a strategy or sequence of which they have several
    versions, the first folder's stands; ``left_out`` says what does not.

    Args:
        folders: one or several.
        sequences: names or patterns; None takes all.
        strategies: names or patterns; None takes all.

    Raises:
        RecordError: a folder has no records, or a record is broken or lies in the wrong place.

    >>> import driftboard as db
    >>> db.load("no-such-folder")
    Traceback (most recent call last):
    driftboard.suite.errors.RecordError: no records in no-such-folder; name a results folder that 'driftboard run' has filled
    """  # noqa: E501
    from driftboard.leaderboard.analysis.collect import read_folder
    from driftboard.leaderboard.analysis.join import Join, Source

    if not folders:
        raise RecordError("no results folder was given; name at least one")
    paths = tuple(dict.fromkeys(map(Path, folders)))
    join, records = Join(), list[AnyRecord]()
    for path in paths:
        source = Source(str(path))
        records += [one for one in read_folder(path) if join.take(source, path, one, True)]
    made_by = f"driftboard.load({', '.join(repr(str(path)) for path in paths)})"
    found = Results(
        sorted_records(records), folders=paths, left_out=join.left_out(), made_by=made_by
    )
    return found.select(sequences, strategies)


def published(
    *names: str,
    sequences: str | Iterable[str] | None = None,
    strategies: str | Iterable[str] | None = None,
) -> Results:
    """Return published records, which come with the package.

    Args:
        names: of published sets, such as ``quick`` and ``core-fashion``.
        sequences: names or patterns; None takes all.
        strategies: names or patterns; None takes all.

    Raises:
        DriftboardError: there is no published set of that name.

    >>> import driftboard as db
    >>> db.published("core-cifar10").sequences
    ('cifar10-corrupted-3', 'cifar10-overlap-50', 'cifar10-split')
    """
    from driftboard.baselines.published import published_records, published_sets

    if not names:
        known = ", ".join(published_sets())
        raise DriftboardError(f"name what is to be loaded; there are {known}")
    records = [record for name in names for record in published_records(name)]
    made_by = f"driftboard.published({', '.join(map(repr, names))})"
    found = Results(sorted_records(records), published=names, made_by=made_by)
    return found.select(sequences, strategies)


def sorted_records(records: Iterable[AnyRecord]) -> tuple[AnyRecord, ...]:
    """Return records in the order of sequence, strategy and seed."""
    return tuple(sorted(records, key=lambda r: (r.sequence.name, r.strategy.name, r.seed)))


def names_of(some: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Return one or several names as a tuple, which can be gone through more than once."""
    return some if some is None else (some,) if isinstance(some, str) else tuple(some)


def _place(cell: "Cell") -> tuple[str, str, str, str, int, str]:
    return cell.sequence, cell.tier, cell.strategy, cell.role, cell.seed, cell.status


def _values(cell: "Cell") -> list[tuple[str, float]]:
    moved = [("step", cell.step), ("drift", cell.drift)]
    operations = math.nan if cell.operations is None else float(cell.operations)
    cost = [("memory_bytes", float(cell.memory_bytes)), ("operations", operations)]
    return [*cell.metrics.items(), *moved, *cost, ("seconds", cell.seconds)]
