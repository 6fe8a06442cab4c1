"""What several commands share: options, each declared once, and how those that train run and end.

To add an option to every command that trains with worker processes, add a field to `Training` and
use it in `Training.backend` or `Training.request`. To add one that some commands share, add an
alias here and name it as a parameter of those commands.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from driftboard.suite.errors import DriftboardError
from driftboard.suite.runs.backend import Backend, ProgressBar
from driftboard.suite.runs.scheduler import Failure

if TYPE_CHECKING:
    from driftboard.suite.loading import LoadedStrategy
    from driftboard.suite.runs.request import Request, Work
    from driftboard.suite.sequences.task_sequence import KnownSequences, Setting, TaskSequence

SequenceFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--sequence-file",
        help="A Python file that defines sequences of your own; may be repeated.",
    ),
]
SequencePatterns = Annotated[
    list[str] | None,
    typer.Option("--sequence", help="A sequence or pattern such as 'fashion-*'; may be repeated."),
]
OneSetting = Annotated[
    Literal["task", "domain", "class"] | None,
    typer.Option(
        "--setting",
        help="Only sequences whose tests tell the task (task), whose tasks have the same classes "
        "(domain), or where any class seen so far may be the answer (class).",
    ),
]
Exclusions = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        help="Leave out this strategy or sequence, or what matches the pattern; may be repeated.",
    ),
]
SeedCount = Annotated[
    int | None,
    typer.Option("--seeds", min=1, help="Only the first so many of the protocol's seeds."),
]
ResultsFolder = Annotated[
    Path,
    typer.Option("--out", help="The results folder; the same command again goes on where it was."),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The data folder.",
        envvar="DRIFTBOARD_DATA",
        show_default="your own data folder",
    ),
]
PublishedSets = Annotated[
    list[str] | None,
    typer.Option(
        "--published",
        help="Published records to take in as well; 'driftboard reproduce --list' names them.",
    ),
]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out broken records and count them.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

traceback_asked = ContextVar("traceback_asked", default=False)
"""Whether the present command shall end an error in its whole traceback and not in one line."""


def _ask_for_traceback(asked: bool) -> None:
    if asked:
        traceback_asked.set(True)


ShowTraceback = Annotated[
    bool,
    typer.Option(
        "--traceback",
        callback=_ask_for_traceback,
        help="Show the whole traceback of an error, that of a worker too, and not one line.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Where a command trains: the options of every command that trains, in the order of the help.

    A command takes them as one parameter, see `expand_groups`.
    """

    data: DataFolder = None
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to train.")
    ] = "auto"
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Worker processes.",
            show_default="one per CPU core, one for CUDA",
        ),
    ] = None
    cluster: Annotated[
        Literal["ray"] | None,
        typer.Option(
            "--cluster",
            help="Train on a cluster's machines instead of in processes of this one; "
            "needs Ray, pip install 'ray>=2.60'.",
            show_default=False,
        ),
    ] = None
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            help="HOST:PORT of the cluster, or 'auto' for the one that this machine belongs to.",
            show_default="RAY_ADDRESS, else a cluster of this machine alone for the time of the "
            "run",
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Measure again what the results folder holds of another version of a strategy, a "
            "sequence, the data or the protocol. Each record stays until there is a new one.",
        ),
    ] = False

    def __post_init__(self) -> None:
        """Check the options, before a command begins.

        Raises:
            DriftboardError: there is an address and no cluster.
        """
        self.backend()

    def backend(self) -> Backend:
        """Return what starts the workers."""
        return Backend(self.workers, self.cluster, self.ray_address)

    def run_jobs(self, request: "Request", what: str) -> list[Failure]:
        """Do what ``Backend.run_jobs`` does, with a progress bar on standard error.

        Raises:
            typer.Exit: stopped by Ctrl-C; a line has said how to go on.
            DriftboardError: as ``Backend.run_jobs``.
        """
        try:
            with ProgressBar() as bar:
                return self.backend().run_jobs(request, what, bar)
        except KeyboardInterrupt:
            typer.echo(
                f"stopped; what is done is kept in {request.results}: the same command goes on "
                "from there",
                err=True,
            )
            raise typer.Exit(130) from None

    def request(
        self,
        results: Path,
        sequences: "Iterable[TaskSequence]",
        strategies: "Iterable[LoadedStrategy]" = (),
        *,
        sequence_files: Iterable[Path] = (),
        seed_count: int | None = None,
        purpose: Literal["test", "validation"] = "test",
        work: "Work | None" = None,
    ) -> "Request":
        """Return the request to measure sequences; a device ``auto`` is decided later.

        Args:
            results: the folder that the records go to.
            sequences: what is trained on.
            strategies: what is trained.
            sequence_files: the user's files that some of the sequences come from.
            seed_count: how many of the protocol's seeds, from the first on; None takes all.
            purpose: ``validation`` takes the tuning seeds and a part of the training data.
            work: what is measured; None trains every strategy.
        """
        from driftboard.suite.runs.request import Request

        return Request(
            sequences=tuple(sequences),
            sequence_files=tuple(sequence_files),
            strategies=tuple(strategies),
            seed_count=seed_count,
            purpose=purpose,
            results=results,
            data=self.data,
            device=self.device,
            work=work,
            overwrite=self.overwrite,
        )


