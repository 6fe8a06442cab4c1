"""Compare Driftboard's training speed with Avalanche's and with a plain PyTorch loop.

    python tests/benchmarks/compare_with_avalanche.py --data DIR
    python tests/benchmarks/compare_with_avalanche.py --sequence digits-split

All of them do the same work: a sequence of five tasks of two classes each, of Fashion-MNIST or of
scikit-learn's digits, under the protocol's own settings (but batches of 48 digits for 50, of
which 240 are no multiple), the same network from the same initial weights, SGD with the momentum
starting at zero with every task, everything in memory, on one thread.
Driftboard runs in a process that is set up as its workers are, the others in one that nothing was
done to. What is timed is training, with the Fisher where there is one; tests of the network and
the making of tensors are not (Driftboard's bytes become floats within its time). Each is run once
to warm up, which also counts steps and images, then ``--repeats`` times in turn (A B C A B C
...); the table shows medians. A line below it says what nobody can exceed on such a core: the
operations of a step's matrix products at the rate of a large product, measured in the same turns.

How Avalanche is set up, always so that it has less to do rather than more:

- Its data are ``TensorDataset`` of the very same float tensors of the first seed, without task
  labels, read in the same process (``num_workers=0``); no evaluation, no loggers, no metrics.
- Task masks: Avalanche has multi-head modules, which select a head for every task label in a
  batch at every step. Here the network keeps its single head, and a ``DynamicModule``, which
  Avalanche adapts once at the beginning of every experience, masks the units of other tasks: the
  same mathematics as Driftboard's masks, and cheaper than a multi-head module.
- ``EWC`` runs in its mode ``online`` with a decay factor of 1, the counterpart of Driftboard's
  ``ewc``. Its Fisher is the square of a mini-batch's mean gradient; Driftboard's is the exact
  expectation over the model's labels, with per-sample gradients, which is more work.
"""

import argparse
import dataclasses
import functools
import json
import multiprocessing
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ceilings import product_rate
from machine import circumstances, installed
from operations import layers_of, step_operations
from plain_loop import SoloTask, descend, initial_module, masked, solo_tasks
from timing import Setup, as_a_script, as_a_worker, show
from torch import Tensor, nn
from torch.nn import functional as F

from driftboard.strategies.base import Examples, Memory, Parameters, Strategy, Task, UpdatePlan
from driftboard.strategies.ewc import Ewc
from driftboard.strategies.sgd import Sgd
from driftboard.suite.data import convert_originals
from driftboard.suite.errors import DriftboardError
from driftboard.suite.protocol import Training
from driftboard.suite.sequences.registry import registered
from driftboard.suite.training.cohort import Cohort, Setting, prepare
from driftboard.suite.training.engine import run
from driftboard.suite.training.networks import LANES, Mode

SEQUENCES = ("fashion-split", "digits-split")
AVALANCHE = "avalanche-lib==0.6.0"
AVALANCHE_NAIVE = "Avalanche Naive"
AVALANCHE_EWC = "Avalanche EWC"
PLAIN_LOOP = "plain PyTorch loop"
SOLO_SGD = "Driftboard sgd, solo lane"
LOSS_TOLERANCE = 1e-3
"""Two float32 runs in the same batch order may drift apart by about this much, see the engine."""


@dataclass(frozen=True)
class Work:
    """What one training run did; steps, images and loss are known of counted runs only."""

    seconds: float
    accuracy: float  # mean over seeds and tasks, after the last task
    steps: int | None = None  # of one seed
    images: int | None = None  # of one seed
    loss: float | None = None  # on the last task's training data, one seed


@dataclass(frozen=True)
class Contestant:
    """A way to train the sequence; ``train(cohort, tasks, counted)`` does it once."""

    name: str
    seeds: int
    against: str  # the name of its reference
    setup: Setup  # of the process that it is trained in
    train: Callable[[Cohort, list[SoloTask], bool], Work]


@torch.no_grad()
def accuracy(module: nn.Module, tasks: list[SoloTask]) -> float:
    """Return the mean over tasks of the share of right answers."""
    shares = [
        (masked(module(task.test_images), task.mask).argmax(dim=1) == task.test_labels)
        .double()
        .mean()
        .item()
        for task in tasks
    ]
    return statistics.fmean(shares)


@torch.no_grad()
def last_loss(module: nn.Module, task: SoloTask) -> float:
    """Return the mean loss on a task's training data."""
    return F.cross_entropy(masked(module(task.images), task.mask), task.labels).item()


# --- A plain loop ---------------------------------------------------------------------------


