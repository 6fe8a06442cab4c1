"""What is replaced in torch or in driftboard is named and put back."""

from types import ModuleType

import pytest
import torch

from driftboard.strategies.ewc import Ewc
from driftboard.suite.errors import StrategyError
from driftboard.suite.loading import load_strategy
from driftboard.suite.training import engine
from driftboard.suite.training.attributes import kept_attributes

REPLACED = {
    "torch.nn.functional.cross_entropy": (torch.nn.functional, "cross_entropy"),
    "torch.Tensor.__rsub__": (torch.Tensor, "__rsub__"),
    "torch.nn.Module.__call__": (torch.nn.Module, "__call__"),
    "driftboard.strategies.ewc.Ewc.strength": (Ewc, "strength"),
    "driftboard.strategies.ewc.Ewc.finish": (Ewc, "finish"),
    "driftboard.suite.training.engine.run": (engine, "run"),
}


@pytest.mark.parametrize("name", REPLACED)
@pytest.mark.parametrize("how", ["replaced", "deleted", "before an error"])
def test_what_is_replaced_is_named_and_put_back(name, how):
    place, attribute = REPLACED[name]
    before, replaced = vars(place)[attribute], []
    try:
        with kept_attributes() as replaced:
            if how == "deleted":
                delattr(place, attribute)
            else:
                setattr(place, attribute, lambda *_: None)
            if how == "before an error":
                raise KeyError
    except KeyError:
        pass
    assert replaced == [name]
    assert vars(place)[attribute] is before


def test_what_is_new_or_imported_is_not_replaced(monkeypatch):
    monkeypatch.setattr(engine, "made_up", None, raising=False)
    monkeypatch.delattr(engine, "made_up")  # so that it is gone after the test
    with kept_attributes() as replaced:
        engine.made_up = 1
        engine.run, before = ModuleType("driftboard.suite.training.engine.run"), engine.run
    engine.run = before
    assert replaced == []
    assert engine.made_up == 1


def test_what_torch_replaces_by_itself_is_nobodys_fault():
    with kept_attributes() as replaced:
        torch.set_default_dtype(torch.float64)
        torch.set_default_dtype(torch.float32)
        torch.compile(lambda value: 2 * value, backend="eager")(torch.ones(2))
        torch.func.vmap(torch.func.grad(torch.sin))(torch.ones(3))
    assert replaced == []


FILE = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from driftboard.strategies import Strategy

{}

@dataclass(frozen=True)
class Mine(Strategy):
    name: ClassVar[str] = "mine"
"""


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (
            "torch.nn.functional.cross_entropy = torch.nn.functional.mse_loss",
            "torch.nn.functional.cross_entropy",
        ),
        (
            "Strategy.begin = Strategy.finish; torch.relu = torch.abs",
            "torch.relu and driftboard.strategies.base.Strategy.begin",
        ),
    ],
)
def test_a_file_that_replaces_something_is_refused(tmp_path, code, names):
    file = tmp_path / "mine.py"
    file.write_text(FILE.format(code))
    before = torch.nn.functional.cross_entropy, torch.relu
    with pytest.raises(StrategyError) as refused:
        load_strategy(str(file))
    assert str(refused.value) == (
        f"{file} replaces {names}, which all strategies share; write a function or class of your "
        "own and call that"
    )
    assert (torch.nn.functional.cross_entropy, torch.relu) == before
    file.write_text(FILE.format(""))
    assert load_strategy(str(file)).stamp.name == "mine"
