"""What a strategy declares: its hyper-parameters, their search ranges, its description."""

import dataclasses
import difflib
import inspect
from collections.abc import Iterator

from driftboard.strategies.base import HOOKS, Range, Strategy
from driftboard.suite.checks.target import Result, Target
from driftboard.suite.errors import cause_of, place_of
from driftboard.suite.tuning import search_problem


def declaration_results(target: Target) -> list[Result]:
    """Check the declaration; no hook is run."""
    strategy, stamp = target.strategy, target.loaded.stamp
    settings = ", ".join(f"{name}={value}" for name, value in stamp.parameters.items())
    said = f"'{stamp.name}', {stamp.role}, {settings or 'no hyper-parameters'}"
    return [
        Result("declaration", "ok", said),
        _fields(strategy),
        _search(strategy),
        _description(strategy),
    ]


def _fields(strategy: Strategy) -> Result:
    """Find class variables that are no fields without ``@dataclass``, and misspelled hooks."""
    chosen = type(strategy)
    known = {field.name for field in dataclasses.fields(strategy)}
    lost = [
        name
        for name, kind in inspect.get_annotations(chosen).items()
        if name not in known and "ClassVar" not in str(kind)
    ]
    if lost:
        return Result(
            "fields",
            "FAILED",
            f"{', '.join(lost)} of {chosen.__name__} cannot be set; "
            "write @dataclass(frozen=True) above the class",
        )
    for name, value in vars(chosen).items():
        near = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.7)
        if callable(value) and near and name not in HOOKS:
            line = f"{name}() is no hook, so the engine does not call it; did you mean {near[0]}()?"
            return Result("fields", "warning", line)
    return Result("fields", "ok", f"{len(known)} can be set, as --strategy FILE.py,name=value")


def _search(strategy: Strategy) -> Result:
    problem = search_problem(strategy) or next(_unfit_ranges(strategy), None)
    if problem:
        return Result("search", "FAILED", problem)
    ranges = [
        f"{name} in [{limits.low:g}, {limits.high:g}]" for name, limits in strategy.search.items()
    ]
    return Result("search", "ok", ", ".join(ranges) or "no ranges; tune tries learning rates only")


def _unfit_ranges(strategy: Strategy) -> Iterator[str]:
    for name, limits in strategy.search.items():
        value = getattr(strategy, name)
        if not limits.low <= value <= limits.high:
            yield (
                f"the default {name}={value:g} is outside of its search range "
                f"[{limits.low:g}, {limits.high:g}]; change one of them"
            )
        else:
            yield from _refused_ends(strategy, name, limits)


def _refused_ends(strategy: Strategy, name: str, limits: Range) -> Iterator[str]:
    for value in (limits.low, limits.high):
        try:
            dataclasses.replace(strategy, **{name: float(value)})
        except Exception as error:  # the class may raise anything
            yield (
                f"search goes to {name}={value:g}, which {type(strategy).__name__} refuses: "
                f"{cause_of(error)}{place_of(error)}"
            )


def _description(strategy: Strategy) -> Result:
    chosen = type(strategy)
    text = vars(chosen).get("__doc__") or ""
    missing = [
        what
        for what, there in (
            # @dataclass generates a docstring that is the signature
            ("a docstring", text and not text.startswith(f"{chosen.__name__}(")),
            ("a summary", strategy.summary),
            ("literature", strategy.literature),
        )
        if not there
    ]
    if missing:
        return Result(
            "description",
            "warning",
            f"{chosen.__name__} lacks {' and '.join(missing)}: say what it does, "
            "and what is taken from where",
        )
    return Result("description", "ok", str(strategy.summary))
