"""Records: one JSON file per (sequence, strategy, seed), from which a leaderboard is computed.

Everything on a board is recomputed from the integer counts of correct answers in the records, or,
for the linear sequences, from excess losses. A record carries a digest of its content, so that one
flipped bit does not make another valid record. Reading records imports no torch.
"""

import os
import re
import secrets
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from itertools import chain
from operator import gt
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from driftboard.suite.errors import RecordError, refusal_of
from driftboard.suite.sealing import sealed, unsealed

SCHEMA_VERSION = 3

MARKER = "driftboard.json"
"""The file at the top of a results folder that says which protocol it belongs to."""

LONGEST_NAME = 64
NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
"""The names of strategies, sequences and data sets, which also name files and folders."""

NAME_RULE = (
    f"use up to {LONGEST_NAME} lower-case letters, digits, dots, hyphens and underscores, and "
    "begin with a letter or digit"
)
"""What to do about a name that ``NAME`` does not match."""


def name_part(setting: str, value: object) -> str:
    """Return what a setting that is not the default adds to a strategy's name.

    >>> name_part("first_block", 0.25)
    '-first-block-0.25'
    """
    return f"-{setting}-{value}".lower().replace("_", "-").replace("+", "")


Name = Annotated[str, Meta(pattern=rf"^{NAME.pattern}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
# Control characters, and Unicode's marks that change the direction of the text around them.
_HIDDEN = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
Text = Annotated[str, Meta(max_length=200, pattern=rf"^[^{_HIDDEN}]*\Z")]
# Up to 2**53 an integer is exact as a float, which is how many JSON readers store it.
Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[int, Meta(ge=1, le=2**53)]
NonNegative = Annotated[float, Meta(ge=0.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Divergence = Literal["not finite", "blow-up"]


class _Strict(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class ProtocolStamp(_Strict, frozen=True):
    """Which protocol produced a record."""

    name: Name
    version: Positive
    hash: Digest


class SequenceStamp(_Strict, frozen=True):
    """Which sequence, and which data, a record was measured on."""

    name: Name
    hash: Digest
    tier: Name
    data: Text  # e.g. "CIFAR-10 (JPEG)": the variant of the data that was read
    data_hash: Digest
    blocks: tuple[Text, ...]  # from the input to the head
    weights: Digest | UnsetType = UNSET  # of the file that a pretrained network was read from


class StrategyStamp(_Strict, frozen=True):
    """Which strategy, with which parameters, from which source."""

    name: Name
    role: Literal["ranked", "bound"]
    parameters: dict[Text, bool | int | float | Text]
    source_hash: Digest
    files: tuple[Text, ...]  # whose code source_hash covers, relative to the strategy's folder
    stores: Literal["nothing", "parameters", "examples"] | UnsetType = UNSET  # what it declares
    optimiser: Literal["own"] | UnsetType = UNSET  # where it is not the protocol's


class PlanStamp(_Strict, frozen=True):
    """The update plan of one task: per block its share of the step and whether it restarted."""

    share: tuple[Share, ...]
    restart: tuple[bool, ...]


class Cost(_Strict, frozen=True):
    """What a cell cost; the only part of a record that differs between two equal runs."""

    seconds: tuple[NonNegative, ...]  # training per task, the cohort's time / seeds in the cohort
    evaluation_seconds: NonNegative
    peak_memory_bytes: Count  # of the worker process (CPU) or of the device's allocator (CUDA)


class Environment(_Strict, frozen=True):
    """Versions and device."""

    driftboard: Text
    package: Digest | None  # of driftboard's code as it was installed; None if not recorded
    python: Text
    torch: Text
    device: Text
    lane: Literal["solo", "stacked"]
    cohort: tuple[int, ...]  # the seeds that were trained together


class _Run(_Strict, frozen=True, tag_field="measure"):
    """What every record tells, whatever was measured.

    ``update_norms[t][b]`` is the Euclidean norm of block b's change over task t,
    ``solution_norms[t][b]`` the norm of block b after it, and ``drift_norms[t][b]`` its distance
    from where it stood after the first task. ``diverged_at`` is the first task after which
    something was not finite, or a block before the head had moved away from its initialisation by
    more than 1,000 times its norm (a blow-up); ``diverged_by`` tells which. ``operations[t]`` is
    the number of floating-point operations of one learner's training on task t, in matrix products
    and convolutions; None if they were not counted.
    """

    schema: Literal[3]
    protocol: ProtocolStamp
    sequence: SequenceStamp
    strategy: StrategyStamp
    seed: Count
    split: Literal["test", "validation"]
    update_norms: tuple[tuple[NonNegative, ...], ...]
    solution_norms: tuple[tuple[NonNegative, ...], ...]
    drift_norms: tuple[tuple[NonNegative, ...], ...]
    plans: tuple[PlanStamp, ...]
    memory_bytes: tuple[Count, ...]  # what the strategy carries over after each task
    status: Literal["finished", "diverged"]
    diverged_at: Count | None
    diverged_by: Divergence | None
    operations: tuple[Count, ...] | None
    cost: Cost
    environment: Environment

    @property
    def tasks(self) -> int:
        """The number of tasks."""
        return len(self.plans)

    def check_run(self) -> None:
        """Check that all parts tell of the same tasks and blocks.

        Raises:
            ValueError: with the first inconsistency found.
        """
        if self.tasks < 2:
            raise ValueError("a record needs at least two tasks")
        norms = (self.update_norms, self.solution_norms, self.drift_norms)
        self.check_lengths(*norms, self.memory_bytes, self.cost.seconds)
        self.check_lengths(*([] if self.operations is None else [self.operations]))
        blocks = len(self.sequence.blocks)
        if set(map(len, chain(*norms))) != {blocks}:
            raise ValueError(f"a row of norms does not have {blocks} blocks")
        for plan in self.plans:
            if len(plan.share) != blocks or len(plan.restart) != blocks:
                raise ValueError(f"a plan does not have {blocks} blocks")
        said = (
            self.status == "diverged",
            self.diverged_at is not None,
            self.diverged_by is not None,
        )
        if len(set(said)) > 1:
            raise ValueError("status, diverged_at and diverged_by contradict each other")
        if self.diverged_at is not None and self.diverged_at >= self.tasks:
            raise ValueError(f"diverged_at is not one of the {self.tasks} tasks")

    def check_lengths(self, *parts: tuple[Any, ...]) -> None:
        """Check that every part has one entry per task, else raise ValueError."""
        tasks = self.tasks
        if any(len(part) != tasks for part in parts):
            raise ValueError(f"not every part of the record has {tasks} tasks")


class Record(_Run, frozen=True, tag="accuracy"):
    """One cell of the benchmark, in counts of correct answers.

    ``correct[t][k]`` counts the right answers on the test set of task k after training task t;
    ``correct_untrained[k]`` those of the seeded initialisation. From the task ``diverged_at``
    on, counts are those of chance.

    The record of a class-incremental sequence has the field ``seen``: an answer is chosen from
    the classes of all tasks so far, ``seen[t]`` of them after task t. So counts are 0 on classes
    that come later, and all are 0 before the first task.

    The record of a strategy that corrects gradients has the field ``passed``: ``passed[t][b]`` is
    the part of block b's gradient at the start of task t that the strategy lets pass, the share
    of the block times ``<corrected, gradient> / <gradient, gradient>``. It is 1 where a step is
    plain, 0 of a frozen block and from the task ``diverged_at`` on, the share alone where there is
    no gradient, and negative where the corrected gradient points the other way.

    ``shift_new[t]`` tells how far task t moved the outputs on its own test images, and
    ``shift_old[t]`` on those of earlier tasks, the mean over these tasks and None for the first:
    the mean over images of the Kullback-Leibler divergence D(old || new) in nats, where old and
    new are the distributions over the units that may answer after task t, before and after its
    training (arXiv 2509.04259). None where it is not finite, and from the task ``diverged_at`` on.
    Records that were made before there was such a number lack both fields.
    """

    correct: tuple[tuple[Count, ...], ...]
    correct_untrained: tuple[Count, ...]
    test_sizes: tuple[Positive, ...]
    classes: tuple[Positive, ...]  # number of each task's classes, one of which an answer names
    seen: tuple[Positive, ...] | UnsetType = UNSET  # see above; no other record has this field
    passed: tuple[tuple[float, ...], ...] | UnsetType = UNSET  # see above
    shift_new: tuple[NonNegative | None, ...] | UnsetType = UNSET  # see above
    shift_old: tuple[NonNegative | None, ...] | UnsetType = UNSET  # see above
    digest: Digest | None = None  # of all the rest; set in files only

    def __post_init__(self) -> None:
        """Check what the field types cannot, else raise ValueError."""
        self.check_run()
        self.check_lengths(self.test_sizes, self.correct, self.classes, self.correct_untrained)
        tasks = self.tasks
        for counts in (*self.correct, self.correct_untrained):
            if len(counts) != tasks:
                raise ValueError(f"a row of counts does not have {self.tasks} tasks")
            if any(map(gt, counts, self.test_sizes)):
                raise ValueError("more correct answers than test images")
        if self.passed is not UNSET:
            self.check_lengths(self.passed)
            if set(map(len, self.passed)) != {len(self.sequence.blocks)}:
                raise ValueError("a row of passed does not have every block")
        for shift in (self.shift_new, self.shift_old):
            self.check_lengths(*([] if shift is UNSET else [shift]))
        if self.shift_old is not UNSET and self.shift_old[0] is not None:
            raise ValueError("there is no task before the first whose outputs could move")
        if self.seen is not UNSET:
            self._check_seen(self.seen)

    @property
    def choices(self) -> tuple[int, ...]:
        """Of how many classes one is named in answer to each task, right after training it."""
        return self.classes if self.seen is UNSET else self.seen

    def _check_seen(self, seen: tuple[int, ...]) -> None:
        """Check that the classes seen are those of the tasks so far, else raise ValueError."""
        self.check_lengths(seen)
        for earlier, own, now in zip((0, *seen[:-1]), self.classes, seen, strict=True):
            if not max(earlier, own) <= now <= earlier + own:
                raise ValueError("the numbers of seen classes do not fit those of the tasks")
        if any(self.correct_untrained):
            raise ValueError("right answers before any class was seen")


class LossRecord(_Run, frozen=True, tag="excess-loss"):
    """One cell of a linear sequence, in excess losses: expected loss less that of the truth.

    ``losses[t][k]`` is the excess loss on task k after training task t, the mean over the
    independent ``draws`` of the seed; ``losses_untrained[k]`` that of the initialisation.
    """

    losses: tuple[tuple[NonNegative, ...], ...]
    losses_untrained: tuple[NonNegative, ...]
    draws: Positive
    digest: Digest | None = None  # of all the rest; set in files only

    def __post_init__(self) -> None:
        """Check what the field types cannot, else raise ValueError."""
        self.check_run()
        self.check_lengths(self.losses, self.losses_untrained, *self.losses)


AnyRecord = Record | LossRecord
ShapeT = TypeVar("ShapeT", bound=Struct)

_DECODER: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)  # looks types up once


def cell_place(sequence: str, strategy: str, seed: int) -> tuple[str, str, str]:
    """Return the names of the folders and the file that hold the record of one cell.

    >>> cell_place("digits-split", "ewc", 3)
    ('digits-split', 'ewc', 'seed-0003.json')
    """
    return sequence, strategy, f"seed-{seed:04d}.json"


def cell_path(results: Path, sequence: str, strategy: str, seed: int) -> Path:
    """Return where the record of one cell lies below the results folder."""
    return results.joinpath("records", *cell_place(sequence, strategy, seed))


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees all of it or nothing.

    A full disk or a killed process leaves no partial file at ``path``. If two processes write to
    the same path, the later file replaces the earlier one as a whole.

    Raises:
        RecordError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Created by open() and not by tempfile, so that the umask decides who may read it.
        temporary = path.parent / f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}.part"
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RecordError(
            f"cannot write {path}: {refusal_of(error)}, then run the same command again"
        ) from error


def read_json(path: Path | Traversable, shape: type[ShapeT], name: str, advice: str) -> ShapeT:
    """Return the content of a JSON file, decoded as the msgspec type ``shape`` and unsealed.

    Args:
        path: the file.
        shape: the type that it must have.
        name: what the file should be, with its article; for the message of the error.
        advice: what to do if it is something else; for the same message.

    Raises:
        RecordError: the file is unreadable, truncated, of another schema or inconsistent.
    """
    try:
        return unsealed(msgspec.json.decode(path.read_bytes(), type=shape))
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, RecordError) as error:
        raise RecordError(f"{path} is not {name}: {error}; {advice}") from error


def write_json(path: Path, content: Struct) -> None:
    """Write a struct as indented JSON, sealed if its type is, whole or not at all.

    Raises:
        RecordError: the file cannot be written.
    """
    write_atomically(path, msgspec.json.format(sealed(content), indent=1) + b"\n")


def decode_record(content: bytes, place: str) -> AnyRecord:
    """Return the record that JSON holds, of any layout, and check it against its digest.

    Args:
        content: the JSON.
        place: where it stands; for the message of the error.

    Raises:
        RecordError: it is truncated, of another schema, inconsistent or damaged.
    """
    try:
        record = _DECODER.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(
            f"{place} is not a driftboard record of schema {SCHEMA_VERSION}: "
            f"{_other_schema(content) or error}"
        ) from error
    try:
        return unsealed(record)
    except RecordError as error:
        raise RecordError(f"{place} is damaged: {error}") from error


def write_record(results: Path, record: AnyRecord) -> Path:
    """Write one record to its place below ``results`` and return its path."""
    path = cell_path(results, record.sequence.name, record.strategy.name, record.seed)
    write_json(path, record)
    return path


def read_record(path: Path) -> AnyRecord:
    """Read and check one record.

    Raises:
        RecordError: the file is unreadable, truncated, of another schema, inconsistent or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return decode_record(content, str(path))
    except RecordError as error:
        raise RecordError(f"{error}; delete the file and run again to make it anew") from error


class _Version(Struct):
    schema: int


def _other_schema(content: bytes) -> str | None:
    """Return what to say of a record of another schema; what it holds besides does not matter."""
    try:
        found = msgspec.json.decode(content, type=_Version).schema
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None if found == SCHEMA_VERSION else f"it has schema {found}"


def record_paths(results: Path) -> Iterator[Path]:
    """Yield the paths of all records below ``results`` in sorted order.

    Folder by folder, so the first comes at once however many there are.
    """
    for sequence in sorted((results / "records").glob("*/")):
        for strategy in sorted(sequence.glob("*/")):
            yield from sorted(strategy.glob("seed-*.json"))
