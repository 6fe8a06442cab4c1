"""Cells of several strategies in one process: nothing that one of them does reaches another."""

import os

import pytest
import torch
from msgspec.structs import asdict

from driftboard.suite.errors import StrategyError
from driftboard.suite.loading import load_strategy
from driftboard.suite.protocol import Training
from driftboard.suite.runs.cells import Cells
from driftboard.suite.sequences.scenarios import Relabelled
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.training.cohort import Setting, prepare
from driftboard.suite.training.global_state import global_state

SEQUENCES = {
    "vmap": ("mlp-8x1", (0, 1)),
    "loop": ("resnet9-w8", (0,)),
}

FILE = """
import os, random
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from driftboard.strategies import Strategy

ABOVE

@dataclass(frozen=True)
class Mine(Strategy):
    name: ClassVar[str] = "mine"

    def HOOK(self, task, *given):
        BODY
        return super().HOOK(task, *given)
"""

IN_PLACE = {
    "task.initial['head.weight'].mul_(5)": "task.initial['head.weight']",
    "task.examples.labels.zero_()": "task.examples.labels",
    "task.examples.allowed.fill_(True)": "task.examples.allowed",
    "task.classes.logical_not_()": "task.classes",
    "[value.zero_() for value in task.network.module.state_dict().values()]": "task.network.module",
}

OF_THE_PROCESS = {
    "torch.set_default_dtype(torch.float64)": "torch's default dtype",
    "torch.set_default_device('meta')": "torch's default device",
    "torch.manual_seed(task.index + 7)": "torch's random state",
    "np.random.seed(task.index)": "NumPy's random state",
    "random.seed(task.index)": "Python's random state",
    "torch.set_num_threads(torch.get_num_threads() + 1)": "torch's number of threads",
    "torch.use_deterministic_algorithms(True)": "torch's deterministic mode",
    "torch.set_float32_matmul_precision('medium')": "torch's precision of float32",
    "torch.backends.mkldnn.enabled = False": "torch's backends",
    "np.seterr(all='raise')": "how NumPy treats errors",
    "os.environ['DRIFTBOARD_DATA'] = 'elsewhere'": "the environment variables",
    "os.chdir('/')": "the current folder",
}


@pytest.fixture(params=SEQUENCES)
def setting(request, monkeypatch, tmp_path):
    """Return what to train on, where learners are trained in one mode or the other."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    network, seeds = SEQUENCES[request.param]
    sequence = TaskSequence(
        name="tiny",
        description="",
        source="digits",
        scenario=Relabelled(2, 5),
        network=network,
        train_per_class=4,
        test_per_class=4,
        training=Training(epochs=1, minimum_steps=2, batch_size=10, learning_rate=0.05),
    )
    yield Setting(sequence, seeds, "test", None, "cpu")
    prepare.cache_clear()


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a strategy whose hook does something, and returns its file."""

    def write(body="pass", hook="begin", above=""):
        text = FILE.replace("HOOK", hook).replace("BODY", body).replace("ABOVE", above)
        (tmp_path / "mine.py").write_text(text)
        return str(tmp_path / "mine.py")

    return write


def measured(setting, strategy):
    """Return the records of a strategy, but for what they cost."""
    records = Cells().measure(setting, load_strategy(strategy), 9, lambda: None)
    found = [asdict(one) for one in records]
    return [{name: value for name, value in one.items() if name != "cost"} for one in found]


def refusal(setting, strategy):
    with pytest.raises(StrategyError) as caught:
        measured(setting, strategy)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("body", IN_PLACE)
def test_a_task_changed_in_place_is_not_that_of_the_next_strategy(body, setting, write):
    expected = measured(setting, "sgd")
    text = refusal(setting, write(body))
    assert text.startswith("strategy 'mine': ")
    assert IN_PLACE[body] in text.partition(" changes ")[2]
    assert measured(setting, "sgd") == expected


def test_nor_is_one_changed_by_a_hook_that_then_raises(setting, write):
    expected = measured(setting, "sgd")
    text = refusal(setting, write("task.examples.labels.zero_(); 1 / 0"))
    assert "ZeroDivisionError" in text
    assert measured(setting, "sgd") == expected


@pytest.mark.parametrize("hook", ["begin", "finish"])
@pytest.mark.parametrize("body", OF_THE_PROCESS)
def test_the_state_of_the_process_is_left_as_it_is(body, hook, setting, write):
    before = global_state()
    text = refusal(setting, write(body, hook))
    assert global_state().changed_since(before) == []
    assert text == (
        f"strategy 'mine': a hook changes {OF_THE_PROCESS[body]}, which all strategies share; "
        "leave it as it is, and draw random numbers from task.uniform"
    )


def test_a_function_that_a_hook_replaces_is_put_back(setting, write):
    expected, before = measured(setting, "sgd"), torch.nn.functional.cross_entropy
    body = "torch.nn.functional.cross_entropy = lambda logits, *_, **__: 0 * logits.sum()"
    assert refusal(setting, write(body)) == (
        "strategy 'mine': a hook changes torch.nn.functional.cross_entropy, which all strategies "
        "share; leave it as it is, and draw random numbers from task.uniform"
    )
    assert torch.nn.functional.cross_entropy is before
    assert measured(setting, "sgd") == expected


def test_what_a_file_sets_when_it_is_imported_reaches_nobody(setting, write):
    above = "; ".join(each.replace("task.index", "3") for each in OF_THE_PROCESS)
    expected = measured(setting, write())
    before = global_state()
    found = measured(setting, write(above=above))
    assert global_state().changed_since(before) == []
    assert os.environ.get("DRIFTBOARD_DATA") != "elsewhere"
    for one, other in zip(found, expected, strict=True):
        assert one["update_norms"] == other["update_norms"]


def test_memory_that_is_short_is_no_fault_of_what_a_hook_has_changed(setting, write):
    body = "torch.set_num_threads(9); raise torch.OutOfMemoryError('no memory')"
    threads = torch.get_num_threads()
    with pytest.raises(torch.OutOfMemoryError, match="no memory"):
        measured(setting, write(body))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("factor", "cause"), [("3000.0", "blow-up"), ("torch.nan", "not finite")])
def test_a_record_tells_by_what_a_learner_has_diverged(factor, cause, setting, write):
    body = f"given = ({{n: v * {factor} for n, v in given[0].items()}}, given[1])"
    for record in measured(setting, write(f"if task.index: {body}", "finish")):
        assert (record["status"], record["diverged_at"]) == ("diverged", 1)
        assert record["diverged_by"] == cause
        assert record["correct"][1] == (4, 4)  # of 40 images of ten classes
        assert max(record["update_norms"][0]) > 0
        for norms in ("update_norms", "solution_norms", "drift_norms"):
            assert set(record[norms][1]) == {0.0}


def test_a_record_of_a_run_that_ended_well_names_no_cause(setting):
    for record in measured(setting, "sgd"):
        assert (record["status"], record["diverged_at"]) == ("finished", None)
        assert record["diverged_by"] is None