def train_plainly(cohort: Cohort, tasks: list[SoloTask], counted: bool) -> Work:
    """Train as one would by hand, in the batch order of the cohort's first seed."""
    del counted  # it always is
    module = initial_module(cohort)
    began = time.perf_counter()
    steps, images = descend(cohort, tasks, module)
    seconds = time.perf_counter() - began
    return Work(seconds, accuracy(module, tasks), steps, images, last_loss(module, tasks[-1]))


# --- Avalanche ------------------------------------------------------------------------------


def import_avalanche() -> None:
    """Import Avalanche now, so that this is in nobody's time, with a stand-in for wandb.

    Raises:
        DriftboardError: it is missing, or a library that it needs is.
    """
    warnings.filterwarnings("ignore", "No loggers specified")
    sys.modules.setdefault("wandb", types.ModuleType("wandb"))
    try:
        import avalanche.benchmarks
        import avalanche.training.supervised  # noqa: F401
    except ImportError as error:
        raise DriftboardError(
            f"Avalanche cannot be imported ({error}); install it with: pip install {AVALANCHE}"
        ) from error


def train_avalanche(cohort: Cohort, tasks: list[SoloTask], counted: bool, *, ewc: bool) -> Work:
    """Train with Avalanche's strategy ``Naive`` or ``EWC``."""
    del counted  # it always is
    import_avalanche()
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import AvalancheDataset
    from avalanche.models import DynamicModule
    from avalanche.training.plugins import SupervisedPlugin
    from avalanche.training.supervised import EWC, Naive

    class Masked(DynamicModule):  # type: ignore[misc]
        """The network, with the units masked that are not of the experience's task."""

        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module
            self.mask = tasks[0].mask

        def adaptation(self, experience: Any) -> None:
            self.mask = tasks[experience.current_experience].mask

        def forward(self, images: Tensor) -> Tensor:
            return masked(self.module(images), self.mask)

    class Counter(SupervisedPlugin):  # type: ignore[misc]
        """Counts steps and images."""

        steps = 0
        images = 0

        def after_training_iteration(self, strategy: Any, **_: object) -> None:
            self.steps += 1
            self.images += len(strategy.mb_y)

    settings = cohort.training
    module = initial_module(cohort)
    model = Masked(module)
    counter = Counter()
    options: dict[str, Any] = {
        "model": model,
        "optimizer": torch.optim.SGD(
            model.parameters(), lr=settings.learning_rate, momentum=settings.momentum
        ),
        "train_mb_size": settings.batch_size,
        "train_epochs": settings.epochs,
        "plugins": [counter],
        "criterion": nn.CrossEntropyLoss(),
        "evaluator": None,
    }
    if ewc:
        # Avalanche's penalty is lambda * sum, Driftboard's is strength / 2 * sum.
        strategy = EWC(ewc_lambda=Ewc().strength / 2, mode="online", decay_factor=1.0, **options)
    else:
        strategy = Naive(**options)
    data = [torch.utils.data.TensorDataset(task.images, task.labels) for task in tasks]
    benchmark = benchmark_from_datasets(train=[AvalancheDataset([part]) for part in data])
    torch.manual_seed(0)  # the data loader's order
    began = time.perf_counter()
    for experience in benchmark.train_stream:
        strategy.train(experience, num_workers=0, reset_optimizer_state=True)
    seconds = time.perf_counter() - began
    return Work(seconds, accuracy(module, tasks), counter.steps, counter.images)


# --- Driftboard -----------------------------------------------------------------------------


@dataclass
class Tally:
    """Steps and images of one seed, and the parameters at the end, in the solo lane."""

    steps: int = 0
    images: int = 0
    parameters: Parameters = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Counted(Strategy):
    """Another strategy, counted; it is not timed, since it is not what a user runs."""

    inner: Strategy = dataclasses.field(default_factory=Sgd)
    tally: Tally = dataclasses.field(default_factory=Tally)

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Do what the other does."""
        return self.inner.begin(task, parameters, memory)

    def loss(
        self, task: Task, examples: Examples, parameters: Parameters, memory: Memory
    ) -> Tensor:
        """Count the step, which is one call also when it is mapped over seeds."""
        self.tally.steps += 1
        self.tally.images += examples.labels.shape[0]
        return self.inner.loss(task, examples, parameters, memory)

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Do what the other does."""
        return self.inner.correct(task, gradient, parameters, memory)

    def constrain(self, task: Task, parameters: Parameters, memory: Memory) -> Parameters:
        """Do what the other does."""
        return self.inner.constrain(task, parameters, memory)

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Keep the parameters; within ``vmap`` nobody may look at them afterwards."""
        self.tally.parameters = parameters
        return self.inner.finish(task, parameters, memory)


def train_driftboard(
    cohort: Cohort, tasks: list[SoloTask], counted: bool, *, strategy: Strategy, mode: Mode
) -> Work:
    """Train with Driftboard's engine, all seeds of the cohort at once."""
    tally = Tally()
    outcome = run(cohort, Counted(strategy, tally) if counted else strategy, mode)
    sizes = torch.stack([(data.labels >= 0).sum(dim=1) for data in cohort.test], dim=1)
    work = Work(sum(outcome.seconds), (outcome.correct[-1] / sizes.cpu()).mean().item())
    if not counted:
        return work
    loss = None
    if mode == "loop":
        module = initial_module(cohort)
        module.load_state_dict(tally.parameters)
        loss = last_loss(module, tasks[-1])
    return dataclasses.replace(work, steps=tally.steps, images=tally.images, loss=loss)


