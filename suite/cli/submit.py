"""``driftboard submit``: run what a submission lacks, put it together and check it."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftboard.suite.cli.options import Cluster, DataFolder, Device, RayAddress, Workers
from driftboard.suite.errors import DriftboardError, StrategyError
from driftboard.suite.runs.workplace import Workplace, train_all
from driftboard.suite.submissions import Credits, Tier, kind_of, make_credits
from driftboard.suite.wording import counted

if TYPE_CHECKING:
    from driftboard.suite.loading import LoadedStrategy
    from driftboard.suite.runs.grid import Request


def submit(
    strategy: Annotated[
        str,
        typer.Argument(
            help="FILE.py or FILE.py:CLASS, also with ',parameter=value'.", show_default=False
        ),
    ],
    title: Annotated[str, typer.Option(help="What the board calls it, one line.")],
    author: Annotated[list[str], typer.Option(help="A name; may be repeated.")],
    licence: Annotated[str, typer.Option(help="The source's licence, such as Apache-2.0.")],
    suite: Annotated[Tier, typer.Option(help="The tier of sequences.")] = "core",
    link: Annotated[
        list[str] | None, typer.Option(help="https://... of a paper or code; may be repeated.")
    ] = None,
    description: Annotated[str, typer.Option(help="What it does, one line.")] = "",
    remark: Annotated[
        list[str] | None,
        typer.Option(help="What a reader of the checks should know; may be repeated."),
    ] = None,
    tuning: Annotated[
        Path | None, typer.Option(help="The folder that `driftboard tune` has filled.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The submission's folder.", show_default="submissions/STRATEGY"),
    ] = None,
    data: DataFolder = None,
    device: Device = "auto",
    workers: Workers = None,
    cluster: Cluster = None,
    ray_address: RayAddress = None,
) -> None:
    """Run a strategy of yours on a whole suite and put a submission together.

    Stopped at any moment, the same command goes on. At the end the submission is checked as
    `driftboard verify` does it.
    """
    from driftboard.leaderboard.verification.checks import examine_folder
    from driftboard.leaderboard.verification.report import has_failed, report_lines
    from driftboard.suite.loading import load_strategy

    workplace = Workplace(workers, cluster, ray_address)
    words = make_credits(title, author, link or (), licence, description, remark or ())
    source = _source_of(strategy)
    loaded = load_strategy(strategy)
    if loaded.stamp.role != "ranked":
        raise StrategyError(f"{strategy} is a bound; only ranked strategies are submitted")
    tuned = None if tuning is None else _tuning_of(tuning, strategy)
    folder = out or Path("submissions") / loaded.stamp.name
    request = _request(loaded, suite, folder, data, device)
    train_all(
        request, f"{counted(len(request.sequences), 'sequence')} x {loaded.stamp.name}", workplace
    )
    _assemble(folder, loaded, source, tuned, words, suite)
    _, findings = examine_folder(folder)
    for line in report_lines(findings):
        typer.echo(line)
    typer.echo(f"submission: {folder}")
    if has_failed(findings):
        raise typer.Exit(1)


def _file_of(specification: str) -> str:
    """Return the part of a specification that names a file."""
    return specification.split(",")[0].partition(":")[0]


def _source_of(specification: str) -> Path:
    """Return the file that a specification names.

    Raises:
        StrategyError: it names none, or one whose name a submission cannot hold.
    """
    path = Path(_file_of(specification))
    if path.suffix != ".py":
        raise StrategyError(
            f"'{specification}' is none of yours; name the Python file of your strategy"
        )
    if kind_of(path.name) != "source":
        raise StrategyError(
            f"rename {path.name}: up to 64 letters, digits, hyphens and underscores before .py, "
            "a letter or underscore first"
        )
    return path


def _tuning_of(folder: Path, specification: str) -> Path:
    """Return the tuning record of a strategy, which bears its name without settings.

    Raises:
        DriftboardError: there is none in the folder.
    """
    from driftboard.suite.loading import load_strategy
    from driftboard.suite.tuning.trials import read_tuning, tuning_path

    path = tuning_path(folder, load_strategy(specification.split(",")[0]).stamp.name)
    if not path.is_file():
        raise DriftboardError(
            f"there is no {path}; make it with `driftboard tune {specification.split(',')[0]} "
            f"--out {folder}`"
        )
    read_tuning(path)
    return path


def _request(
    loaded: "LoadedStrategy", tier: Tier, folder: Path, data: Path | None, device: str
) -> "Request":
    from driftboard.suite.runs.grid import Request
    from driftboard.suite.sequences.registry import registered
    from driftboard.suite.sequences.task_sequence import choose_sequences

    return Request(
        sequences=choose_sequences(registered(), tier, None, False),
        sequence_files=(),
        strategies=(loaded,),
        seed_count=None,
        purpose="test",
        results=folder,
        data=data,
        device=device,
    )


def _assemble(
    folder: Path,
    loaded: "LoadedStrategy",
    source: Path,
    tuned: Path | None,
    words: Credits,
    tier: Tier,
) -> None:
    """Copy source and tuning record and write ``submission.json``.

    Raises:
        DriftboardError: the source has changed since it was loaded.
    """
    from msgspec.structs import asdict

    from driftboard.suite.protocol import PROTOCOL
    from driftboard.suite.records import read_record, record_paths, write_atomically
    from driftboard.suite.submissions import Submission, Versions, file_digests, write_submission

    content = source.read_bytes()
    if hashlib.sha256(content).hexdigest() != loaded.stamp.source_hash:
        raise DriftboardError(f"{source} changed while it ran; run the same command again")
    write_atomically(folder / source.name, content)
    if tuned is not None:
        write_atomically(folder / "tuning" / tuned.name, tuned.read_bytes())
    made = read_record(next(record_paths(folder))).environment
    submission = Submission(
        **asdict(words),
        schema=1,
        tier=tier,
        strategy=loaded.stamp,
        source=source.name,
        specification=source.name
        + loaded.specification.removeprefix(_file_of(loaded.specification)),
        protocol=PROTOCOL.stamp(),
        environment=Versions(made.driftboard, made.python, made.torch, made.device),
        files=file_digests(folder),
    )
    write_submission(folder, submission)
