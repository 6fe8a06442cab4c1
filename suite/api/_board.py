"""The leaderboard from Python: a board of any results, as a frame, Markdown, HTML and files."""

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from driftboard._results import Results, names_of
from driftboard.suite.errors import DriftboardError

if TYPE_CHECKING:
    import pandas as pd

    from driftboard.leaderboard.analysis.board import Board
    from driftboard.leaderboard.analysis.join import Prefer
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
        from driftboard.leaderboard.words import collection_notes

        table = overall_table(self.board)
        rows = [
            {title: cell.text for title, cell in entries.items()}
            for group in table.groups.values()
            for entries in group
        ]
        columns = [heading.title for heading in table.columns]
        text = str(pd.DataFrame(rows, columns=columns).to_html(escape=True, index=False))
        notes = (*table.notes, *collection_notes(self.board.source))
        return text + "".join(f"<p>{html.escape(''.join(note))}</p>" for note in notes)


def leaderboard(
    results: Results | Iterable[Results],
    reference: str = "sgd",
    *,
    strategies: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    sequences: str | Iterable[str] | None = None,
    prefer: "Prefer" = "own",
) -> Leaderboard:
    """Return the leaderboard of results.

    Nothing is averaged over two versions. Of a cell that several have, and of a strategy or
    sequence of which they have several versions, the first one's stands, your own before what is
    published. What is left out stands in the board's notes.

    Args:
        results: of one or several runs, folders or published sets.
        reference: the strategy that the others are compared with, on the same seeds.
        strategies: names or patterns such as ``ewc*``; None takes all.
        exclude: names or patterns of strategies and sequences to leave out.
        sequences: names or patterns; None takes all.
        prefer: whose records stand, ``own`` or ``published`` ones.

    Raises:
        DriftboardError: a pattern matches nothing.
        RecordError: the records cannot stand on one board (your own are of several protocols,
            splits or measures), or the reference has none.

    >>> import driftboard as db
    >>> board = db.leaderboard(db.published("quick"), strategies=["sgd", "ewc", "joint"])
    >>> board.markdown().splitlines()[0]
    '# Driftboard leaderboard'
    """
    from driftboard.leaderboard.analysis.board import build_board
    from driftboard.leaderboard.analysis.collect import collect
    from driftboard.leaderboard.analysis.evidence import credits_of, evidence, submitted_among
    from driftboard.leaderboard.analysis.join import Choice, Source
    from driftboard.suite.distance.grades import known_grades

    parts = tuple([results] if isinstance(results, Results | str) else results)
    if strange := [part for part in parts if not isinstance(part, Results)]:  # a folder, say
        raise DriftboardError(
            f"{strange[0]!r} is no results; driftboard.load and driftboard.published give some"
        )
    if not parts:
        raise DriftboardError("no results were given; a leaderboard needs some")
    if prefer not in ("own", "published"):
        raise DriftboardError(f"prefer is 'own' or 'published', not {prefer!r}")
    given = {"strategies": names_of(strategies), "sequences": names_of(sequences)}
    given["exclude"] = names_of(exclude)
    choice = Choice(**{name: some or () for name, some in given.items()}, prefer=prefer)
    origins: dict[Source, list[AnyRecord]] = {}
    for part in parts:  # two parts may come from the same folder
        source = Source(_name_of(part), is_published=bool(part.published))
        origins.setdefault(source, []).extend(part.records)
    collection = collect((), records=origins, choice=choice)
    for part in parts:
        if part.left_out:
            left_out = collection.left_out.joined(part.left_out)
            collection = replace(collection, left_out=left_out)
    folders = tuple(folder for part in parts for folder in part.folders)
    hashes = {stamp.hash for stamp in collection.sequences.values()}
    grades = known_grades(folders, among=hashes)
    submitted = submitted_among(folders)
    badges = evidence(collection.backing, submitted, ())
    board = build_board(
        collection, reference, grades, badges, credits_of(collection.backing, submitted)
    )
    named = ", ".join(part.made_by for part in parts)
    words = [f"[{named}]" if len(parts) > 1 else named, f"reference={reference!r}"]
    words += [f"{name}={[*some]!r}" for name, some in given.items() if some]
    words += [f"prefer={prefer!r}"] if prefer != "own" else []
    return Leaderboard(board, grades, f"driftboard.leaderboard({', '.join(words)})")


def _name_of(part: Results) -> str:
    """Return the name of a source: its folders, its published sets, or the Python that made it."""
    if part.published:
        return f"published {', '.join(part.published)}"
    return ", ".join(map(str, part.folders)) or part.made_by