# --- The comparison -------------------------------------------------------------------------


def contestants(seeds: int) -> list[Contestant]:
    """Return who competes, with so many seeds where seeds are stacked."""

    def driftboard(strategy: Strategy, seeds: int, mode: Mode, against: str) -> Contestant:
        train = partial(train_driftboard, strategy=strategy, mode=mode)
        name = f"Driftboard {strategy.name}, {LANES[mode]} lane"
        return Contestant(name, seeds, against, as_a_worker, train)

    def avalanche(name: str, *, ewc: bool) -> Contestant:
        return Contestant(name, 1, name, as_a_script, partial(train_avalanche, ewc=ewc))

    found = [
        Contestant(PLAIN_LOOP, 1, AVALANCHE_NAIVE, as_a_script, train_plainly),
        avalanche(AVALANCHE_NAIVE, ewc=False),
        driftboard(Sgd(), 1, "loop", AVALANCHE_NAIVE),
        driftboard(Sgd(), 1, "vmap", AVALANCHE_NAIVE),
        driftboard(Sgd(), seeds, "vmap", AVALANCHE_NAIVE),
        avalanche(AVALANCHE_EWC, ewc=True),
        driftboard(Ewc(), 1, "loop", AVALANCHE_EWC),
        driftboard(Ewc(), 1, "vmap", AVALANCHE_EWC),
        driftboard(Ewc(), seeds, "vmap", AVALANCHE_EWC),
    ]
    # With --seeds 1 the stacked cohort would appear twice.
    return list({(each.name, each.seeds): each for each in found}.values())


@dataclass(frozen=True)
class Turn:
    """A contestant's next training, as its process is told of it."""

    contestant: Contestant
    sequence: str
    data: Path | None
    threads: int
    counted: bool


def take(turn: Turn) -> Work:
    """Train once, in the process that this is called in.

    Raises:
        DriftboardError: the data set is missing or broken, or Avalanche is.
    """
    torch.set_num_threads(turn.threads)
    cohort = cohort_of(turn.sequence, turn.contestant.seeds, turn.data)
    return turn.contestant.train(cohort, tasks_of(turn.sequence, turn.data), turn.counted)


@functools.cache
def cohort_of(sequence: str, seeds: int, data: Path | None) -> Cohort:
    """Return the cohort of the first seeds; a process makes each once."""
    numbers = tuple(range(seeds))
    convert_originals(registered()[sequence].source, data)
    setting = Setting(registered()[sequence], numbers, "test", data, "cpu")
    cohort = prepare(setting).cohort
    return dataclasses.replace(cohort, training=evened(cohort.training, cohort.train[0].count))


