"""Fixtures that several test files share. torch is imported where it is used: it costs seconds."""

import multiprocessing
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings

# The same examples on every run and every machine, and no folder of examples left behind.
settings.register_profile("driftboard", derandomize=True, deadline=None, database=None)
settings.load_profile("driftboard")


@pytest.fixture
def one_thread(monkeypatch, tmp_path):
    """Let the only worker of this machine be a thread: the same code, but no start-up."""
    from driftboard.suite.runs import local

    def start():
        ours, theirs = multiprocessing.Pipe()
        ended = multiprocessing.Pipe()

        def work():
            with suppress(EOFError, ConnectionError):
                local.work(theirs)

        thread = threading.Thread(target=work)
        thread.start()
        process = SimpleNamespace(
            sentinel=ended[0],
            other_end=ended[1],
            is_alive=thread.is_alive,
            join=thread.join,
            terminate=lambda: None,
        )
        return local.Worker(process, ours)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        local, "local_executor", lambda device, count: local.LocalExecutor(1, start, device)
    )
    monkeypatch.setattr(local, "start_server", lambda: False)


@pytest.fixture
def weighing(tmp_path):
    """Return a function that writes a strategy with a weight into a file, always the same."""
    file = tmp_path / "mine.py"

    def write(weight):
        file.write_text(f"""
from dataclasses import dataclass
from typing import ClassVar
from driftboard.strategies import Strategy

@dataclass(frozen=True)
class Mine(Strategy):
    name: ClassVar[str] = "mine"
    weight: float = {weight}
""")
        return file

    return write


@pytest.fixture(scope="session")
def strategy_text():
    """Return a function that returns the text of a file with a strategy.

    Its name, what its hook ``begin`` does, in a line from the twelfth on, and what follows.
    """

    def text(name, begin, below="", above=""):
        return f"""{above}
from dataclasses import dataclass
from typing import ClassVar
from driftboard.strategies import Strategy

@dataclass(frozen=True)
class Mine(Strategy):
    name: ClassVar[str] = "{name}"
    turn: int = 1

    def begin(self, task, parameters, memory):
        {begin}
{below}"""

    return text


@pytest.fixture
def make_task():
    """Return a function that makes a random task in float64 for a small network of layers."""
    import torch
    from torch.func import functional_call

    from driftboard.strategies import Block, Examples, Task
    from driftboard.strategies.base import Scaling

    @dataclass(frozen=True)
    class Layers:
        module: torch.nn.Module

        @property
        def blocks(self):
            named = {
                name: tuple(f"{name}.{own}" for own, _ in layer.named_parameters())
                for name, layer in self.module.named_children()
            }
            return tuple(Block(name, owned) for name, owned in named.items() if owned)

        def logits(self, parameters, images):
            return functional_call(self.module, parameters, (images,))

    def make(module, *, shape, units, classes=None, earlier=(), count=12, index=0, seed=0):
        """``earlier`` are units of earlier tasks that may answer, too."""
        random = torch.Generator().manual_seed(seed)

        def normal(*size):
            return torch.randn(*size, generator=random, dtype=torch.float64)

        own = torch.tensor(range(units) if classes is None else classes)
        labels = own[torch.randint(len(own), (count,), generator=random)]
        answers = torch.tensor([*earlier, *own.tolist()])
        belongs, allowed = (torch.isin(torch.arange(units), some) for some in (own, answers))
        return Task(
            index=index,
            network=Layers(module),
            examples=Examples(normal(count, *shape), labels, allowed.repeat(count, 1)),
            classes=belongs,
            units=own,
            answers=answers,
            initial={k: 0.5 * normal(*v.shape) for k, v in module.named_parameters()},
            noise=torch.rand(count, generator=random, dtype=torch.float64),
            key=torch.randint(2**62, (), generator=random),
            moment=torch.tensor(0),
            # The images are no bytes; stored ones are the nearest that are.
            scaling=Scaling(torch.tensor(0.5), torch.tensor(0.125)),
        )

    return make


@pytest.fixture
def map_learners():
    """Return a function that maps ``function(task, *trees)`` over learners with ``vmap``."""
    import torch
    from torch.func import vmap
    from torch.utils._pytree import tree_map

    def tensors(task) -> tuple[Any, ...]:
        part = task.examples
        own = (task.classes, task.units, task.answers, task.initial, task.noise, task.key)
        return (part.images, part.labels, part.allowed, *own)

    def mapped(function, tasks, *trees):
        """Tasks and trees are lists, one entry per learner."""
        from driftboard.strategies import Examples

        def one(parts, *trees):
            images, labels, allowed, *own = parts
            names = ("classes", "units", "answers", "initial", "noise", "key")
            examples = Examples(images, labels, allowed)
            task = replace(tasks[0], examples=examples, **dict(zip(names, own, strict=True)))
            return function(task, *trees)

        stacked = [
            tree_map(lambda *values: torch.stack(values), *each)
            for each in ([tensors(task) for task in tasks], *trees)
        ]
        return vmap(one)(*stacked)

    return mapped


@pytest.fixture(scope="session")
def nine_steps():
    """Return a function that makes tiny learners with two tasks of nine steps each.

    Steps are recorded then, where they are recorded at all. The network is one of the tiny ones,
    or one of the registry.
    """
    import torch

    from driftboard.suite.checks.tiny import NETWORKS, SHAPE, UNITS, tiny_cohort
    from driftboard.suite.training.networks import initial_parameters

    def make(network, seeds=(3, 4)):
        cohort = tiny_cohort(network if network in NETWORKS else "convolutions", seeds)
        if network not in NETWORKS:
            found = [initial_parameters(network, SHAPE, UNITS, seed) for seed in seeds]
            stacked = {name: torch.stack([one[name] for _, one in found]) for name in found[0][1]}
            cohort = replace(cohort, network=found[0][0], initial=stacked)
        training = replace(cohort.training, minimum_steps=9)
        return replace(cohort, training=training, train=cohort.train[:2], test=cohort.test[:2])

    return make


