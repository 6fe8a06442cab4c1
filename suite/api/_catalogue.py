"""What there is to run: ``driftboard.sequences`` and ``driftboard.strategies``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def sequences(suite: str | None = None) -> "pd.DataFrame":
    """Return the registered task sequences, a row each, indexed by name.

    Args:
        suite: ``quick``, ``linear``, ``core`` or ``full``; None lists all.

    Returns:
        A frame with the columns ``suite``, ``data``, ``scenario`` (its class), ``tasks``,
        ``network``, ``distance`` between consecutive tasks (0 for equal, 2 for unrelated ones)
        with ``distance_low`` and ``distance_high`` (95 %), ``grade``, and ``description``. The
        distance is missing where none was measured.

    >>> import driftboard as db
    >>> db.sequences("quick").loc["digits-split", ["data", "scenario", "network"]].tolist()
    ['digits', 'Split', 'mlp-128x2']
    """
    import pandas as pd

    from driftboard.suite.distance.grades import known_grades
    from driftboard.suite.errors import DriftboardError
    from driftboard.suite.sequences.registry import registered

    known = registered()
    suites = list(dict.fromkeys(sequence.tier for sequence in known.values()))
    if suite is not None and suite not in suites:
        raise DriftboardError(f"there is no suite '{suite}'; there are {', '.join(suites)}")
    grades = known_grades()
    rows = {}
    for name, sequence in known.items():
        if suite not in (None, sequence.tier):
            continue
        grade = grades.get(sequence.hash())
        distance = grade.distance if grade else None
        rows[name] = {
            "suite": sequence.tier,
            "data": sequence.source,
            "scenario": type(sequence.scenario).__name__,
            "tasks": sequence.scenario.tasks,
            "network": sequence.network,
            "distance": getattr(distance, "value", None),
            "distance_low": getattr(distance, "low", None),
            "distance_high": getattr(distance, "high", None),
            "grade": grade.level if grade else None,
            "description": sequence.description,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("sequence")


def strategies() -> "pd.DataFrame":
    """Return the strategies that the package brings along, a row each, indexed by name.

    Returns:
        A frame with the columns ``role`` (``ranked`` or ``bound``), ``default`` (whether a run
        takes it when none is named), ``parameters`` (a dict), ``summary`` and ``literature``.

    >>> import driftboard as db
    >>> db.strategies().loc["ewc", "parameters"]["strength"]
    30.0
    """
    import dataclasses

    import pandas as pd

    from driftboard.strategies.catalogue import BUILTIN, FURTHER

    rows = {
        name: {
            "role": strategy.role,
            "default": name in BUILTIN,
            "parameters": dataclasses.asdict(strategy),
            "summary": strategy.summary,
            "literature": strategy.literature,
        }
        for name, strategy in (BUILTIN | FURTHER).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("strategy")