def known_sequences(files: Iterable[Path] | None = None) -> "KnownSequences":
    """Return the built-in sequences and those that the user's files define, by name.

    torch is imported only where there are files.

    Raises:
        DriftboardError: a file does not import, or defines no sound sequence.
    """
    from driftboard.suite.sequences.registry import registered
    from driftboard.suite.sequences.task_sequence import KnownSequences

    if not files:
        return KnownSequences(registered())
    from driftboard.suite.loading import load_sequences

    return load_sequences(tuple(files))


def chosen_sequences(
    tier: str | None,
    patterns: Iterable[str] | None,
    files: Iterable[Path] | None = None,
    seed_count: int | None = None,
    *,
    tuning: bool = False,
    setting: "Setting | None" = None,
) -> "tuple[TaskSequence, ...]":
    """Return the sequences that a command's options choose.

    Raises:
        DriftboardError: a pattern matches none, a file defines no sound sequence, or
            ``seed_count`` is more than the protocol has for them.
    """
    from driftboard.suite.protocol import PROTOCOL
    from driftboard.suite.sequences.task_sequence import choose_sequences

    chosen = choose_sequences(known_sequences(files), tier, patterns, bool(files), setting)
    PROTOCOL.check_seed_count(seed_count, (one.tier for one in chosen), tuning=tuning)
    return chosen


def excluded(
    patterns: Iterable[str] | None,
    sequences: Iterable[str],
    strategies: Iterable[str] | None = None,
) -> set[str]:
    """Return the names among those chosen that ``--exclude`` leaves out.

    >>> sorted(excluded(["*-split", "joint"], ["digits-split", "digits-repeat"], ["sgd", "joint"]))
    ['digits-split', 'joint']

    Raises:
        DriftboardError: a pattern matches nothing, or nothing is left of one kind.
    """
    from driftboard.suite.patterns import matching

    chosen = {"sequence": set(sequences)}
    if strategies is not None:
        chosen["strategy"] = set(strategies)
    names = set().union(*chosen.values())
    found = matching(
        patterns or (), names, f"there is no {' and no '.join(chosen)} to exclude called"
    )
    for kind, known in chosen.items():
        if known <= found:
            raise DriftboardError(f"--exclude leaves no {kind}; leave out a part of them only")
    return found


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command in whose signature each group of options is replaced by its options.

    A group is a parameter whose annotation is a dataclass such as `Training`. typer, which reads
    a command's signature, sees one parameter for each field, in the place of the group and in
    the order of the fields; the command itself gets one object of the dataclass.

    >>> def train(name: str, *, training: Training) -> None:
    ...     print(name, training.device)
    >>> list(inspect.signature(expand_groups(train)).parameters)
    ['name', 'data', 'device', 'workers', 'cluster', 'ray_address', 'overwrite']
    >>> expand_groups(train)(name="ewc", device="cpu")
    ewc cpu

    Raises:
        ValueError: two options of the command have the same name.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, type[Any]] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)
    }
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name in groups:
            parameters += _parameters_of(groups[name])
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def expanded(**values: Any) -> None:
        for name, group in groups.items():
            names = [field.name for field in fields(group) if field.name in values]
            values[name] = group(**{one: values.pop(one) for one in names})
        command(**values)

    return _with_parameters(expanded, parameters)


def with_traceback(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with one more option at the end, which every command has.

    >>> def show(name: str) -> None: ...
    >>> list(inspect.signature(with_traceback(show)).parameters)
    ['name', 'traceback']
    """
    own = inspect.signature(command, eval_str=True).parameters.values()
    kind = inspect.Parameter.KEYWORD_ONLY
    option = inspect.Parameter("traceback", kind, default=False, annotation=ShowTraceback)

    @functools.wraps(command)
    def wrapped(*arguments: Any, traceback: bool = False, **values: Any) -> None:
        command(*arguments, **values)  # the option has done its work when it was read

    return _with_parameters(wrapped, [*own, option])


def _with_parameters(
    command: Callable[..., None], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    """Return the command with these parameters as its signature, which typer reads."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    # typer resolves what is left of forward references from here
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _parameters_of(group: type[Any]) -> list[inspect.Parameter]:
    """Return the fields of a dataclass, all of which have a default, as parameters."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