@pytest.fixture(scope="session")
def outcome_of():
    """Return a function that trains a cohort and returns what it came to, without the times."""
    from driftboard.suite.training import engine

    def outcome(cohort, strategy, mode="vmap"):
        found = vars(engine.run(cohort, strategy, mode))
        plans = [(plan.share, plan.restart) for plan in found["plans"]]
        kept = {name: value for name, value in found.items() if "seconds" not in name}
        return kept | {"plans": plans}

    return outcome


@pytest.fixture(scope="session")
def make_record():
    """Return a function that makes one valid synthetic record; ``changes`` replace its fields."""
    from msgspec.structs import replace

    from driftboard.suite import records

    def make(
        sequence="alpha",
        strategy="sgd",
        seed=0,
        correct=((90, 10), (60, 80)),
        size=100,
        **changes,
    ):
        tasks = len(correct)
        plan = records.PlanStamp(share=(1.0, 1.0, 1.0), restart=(False, False, False))
        record = records.Record(
            schema=3,
            protocol=records.ProtocolStamp(name="made-up", version=1, hash="a" * 64),
            sequence=records.SequenceStamp(
                name=sequence,
                hash="b" * 64,
                tier="small",
                data="Made-up data (2 kinds)",
                data_hash="c" * 64,
                blocks=("first", "second", "head"),
            ),
            strategy=records.StrategyStamp(
                name=strategy,
                role="ranked",
                parameters={},
                source_hash="d" * 64,
                files=("made_up.py",),
            ),
            seed=seed,
            split="test",
            correct=tuple(tuple(row) for row in correct),
            correct_untrained=(5,) * tasks,
            test_sizes=(size,) * tasks,
            classes=(10,) * tasks,
            update_norms=((3.0, 4.0, 9.0),) * tasks,
            solution_norms=((6.0, 8.0, 9.0),) * tasks,
            drift_norms=((0.0, 0.0, 0.0), *((3.0, 4.0, 9.0),) * (tasks - 1)),
            plans=(plan,) * tasks,
            memory_bytes=(0,) * tasks,
            status="finished",
            diverged_at=None,
            diverged_by=None,
            operations=(1000,) * tasks,
            cost=records.Cost(
                seconds=(1.0,) * tasks, evaluation_seconds=0.5, peak_memory_bytes=1000
            ),
            environment=records.Environment(
                driftboard="0.1.0",
                package="e" * 64,
                python="3.12.0",
                torch="2.11.0",
                device="cpu",
                lane="solo",
                cohort=(seed,),
            ),
        )
        return replace(record, **changes)

    return make


@pytest.fixture(scope="session")
def make_loss_record(make_record):
    """Return a function that makes one valid record of excess losses, with blocks u and q."""
    from msgspec.structs import asdict, replace

    from driftboard.suite import records

    of_accuracies = set(records.Record.__struct_fields__) - set(
        records.LossRecord.__struct_fields__
    )

    def make(
        sequence="alpha", strategy="sgd", seed=0, losses=((0.5, 1.5), (0.75, 0.25)), **changes
    ):
        tasks = len(losses)
        common = make_record(sequence, strategy, seed, correct=((1,) * tasks,) * tasks)
        fields = {k: v for k, v in asdict(common).items() if k not in of_accuracies}
        two_blocks = {
            "sequence": replace(common.sequence, blocks=("u", "q")),
            "plans": (records.PlanStamp(share=(1.0, 1.0), restart=(False, False)),) * tasks,
            "update_norms": ((3.0, 9.0),) * tasks,
            "solution_norms": ((6.0, 9.0),) * tasks,
            "drift_norms": ((0.0, 0.0), *((1.5, 9.0),) * (tasks - 1)),
        }
        return records.LossRecord(
            **fields | two_blocks | changes,
            losses=tuple(tuple(row) for row in losses),
            losses_untrained=(1.0,) * tasks,
            draws=50,
        )

    return make


@pytest.fixture(scope="session")
def make_grade_record():
    """Return a function that makes a grade record; a seed of cosine c measures 2 - 2 c."""
    from driftboard.suite.distance import grades
    from driftboard.suite.protocol import GRADING

    def make(stamp, cosines, reliability=1.0):
        def triangle(cosine):
            norm = 1.0 / reliability
            # rows and columns: both parts of the first task, then both of the second
            return (norm, 1.0, cosine, cosine, norm, cosine, cosine, norm, 1.0, norm)

        head = (7.0,) * 10
        return grades.GradeRecord(
            schema=2,
            grading=GRADING.stamp(),
            protocol=GRADING.stamp(),
            sequence=stamp,
            tasks=2,
            parts=2,
            images=100,
            seeds=tuple(
                grades.SeedProducts(seed, (*((triangle(cosine),) * (len(stamp.blocks) - 1)), head))
                for seed, cosine in enumerate(cosines)
            ),
            refusal=None,
            python="3.12.0",
            torch="2.11.0",
            device="cpu",
        )

    return make


@pytest.fixture
def call(monkeypatch, capsys):
    """Return a function that runs one command here: exit code, stdout, stderr."""
    import sys

    from driftboard.suite.cli.main import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["driftboard", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as left:
            code = left.code or 0
        return code, *capsys.readouterr()

    return run
