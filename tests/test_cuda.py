"""On a CUDA GPU: recorded steps, equal repetitions, memory, errors. Skipped where there is none."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from driftboard.strategies.base import Strategy
from driftboard.strategies.catalogue import BUILTIN
from driftboard.strategies.ewc import Ewc
from driftboard.strategies.sgd import Sgd
from driftboard.suite import engine
from driftboard.suite.checking.tiny import tiny_cohort
from driftboard.suite.memory_plan import demand_of
from driftboard.suite.networks import initial_parameters
from driftboard.suite.recorded_steps import recorder
from driftboard.suite.task_data import Scaling, TaskData
from driftboard.suite.worker import prepare_process

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def deterministic():
    """Set this process up as a worker on a GPU, and back."""
    prepare_process("cuda")
    yield
    torch.use_deterministic_algorithms(False)


def moved(cohort, dtype=torch.float32):
    """Return a cohort on the GPU."""

    def data(task):
        return TaskData(*(value.to(CUDA) for value in (task.images, task.labels, task.active)))

    return replace(
        cohort,
        initial={name: value.to(CUDA, dtype) for name, value in cohort.initial.items()},
        train=[data(task) for task in cohort.train],
        test=[data(task) for task in cohort.test],
        classes=[value.to(CUDA) for value in cohort.classes],
        scaling=Scaling(cohort.scaling.mean.to(CUDA), cohort.scaling.std.to(CUDA)),
    )


def cohort_of(network, seeds=(3, 4)):
    """Return learners with two tasks of nine steps each."""
    cohort = tiny_cohort("convolutions" if network == "resnet9-w8" else network, seeds)
    if network == "resnet9-w8":
        found = [initial_parameters(network, (1, 5, 5), 6, seed) for seed in seeds]
        initial = {name: torch.stack([one[name] for _, one in found]) for name in found[0][1]}
        cohort = replace(cohort, network=found[0][0], initial=initial)
    training = replace(cohort.training, minimum_steps=9)
    return replace(cohort, training=training, train=cohort.train[:2], test=cohort.test[:2])


def outcome(cohort, strategy, lane="stacked"):
    """Return what a run came to, as numbers to compare."""
    found = vars(engine.run(cohort, strategy, lane))
    plans = [(plan.share, plan.restart) for plan in found["plans"]]
    kept = {name: value for name, value in found.items() if "seconds" not in name}
    return kept | {"plans": plans}


@pytest.fixture
def recordings(monkeypatch):
    """Return what became of every try to record a step."""
    calls = []

    def noted(device):
        def record(step, place):
            calls.append("tried")
            replay = recorder(device)(step, place)
            calls.append("recorded")
            return replay

        return record

    monkeypatch.setattr(engine, "recorder", noted)
    return calls


@pytest.mark.parametrize("strategy", BUILTIN.values(), ids=BUILTIN)
@pytest.mark.parametrize("network", ["MLP", "convolutions", "resnet9-w8"])
def test_recorded_steps_do_what_written_ones_do(network, strategy, recordings, monkeypatch):
    cohort = moved(cohort_of(network))
    recorded = outcome(cohort, strategy)
    assert recordings
    assert recordings == ["tried", "recorded"] * (len(recordings) // 2)
    monkeypatch.setattr(engine, "recorder", lambda device: None)
    torch.testing.assert_close(outcome(cohort, strategy), recorded, rtol=0, atol=0)


@pytest.mark.parametrize("strategy", [Sgd(), Ewc()], ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("network", ["MLP", "resnet9-w8"])
def test_the_same_run_gives_the_same_bits(network, strategy):
    cohort = moved(cohort_of(network))
    first = outcome(cohort, strategy)
    for _ in range(3):
        torch.testing.assert_close(outcome(cohort, strategy), first, rtol=0, atol=0)


@pytest.mark.parametrize("strategy", BUILTIN.values(), ids=BUILTIN)
@pytest.mark.parametrize("network", ["MLP", "convolutions"])
def test_double_precision_agrees_with_the_cpu(network, strategy):
    cohort = cohort_of(network)
    here = outcome(cohort, strategy)
    there = outcome(moved(cohort, torch.float64), strategy)
    torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-9)


@dataclass(frozen=True)
class Asking(Strategy):
    """Wants to know a value on the host, which a recorded stream does not tell."""

    name: ClassVar[str] = "asking"

    def correct(self, task, gradient, parameters, memory):
        largest = max(float(value.abs().max()) for value in gradient.values())
        return {name: value / max(1.0, largest) for name, value in gradient.items()}


def test_after_a_step_that_cannot_be_recorded_others_can(recordings):
    stream = torch.cuda.current_stream()
    cohort = moved(cohort_of("MLP", (3,)))
    outcome(cohort, Asking(), "solo")
    assert recordings == ["tried"] * 2
    assert torch.cuda.current_stream() == stream
    recordings.clear()
    outcome(cohort, Sgd(), "solo")
    assert recordings == ["tried", "recorded"] * 2


@pytest.mark.parametrize("strategy", [Sgd(), Ewc()], ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("seeds", [2, 20])
def test_a_cohort_takes_no_more_memory_than_is_planned_for(seeds, strategy):
    cohort = cohort_of("resnet9-w8", tuple(range(seeds)))
    demand = demand_of(
        cohort.network,
        (1, 5, 5),
        [task.count for task in cohort.train],
        [task.count for task in cohort.test],
        batch=cohort.training.batch_size,
        epochs=9,
    )
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    engine.run(moved(cohort), strategy, "stacked")
    libraries = 64 * 2**20  # the workspaces of cuBLAS and cuDNN
    assert torch.cuda.max_memory_allocated() - before <= seeds * demand.total + libraries


GREEDY = """
from dataclasses import dataclass
from typing import ClassVar

import torch

from driftboard.strategies import Strategy


@dataclass(frozen=True)
class Greedy(Strategy):
    name: ClassVar[str] = "greedy"
    summary: ClassVar[str] = "Wants more memory than there is."

    def begin(self, task, parameters, memory):
        torch.empty(2**46, dtype=torch.uint8, device=task.classes.device)
        return task.everything(), memory
"""


def test_a_run_in_workers_of_their_own_goes_on_after_one_is_out_of_memory(call, tmp_path):
    file = tmp_path / "greedy.py"
    file.write_text(GREEDY)
    words = ["run", "--sequence", "digits-repeat", "--strategy", "sgd", "--strategy", str(file)]
    code, _, told = call(*words, "--device", "cuda", "--out", tmp_path / "out")
    assert code == 1
    assert "out of memory" in told.lower()
    assert len(list((tmp_path / "out").rglob("sgd/*.json"))) == 5
