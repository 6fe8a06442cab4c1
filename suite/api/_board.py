"""The leaderboard from Python: a board of any results, as a frame, Markdown, HTML and files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from driftboard._results import Results
from driftboard.suite.errors import DriftboardError

if TYPE_CHECKING:
    import pandas as pd

    from driftboard.leaderboard.analysis.board import Board
    from driftboard.suite.distance.grades import Grade
    from driftboard.suite.records import AnyRecord


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """A leaderboard: every strategy with intervals, differences from a reference, and ranks.

    Attributes:
        board: the numbers, as ``driftboard.leaderboard.analysis`` computes them.
        grades: how far apart the tasks of its sequences are, by the sequences' hashes.
        made_by: the Python that makes it again, as its legend prints it.
    """

    board: "Board"
    grades: "Mapping[str, Grade]"
    made_by: str

    def frame(self) -> "pd.DataFrame":
        """Return the board as a frame: the columns and rows of ``leaderboard.csv``.

        A row per section (``overall``, ``grade:near``, each sequence, ...), strategy and metric;
        ``mean`` with ``low`` and ``high`` (95 % over new seeds), ``difference`` from the reference
        with its interval and ``p_holm``, and further columns that the documentation lists.

        >>> import driftboard as db
        >>> results = db.published("quick", strategies=["sgd", "ewc", "joint"])
        >>> frame = db.leaderboard(results).frame()
        >>> first = frame.query("sequence == 'overall' and metric == 'avg_acc' and rank == 1")
        >>> best = first.iloc[0]
        >>> print(best["strategy"], round(best["mean"], 3))
        ewc 0.82
        """
        import pandas as pd

        from driftboard.leaderboard.table import raw_columns, raw_rows

        return pd.DataFrame(list(raw_rows(self.board)), columns=list(raw_columns()))

    def markdown(self) -> str:
        """Return all tables as Markdown, as ``leaderboard.md`` has them."""
        from driftboard.leaderboard.render.markdown import markdown

        return markdown(self.board, self.made_by)

    def save(self, folder: str | Path, formats: str | Iterable[str] | None = None) -> list[Path]:
        """Write the board below ``folder`` and return what was written.

        Args:
            folder: made if it is not there.
            formats: some of ``md``, ``csv``, ``tex``, ``html`` and ``figures``; None writes all.

        Raises:
            DriftboardError: there is no such format, or a file cannot be written.
        """
        from driftboard.leaderboard.build import Format, write_board

        known = [form.value for form in Format]
        chosen = known if formats is None else [formats] if isinstance(formats, str) else [*formats]
        for name in chosen:
            if name not in known:
                raise DriftboardError(f"there is no format '{name}'; choose of {', '.join(known)}")
        asked = tuple(Format(name) for name in chosen)
        return write_board(self.board, self.grades, self.made_by, Path(folder), asked)

    def __repr__(self) -> str:
        """Return the overall table as text."""
        from driftboard.leaderboard.render.terminal import terminal_table

        return f"{terminal_table(self.board).text(width=100)}\n"

    def _repr_html_(self) -> str:
        """Return the overall table as HTML, for notebooks."""
        import pandas as pd

        from driftboard.leaderboard.table import overall_table

        table = overall_table(self.board)
        rows = [
            {title: cell.text for title, cell in entries.items()}
            for group in table.groups.values()
            for entries in group
        ]
        columns = [heading.title for heading in table.columns]
        return str(pd.DataFrame(rows, columns=columns).to_html(escape=True, index=False))


def leaderboard(results: Results | Iterable[Results], reference: str = "sgd") -> Leaderboard:
    """Return the leaderboard of results.

    Args:
        results: of one or several runs, folders or published sets; what stands in several with
            equal content counts once.
        reference: the strategy that the others are compared with, on the same seeds.

    Raises:
        RecordError: the records cannot stand on one board (several protocols, versions of a
            strategy, splits or contents of one cell), or the reference has none.

    >>> import driftboard as db
    >>> board = db.leaderboard(db.published("quick", strategies=["sgd", "ewc", "joint"]))
    >>> board.markdown().splitlines()[0]
    '# Driftboard leaderboard'
    """
    from driftboard.leaderboard.analysis.board import build_board
    from driftboard.leaderboard.analysis.collect import collect, evidence
    from driftboard.suite.distance.grades import known_grades

    parts = tuple([results] if isinstance(results, Results | str) else results)
    if strange := [part for part in parts if not isinstance(part, Results)]:  # a folder, say
        raise DriftboardError(
            f"{strange[0]!r} is no results; driftboard.load and driftboard.published give some"
        )
    if not parts:
        raise DriftboardError("no results were given; a leaderboard needs some")
    origins: dict[str, list[AnyRecord]] = {}
    for part in parts:  # two parts may come from the same folder
        origins.setdefault(part.made_by, []).extend(part.records)
    collection = collect((), records=origins)
    folders = tuple(folder for part in parts for folder in part.folders)
    hashes = {stamp.hash for stamp in collection.sequences.values()}
    published: dict[str, list[AnyRecord]] = {}
    for part in parts:
        for name in part.published:
            published.setdefault(name, []).extend(part.records)
    grades = known_grades(folders, among=hashes)
    board = build_board(collection, reference, grades, evidence(folders, (), published))
    named = ", ".join(part.made_by for part in parts)
    if len(parts) > 1:
        named = f"[{named}]"
    return Leaderboard(board, grades, f"driftboard.leaderboard({named}, reference={reference!r})")
