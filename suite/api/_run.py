"""What there is to run, and running it: ``driftboard.run``, ``grade`` and what they take."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from driftboard._results import Results, sorted_records
from driftboard.suite.errors import DriftboardError, counted

if TYPE_CHECKING:
    import pandas as pd

    from driftboard.strategies.base import Strategy
    from driftboard.suite.checks import Result
    from driftboard.suite.distance.grades import GradeRecord
    from driftboard.suite.runs.request import Request
    from driftboard.suite.sequences.task_sequence import TaskSequence

    AnyStrategy = str | Strategy | type[Strategy]


def sequences(suite: str | None = None) -> "pd.DataFrame":
    """Return the registered task sequences, a row each, indexed by name.

    Args:
        suite: ``quick``, ``linear``, ``core`` or ``full``; None lists all.

    Returns:
        A frame with the columns ``suite``, ``data``, ``scenario`` (its class), ``tasks``,
        ``network``, ``distance`` between consecutive tasks (0 for equal, 2 for unrelated ones)
        with ``distance_low`` and ``distance_high`` (95 %), ``grade``, and ``description``. The
        distance is missing where none was measured.

    >>> import driftboard as db
    >>> db.sequences("quick").loc["digits-split", ["data", "scenario", "network"]].tolist()
    ['digits', 'Split', 'mlp-128x2']
    """
    import pandas as pd

    from driftboard.suite.distance.grades import known_grades
    from driftboard.suite.errors import DriftboardError
    from driftboard.suite.sequences.registry import registered

    known = registered()
    suites = list(dict.fromkeys(sequence.tier for sequence in known.values()))
    if suite is not None and suite not in suites:
        raise DriftboardError(f"there is no suite '{suite}'; there are {', '.join(suites)}")
    grades = known_grades()
    rows = {}
    for name, sequence in known.items():
        if suite not in (None, sequence.tier):
            continue
        grade = grades.get(sequence.hash())
        distance = grade.distance if grade else None
        rows[name] = {
            "suite": sequence.tier,
            "data": sequence.source,
            "scenario": type(sequence.scenario).__name__,
            "tasks": sequence.scenario.tasks,
            "network": sequence.network_name,
            "distance": getattr(distance, "value", None),
            "distance_low": getattr(distance, "low", None),
            "distance_high": getattr(distance, "high", None),
            "grade": grade.level if grade else None,
            "description": sequence.description,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("sequence")


def strategies() -> "pd.DataFrame":
    """Return the strategies that come with the package, a row each, indexed by name.

    Returns:
        A frame with the columns ``family``, ``role`` (``ranked`` or ``bound``), ``default``
        (whether a run takes it when none is named), ``stores`` (``nothing``, ``parameters`` or
        ``examples``), ``parameters`` (a dict), ``summary`` and ``literature``.

    >>> import driftboard as db
    >>> db.strategies().loc["ewc", "parameters"]["strength"]
    30.0
    """
    import dataclasses

    import pandas as pd

    from driftboard.suite.listing import known_strategies

    rows = {one.name: dataclasses.asdict(one) for one in known_strategies()}
    return pd.DataFrame.from_dict(rows, orient="index").drop(columns="name").rename_axis("strategy")


Device = Literal["auto", "cpu", "cuda"]
SESSION_FOLDER = "session"


def run(
    suite: str | None = None,
    *,
    strategies: "AnyStrategy | Iterable[AnyStrategy] | None" = None,
    sequences: "str | TaskSequence | Iterable[str | TaskSequence] | None" = None,
    seeds: int | None = None,
    out: str | Path = "driftboard-results",
    data: str | Path | None = None,
    device: Device = "auto",
    workers: int | None = None,
    tuning: bool = False,
    overwrite: bool = False,
) -> Results:
    """Train every strategy on every sequence, and return the results.

    What is in ``out`` already is not trained again: stopped at any moment, by Ctrl-C too, the same
    call goes on and ends with the same records. Progress is shown on stderr, in notebooks too.
    Works in a script as it stands: worker processes do not run the script again.

    Args:
        suite: ``quick``, ``linear``, ``core`` or ``full``; without it and without ``sequences``
            ``quick``.
        strategies: names as on the command line (``ewc``, ``ewc,strength=10``, ``FILE.py``,
            ``FOLDER``), objects (``MyMethod(strength=0.1)``) and classes, one or several; without
            it all that are built in. Of a class of your script or notebook, records tell versions
            apart by its code, that of the functions and values around it that it uses, and the
            files of your modules that these import.
        sequences: names, patterns such as ``digits-*``, and ``TaskSequence`` objects.
        seeds: how many of the protocol's seeds, from the first on; None takes all.
        out: the results folder.
        data: the data folder; without it ``DRIFTBOARD_DATA``, else your own data folder.
        device: where to train.
        workers: processes; one per CPU core, or one for CUDA, without it.
        tuning: use the tuning seeds and test on a part of the training data: for choosing
            hyper-parameters, never for results that are reported.
        overwrite: train again what ``out`` holds of another version of a strategy, a sequence, the
            data or the protocol, which is refused without it.

    Returns:
        The results of what was asked for, also where ``out`` holds more.

    Raises:
        DriftboardError: there is no such suite, sequence, strategy or data set, or training
            failed; what was trained is kept.

    Example::

        import driftboard as db

        results = db.run("quick", strategies=["sgd", "ewc"], seeds=2, out="results")
        results.accuracy("digits-split", "ewc", seed=0)
    """
    from driftboard._session import load_all_sequences, load_strategies
    from driftboard.suite.linear.cells import default_strategies
    from driftboard.suite.protocol import PROTOCOL
    from driftboard.suite.records import cell_path, read_record, record_paths
    from driftboard.suite.runs.request import Request
    from driftboard.suite.sequences.task_sequence import choose_sequences

    _check_choices(seeds, device, workers)
    folder = Path(out)
    names, files, known = load_all_sequences(_listed(sequences), folder / SESSION_FOLDER)
    if suite is not None and suite not in {one.tier for one in known.values()}:
        raise DriftboardError(f"there is no suite '{suite}'; see driftboard.sequences()")
    chosen = choose_sequences(known, suite, names or None, bool(files))
    PROTOCOL.check_seed_count(seeds, (one.tier for one in chosen), tuning=tuning)
    given = default_strategies(chosen) if strategies is None else strategies
    loaded = load_strategies(given, folder / SESSION_FOLDER)
    _check_names([one.stamp.name for one in loaded])
    request = Request(
        sequences=chosen,
        sequence_files=files,
        strategies=tuple(loaded),
        seed_count=seeds,
        purpose="validation" if tuning else "test",
        results=folder,
        data=None if data is None else Path(data),
        device=device,
        overwrite=overwrite,
    )
    _measure(request, workers, request.described())
    records = [
        read_record(cell_path(folder, sequence.name, strategy.stamp.name, seed))
        for sequence in chosen
        for strategy in loaded
        for seed in request.seeds(sequence)
    ]
    made_by = f"driftboard.load({str(folder)!r})"
    results = Results(sorted_records(records), folders=(folder,), made_by=made_by)
    if len(results) == sum(1 for _ in record_paths(folder)):
        return results
    return replace(results, made_by=f"{made_by}{_selection(results)}")


def _selection(results: Results) -> str:
    """Return the call that chooses these results among all of their folder."""
    sequences, strategies, seeds = results.sequences, results.strategies, results.seeds
    return f".select(sequences={[*sequences]!r}, strategies={[*strategies]!r}, seeds={[*seeds]!r})"


@dataclass(frozen=True, eq=False)
class Grades:
    """How far apart the tasks of sequences are, as ``driftboard.grade`` measured it."""

    records: "tuple[GradeRecord, ...]"

    def frame(self) -> "pd.DataFrame":
        """Return a row per sequence: ``distance`` with its 95 % interval, ``grade``, ``note``.

        The distance is between consecutive tasks: 0 for equal, 2 for unrelated ones.
        """
        import pandas as pd

        from driftboard.suite.distance.grades import grade_of

        grades = [grade_of(record) for record in self.records]
        rows = [
            (
                grade.sequence,
                grade.distance.value,
                grade.distance.low,
                grade.distance.high,
                grade.reliability,
                grade.level,
                grade.note,
            )
            for grade in grades
        ]
        columns = ["sequence", "distance", "low", "high", "reliability", "grade", "note"]
        return pd.DataFrame(rows, columns=columns).set_index("sequence")

    def pairs(self) -> "pd.DataFrame":
        """Return the measures of every pair of tasks, as ``grades/pairs.csv`` has them."""
        import pandas as pd

        from driftboard.suite.distance.grades import pair_table

        return pd.read_csv(io.StringIO(pair_table(list(self.records))))

    def __repr__(self) -> str:
        """Return the table as text."""
        return str(self.frame().to_string(float_format=lambda value: f"{value:.2f}"))

    def _repr_html_(self) -> str:
        return str(self.frame().to_html(float_format=lambda value: f"{value:.2f}"))


def grade(
    sequences: "str | TaskSequence | Iterable[str | TaskSequence]",
    *,
    seeds: int | None = None,
    parts: int = 2,
    out: str | Path = "driftboard-results",
    data: str | Path | None = None,
    device: Device = "auto",
    workers: int | None = None,
    overwrite: bool = False,
) -> Grades:
    """Measure the parameter distance between the tasks of sequences.

    Args:
        sequences: names, patterns such as ``digits-*``, and ``TaskSequence`` objects.
        seeds: how many of the protocol's seeds, from the first on; None takes all.
        parts: separate parts of each task that are trained on, at least 2.
        out: the results folder; boards made of it use these grades.
        data: the data folder; without it ``DRIFTBOARD_DATA``, else your own data folder.
        device: where to train.
        workers: processes; one per CPU core, or one for CUDA, without it.
        overwrite: as for ``run``.

    Raises:
        DriftboardError: there is no such sequence or data set, or training failed; what was
            measured is kept.

    Example::

        import driftboard as db

        db.grade("digits-*", seeds=2, out="results").frame()
    """
    from driftboard._session import load_all_sequences
    from driftboard.suite.distance.measurement import Distances, grade_records
    from driftboard.suite.protocol import PROTOCOL
    from driftboard.suite.runs.request import Request
    from driftboard.suite.sequences.task_sequence import choose_sequences

    _check_choices(seeds, device, workers)
    folder = Path(out)
    if parts < 2:
        raise DriftboardError(f"parts is {parts}, but takes at least 2 to tell noise")
    names, files, known = load_all_sequences(_listed(sequences), folder / SESSION_FOLDER)
    chosen = choose_sequences(known, None, names, bool(files))
    PROTOCOL.check_seed_count(seeds, (one.tier for one in chosen))
    request = Request(
        sequences=chosen,
        sequence_files=files,
        seed_count=seeds,
        results=folder,
        data=None if data is None else Path(data),
        device=device,
        work=Distances(parts),
        overwrite=overwrite,
    )
    _measure(request, workers, f"{counted(len(chosen), 'sequence')} to be graded")
    return Grades(tuple(grade_records(request)))


def _listed(
    sequences: "str | TaskSequence | Iterable[str | TaskSequence] | None",
) -> "list[str | TaskSequence]":
    from driftboard.suite.sequences.task_sequence import TaskSequence

    if sequences is None:
        return []
    listed = [sequences] if isinstance(sequences, str | TaskSequence) else list(sequences)
    if not listed:
        raise DriftboardError("no sequence was given; leave sequences out to take a whole suite")
    return listed


def _check_choices(seeds: int | None, device: str, workers: int | None) -> None:
    """Check what the command line checks by itself."""
    for name, value in (("seeds", seeds), ("workers", workers)):
        if value is not None and not (type(value) is int and value >= 1):
            raise DriftboardError(f"{name} is {value!r}; take a whole number from 1, or None")
    if device not in get_args(Device):
        raise DriftboardError(
            f"there is no device '{device}'; choose of {', '.join(get_args(Device))}"
        )


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise DriftboardError(f"a strategy is named twice: {', '.join(names)}")
    if not names:
        raise DriftboardError("no strategy was given; leave strategies out to run all")


def _measure(request: "Request", workers: int | None, what: str) -> None:
    """Run the jobs of a request with a progress bar.

    Raises:
        DriftboardError: as ``Backend.run_jobs``, or a job failed.
    """
    from driftboard.suite.runs.backend import Backend, ProgressBar
    from driftboard.suite.runs.scheduler import raise_failures

    with ProgressBar() as bar:
        failures = Backend(workers).run_jobs(request, what, bar)
    raise_failures(failures, request.results)


def check_strategy(strategy: "AnyStrategy") -> "list[Result]":
    """Find common mistakes in a strategy, in seconds, on two tiny networks.

    Args:
        strategy: a name or file as on the command line, an object or a class.

    Returns:
        One result per check, in order: ``status`` (``ok``, ``warning``, ``FAILED``), ``name`` and
        ``message``. When a check fails, later stages are ``not reached``.

    >>> import driftboard as db
    >>> db.check_strategy("gpn")[0].message
    "there is no strategy 'gpn'; did you mean gpm, packnet?"
    """
    from tempfile import TemporaryDirectory

    from driftboard._session import load_strategies
    from driftboard.suite.checks import check_strategy as check

    if isinstance(strategy, str):
        return check(strategy)
    with TemporaryDirectory() as folder:
        (loaded,) = load_strategies(strategy, Path(folder))
        return check(loaded.specification)