def evened(training: Training, images: int) -> Training:
    """Return training with the largest batch that a task's images fill evenly, in whole epochs.

    What is left over at an epoch's end is dropped here and a smaller batch elsewhere.
    """
    batch = max(size for size in range(1, training.batch_size + 1) if images % size == 0)
    epochs = max(training.epochs, -(-training.minimum_steps * batch // images))
    return dataclasses.replace(training, batch_size=batch, epochs=epochs, minimum_steps=1)


@functools.cache
def tasks_of(sequence: str, data: Path | None) -> list[SoloTask]:
    """Return the tasks of the first seed."""
    return solo_tasks(cohort_of(sequence, 1, data))


@contextmanager
def arena(
    sequence: str, data: Path | None, threads: int
) -> Iterator[Callable[[Contestant, bool], Work]]:
    """Start a process for each setup; what it yields trains a contestant in its own."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        executors = {
            setup: stack.enter_context(ProcessPoolExecutor(1, context, setup, ("cpu",)))
            for setup in (as_a_worker, as_a_script)
        }

        def train(contestant: Contestant, counted: bool) -> Work:
            turn = Turn(contestant, sequence, data, threads, counted)
            return executors[contestant.setup].submit(take, turn).result()

        yield train


def check_same_work(counts: dict[Contestant, Work]) -> Work:
    """Check that all did equal work, and the plain loop and Driftboard the same; return it.

    Raises:
        DriftboardError: they did not, so their times cannot be compared.
    """
    by_name = {each.name: work for each, work in counts.items() if each.seeds == 1}
    plain, solo = by_name[PLAIN_LOOP], by_name[SOLO_SGD]
    for each, work in counts.items():
        if (work.steps, work.images) != (plain.steps, plain.images):
            raise DriftboardError(
                f"{each.name} took {work.steps} steps on {work.images} images, "
                f"the plain loop {plain.steps} on {plain.images}: not the same work"
            )
    assert plain.loss is not None
    assert solo.loss is not None
    if abs(plain.loss - solo.loss) > LOSS_TOLERANCE:
        raise DriftboardError(
            f"Driftboard ends at loss {solo.loss:.6f}, the plain loop at {plain.loss:.6f}: "
            "not the same training"
        )
    return plain


def compare(
    entrants: list[Contestant],
    repeats: int,
    train: Callable[[Contestant, bool], Work],
    operations: float,
) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the checks' lines and the table's rows, in the order of ``entrants``.

    Args:
        entrants: who competes.
        repeats: timed runs of each.
        train: trains one of them once, counted or not.
        operations: those that the matrix products of one image in a step take.
    """
    counts = {}
    for each in entrants:
        show(f"warm-up: {each.name}, {each.seeds} seed(s)")
        counts[each] = train(each, True)
    plain = check_same_work(counts)
    solo = next(work for each, work in counts.items() if each.name == SOLO_SGD)
    checks = [
        f"- every seed of every row: {plain.steps} steps, {plain.images} images",
        f"- final training loss: plain loop {plain.loss:.6f}, Driftboard sgd {solo.loss:.6f}",
        f"- final accuracy: plain loop {plain.accuracy:.4f}, Driftboard sgd {solo.accuracy:.4f}",
    ]
    seconds: dict[Contestant, list[float]] = {each: [] for each in entrants}
    highest = []
    for number in range(repeats):
        highest.append(product_rate("cpu") / operations)
        for each in entrants:
            show(f"{number + 1} of {repeats}: {each.name}, {each.seeds} seed(s)")
            seconds[each].append(train(each, False).seconds)
    show("")
    assert plain.images is not None
    rates = {
        each: plain.images * each.seeds / statistics.median(seconds[each]) for each in entrants
    }
    references = {each.name: rate for each, rate in rates.items() if each.seeds == 1}
    ceiling = statistics.median(highest)
    checks.append(
        f"- the products alone, at the rate of a large one: {ceiling:,.0f} images/s, "
        f"{ceiling / references[AVALANCHE_NAIVE]:.2f} times {AVALANCHE_NAIVE}"
    )
    rows = [
        {
            "name": each.name,
            "seeds": each.seeds,
            "images_per_second_summed_over_seeds": rates[each],
            "against": each.against,
            "ratio": rates[each] / references[each.against],
            "accuracy": counts[each].accuracy,
            "seconds": seconds[each],
        }
        for each in entrants
    ]
    return checks, rows


def operations_per_image(cohort: Cohort, network: str) -> float:
    """Return what the matrix products of a step take, divided by the images of a batch."""
    shape = tuple(cohort.train[0].images.shape[2:])
    units = cohort.classes[0].shape[1]
    batch = cohort.training.batch_size
    return step_operations(layers_of(network, shape, units), batch) / batch


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| what | seeds | images/s, summed over seeds | times Avalanche | final accuracy |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['name']} | {row['seeds']} | {row['images_per_second_summed_over_seeds']:,.0f} "
        f"| {row['ratio']:.2f} ({row['against'].removeprefix('Avalanche ')}) "
        f"| {row['accuracy']:.4f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sequence", choices=SEQUENCES, default=SEQUENCES[0], help="what is trained on"
    )
    parser.add_argument("--data", type=Path, help="the data folder (default: Driftboard's own)")
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds to stack")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    parser.add_argument("--json", type=Path, help="also write everything measured to this file")
    options = parser.parse_args()
    if min(options.seeds, options.repeats, options.threads) < 1:
        parser.error("--seeds, --repeats and --threads must be at least 1")
    torch.set_num_threads(options.threads)
    try:
        network = registered()[options.sequence].network
        operations = operations_per_image(cohort_of(options.sequence, 1, options.data), network)
        with arena(options.sequence, options.data, options.threads) as train:
            entrants = contestants(options.seeds)
            checks, rows = compare(entrants, options.repeats, train, operations)
    except DriftboardError as error:
        sys.exit(f"error: {error}")
    around = circumstances(options.threads, options.repeats)
    around["avalanche-lib"] = installed("avalanche-lib")
    print(table(rows))
    print()
    print("\n".join(f"- {name}: {value}" for name, value in around.items()))
    print("\n".join(checks))
    if options.json:
        report = {
            "sequence": options.sequence,
            "circumstances": around,
            "checks": checks,
            "rows": rows,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
