"""On a CUDA GPU: recorded steps, equal repetitions, memory, errors. Skipped where there is none."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from driftboard.strategies.base import Strategy
from driftboard.strategies.catalogue import BUILTIN
from driftboard.strategies.ewc import Ewc
from driftboard.strategies.sgd import Sgd
from driftboard.suite.checks.tiny import SHAPE
from driftboard.suite.runs.worker import prepare_process
from driftboard.suite.training import cuda_graph, engine
from driftboard.suite.training.cuda_graph import GraphRunner, graph_runner_on
from driftboard.suite.training.memory_plan import demand_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def deterministic():
    """Set this process up as a worker on a GPU, and back."""
    prepare_process("cuda")
    yield
    torch.use_deterministic_algorithms(False)


def on_gpu(cohort, dtype=torch.float32):
    """Return a cohort on the GPU, with parameters of a type."""
    initial = {name: value.to(dtype) for name, value in cohort.initial.items()}
    return replace(cohort, initial=initial).on(CUDA)


@pytest.fixture
def recordings(monkeypatch):
    """Return what became of every step that was looked at, to record the next one."""
    calls = []

    def noted(device):
        runner = graph_runner_on(device)

        def synchronizes(step, order):
            waits = runner.synchronizes(step, order)
            calls.append("waits" if waits else "tried")
            return waits

        def record(step, place):
            replay = runner.record(step, place)
            calls.append("recorded")
            return replay

        return GraphRunner(record, synchronizes)

    monkeypatch.setattr(engine, "graph_runner_on", noted)
    return calls


@pytest.mark.parametrize("strategy", BUILTIN.values(), ids=BUILTIN)
@pytest.mark.parametrize("network", ["MLP", "convolutions", "resnet9-w8"])
def test_recorded_steps_do_what_written_ones_do(
    network, strategy, recordings, monkeypatch, nine_steps, outcome_of
):
    cohort = on_gpu(nine_steps(network))
    recorded = outcome_of(cohort, strategy)
    assert recordings
    assert recordings == ["tried", "recorded"] * (len(recordings) // 2)
    monkeypatch.setattr(engine, "graph_runner_on", lambda device: None)
    torch.testing.assert_close(outcome_of(cohort, strategy), recorded, rtol=0, atol=0)


@pytest.mark.parametrize("strategy", [Sgd(), Ewc()], ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("network", ["MLP", "resnet9-w8"])
def test_the_same_run_gives_the_same_bits(network, strategy, nine_steps, outcome_of):
    cohort = on_gpu(nine_steps(network))
    first = outcome_of(cohort, strategy)
    for _ in range(3):
        torch.testing.assert_close(outcome_of(cohort, strategy), first, rtol=0, atol=0)


@pytest.mark.parametrize("strategy", BUILTIN.values(), ids=BUILTIN)
@pytest.mark.parametrize("network", ["MLP", "convolutions"])
def test_double_precision_agrees_with_the_cpu(network, strategy, nine_steps, outcome_of):
    cohort = nine_steps(network)
    here = outcome_of(cohort, strategy)
    there = outcome_of(on_gpu(cohort, torch.float64), strategy)
    torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-9)


@dataclass(frozen=True)
class Asking(Strategy):
    """Wants to know a value on the host, which a recorded stream does not tell."""

    name: ClassVar[str] = "asking"

    def correct(self, task, gradient, parameters, memory):
        largest = max(float(value.abs().max()) for value in gradient.values())
        return {name: value / max(1.0, largest) for name, value in gradient.items()}


def test_after_a_step_that_cannot_be_recorded_others_can(recordings, nine_steps, outcome_of):
    stream = torch.cuda.current_stream()
    cohort = on_gpu(nine_steps("MLP", (3,)))
    outcome_of(cohort, Asking(), "loop")
    assert recordings == ["waits"]
    assert torch.cuda.current_stream() == stream
    recordings.clear()
    outcome_of(cohort, Sgd(), "loop")
    assert recordings == ["tried", "recorded"] * 2


@pytest.mark.parametrize("strategy", [Sgd(), Ewc()], ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("seeds", [2, 20])
def test_a_cohort_takes_no_more_memory_than_is_planned_for(seeds, strategy, nine_steps):
    cohort = nine_steps("resnet9-w8", tuple(range(seeds)))
    demand = demand_of(
        cohort.network,
        SHAPE,
        [task.count for task in cohort.train],
        [task.count for task in cohort.test],
        replace(cohort.training, epochs=9),
    )
    engine.run(on_gpu(cohort), strategy, "vmap")  # libraries take their workspaces, and stay
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    engine.run(on_gpu(cohort), strategy, "vmap")
    libraries = 160 * 2**20  # workspaces of cuDNN, and of cuBLAS: 32 MiB for a stream and thread
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
    assert "not enough memory; use fewer --workers or a device with more" in told
    assert len(list((tmp_path / "out").rglob("sgd/*.json"))) == 5


def test_after_a_recording_that_failed_a_run_goes_on_as_written(
    recordings, monkeypatch, nine_steps, outcome_of
):
    """As where the check does not see it; the last test, since older versions of torch take no
    other recording afterwards."""
    monkeypatch.setattr(cuda_graph, "_waits_for_gpu", cuda_graph._take_unchecked)
    cohort = on_gpu(nine_steps("MLP", (3,)))
    found = outcome_of(cohort, Asking(), "loop")
    assert recordings == ["tried"]
    monkeypatch.setattr(engine, "graph_runner_on", lambda device: None)
    torch.testing.assert_close(outcome_of(cohort, Asking(), "loop"), found, rtol=0, atol=0)
