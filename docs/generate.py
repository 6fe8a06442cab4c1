"""The parts of the reference that are made from code: Markdown that its pages include."""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parents[1]


def write_pages(folder: Path) -> None:
    """Write every generated part of the reference below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "python-api": python_api(),
        "command-line": command_line(),
        "leaderboard-columns": columns_table(leaderboard_columns()),
        "claim-columns": columns_table(claim_columns()),
        "passed-columns": columns_table(passed_columns()),
        "record-schema": record_schema(),
        "data-sets": data_sets_table(),
        "sequences": sequences_tables(),
    }
    for name, text in parts.items():
        (folder / f"{name}.md").write_text(text)


# The Python interface

_FIRST = ["run", "load", "published", "Results", "leaderboard", "Leaderboard", "grade", "Grades"]
_FIRST += ["sequences", "strategies"]
# Names that the page shows in a chapter of their own.
_ELSEWHERE = ("driftboard.strategies", "driftboard.suite.sequences", "driftboard.suite.checks")


def python_api() -> str:
    """Return an entry for mkdocstrings for each name that ``import driftboard`` gives.

    Each is named by its home, for ``driftboard.leaderboard`` is also a package.
    """
    tree = ast.parse((ROOT / "suite" / "api" / "__init__.py").read_text())
    homes = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("driftboard")
        for alias in node.names
        if not node.module.startswith(_ELSEWHERE)
    }
    names = [name for name in _FIRST if name in homes] + sorted(homes.keys() - set(_FIRST))
    return "".join(f"::: {homes[name]}.{name}\n\n" for name in names)


# The command line

WIDTH = 120

# What typer puts in brackets behind a help text, and how the reference says it.
_NOTES = {
    r"default: \((.*)\)": r"Default: \1.",  # words in place of a value
    r"default: (.*)": r"Default: `\1`.",
    r"env var: (.*)": r"Environment variable: `\1`.",
    r"x>=(.*)": r"At least \1.",
    r"required": r"Required.",
}


def command_line() -> str:
    """Return all commands with their arguments, options and defaults, in the order of the help.

    Each has a heading of the second level, so that a page can put its title above.

    >>> [line for line in command_line().splitlines() if line.startswith("##")][:2]
    ['## `driftboard`', '## `driftboard run`']
    """
    from driftboard.suite.cli.main import app

    root: Any = typer.main.get_command(app)
    context = typer.Context(root, info_name="driftboard", terminal_width=WIDTH)
    common = (
        "Every command also has `--help`, and `--traceback`, which ends an error in its whole "
        "traceback, that of a worker process too, and not in one line."
    )
    return "\n\n".join([_wrapped(common), *_entry(context)]) + "\n"


def _entry(context: typer.Context) -> Iterator[str]:
    """Yield the blocks of one command, then those of the commands below it."""
    command: Any = context.command
    yield f"## `{context.command_path}`"
    for paragraph in (command.help or "").split("\n\n"):
        yield _wrapped(_escaped(" ".join(paragraph.split())))
    yield "```\n" + command.get_usage(context).removeprefix("Usage: ") + "\n```"
    for kind in ("argument", "option"):
        items = [
            _item(*record)
            for parameter in command.params
            if parameter.param_type_name == kind
            and parameter.name != "traceback"
            and (record := parameter.get_help_record(context))
        ]
        if items:
            yield f"{kind.capitalize()}s:"
            yield "\n".join(items)
    for name, below in getattr(command, "commands", {}).items():
        yield from _entry(typer.Context(below, parent=context, info_name=name))


def _item(name: str, text: str) -> str:
    """Return one argument or option; typer parts its help from its notes by two spaces."""
    about, _, notes = text.partition("  [")
    words = [_escaped(about), *map(_note, filter(None, notes.removesuffix("]").split("; ")))]
    kind = name.replace("<int range>", "<int>")  # a note says the range
    kind = re.sub(r"<list\[(\w+)\]>", r"<\1>", kind)  # the help says that it may be repeated
    return _wrapped(f"- `{kind}`: {' '.join(words)}", "  ")


def _note(note: str) -> str:
    for pattern, words in _NOTES.items():
        if found := re.fullmatch(pattern, note):
            return found.expand(words)
    return f"{_escaped(note)}."


def _escaped(text: str) -> str:
    """Escape what Markdown would take for emphasis, a link or a tag, outside of code."""
    return re.sub(r"(`[^`]*`)|([*\[\]<\\])", lambda found: found[1] or f"\\{found[2]}", text)


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


# The columns of CSV files


def leaderboard_columns() -> dict[str, str]:
    """Return name and meaning of every column of ``leaderboard.csv``, in order.

    The names come from the package's registry of columns, and so do the meanings of those that
    are not described here: the registry explains what tables show, not every raw number.

    Raises:
        ValueError: neither has a meaning, or the registry's depends on the board.
    """
    from driftboard.leaderboard.columns import COLUMNS

    bounds = {"low": "lower bound of its 95 % interval", "high": "upper bound of it"}
    return {
        name: _LEADERBOARD_MEANINGS.get(name)
        or bounds.get(name.rpartition("_")[2])
        or _explained(name, column.explanation)
        for column in COLUMNS
        for name in column.keys
    }


def _explained(name: str, explanation: object) -> str:
    if isinstance(explanation, str) and explanation:
        return explanation
    raise ValueError(f"describe the column {name} in _LEADERBOARD_MEANINGS of docs/generate.py")


def claim_columns() -> dict[str, str]:
    """Return name and meaning of every column of ``claim.csv``, in order."""
    from driftboard.leaderboard.render.claim_page import COLUMNS

    return {name: _CLAIM_MEANINGS[name] for name in COLUMNS}


def passed_columns() -> dict[str, str]:
    """Return name and meaning of every column of ``passed.csv``, in order."""
    from driftboard.leaderboard.render.passed_page import COLUMNS

    return {name: _PASSED_MEANINGS[name] for name in COLUMNS}


def columns_table(columns: dict[str, str]) -> str:
    """Return a Markdown table of columns.

    >>> print(columns_table({"n": "number of seeds"}))
    | column | meaning |
    | --- | --- |
    | `n` | number of seeds |
    <BLANKLINE>
    """
    rows = [f"| `{name}` | {in_cell(meaning)} |" for name, meaning in columns.items()]
    return "\n".join(["| column | meaning |", "| --- | --- |", *rows]) + "\n"


_LEADERBOARD_MEANINGS = {
    "sequence": "name of the sequence, or of the average: `overall`, `suite:core`, `grade:near`",
    "tier": "tier of the sequence; for `overall` all tiers, divided by spaces",
    "strategy": "name of the strategy",
    "role": "`ranked` or `bound`",
    "metric": "which metric the numbers of this row are of",
    "mean": "mean over `n` seeds",
    "low": "lower bound of the mean's 95 % interval",
    "high": "upper bound of it",
    "n": "number of seeds",
    "difference": "strategy minus reference on common seeds; empty for the reference",
    "difference_low": "lower bound of the difference's 95 % interval",
    "difference_high": "upper bound of it",
    "p": "two-sided paired t test, raw",
    "p_holm": "the same, corrected by Holm; empty outside the family",
    "correlation": "Pearson's, with the reference over the common seeds",
    "diverged": "seeds with at least one diverged run",
    "missing": "cells that another strategy has and this one has not",
    "rank": "by mean Avg.Acc (or Avg.Loss) in this section, the same for its three metrics; equal "
    "means share a rank",
    "flags": "`few-seeds`, `at-ceiling`, divided by `;`",
    "step": "norm of a task's update relative to that of its solution, mean over the tasks after "
    "the first and over finished runs; the same for the three metrics",
    "drift": "distance of the final solution from the first task's, relative to that; likewise",
    "distance": "measured distance between the sequence's tasks; empty for averages over sequences",
    "distance_low": "lower bound of the distance's 95 % interval",
    "distance_high": "upper bound of it",
    "grade": "`near`, `medium` or `far`",
    "rank_low": "first rank of the rank set; the same for the three metrics, empty for bounds and "
    "incomplete strategies",
    "rank_high": "last rank of it",
    "tied_best": "1 if it is marked as not ruled out as best: no ranked strategy is significantly "
    "better, in the tests of all pairs or against the reference, and that does not hold for all",
    "letters": "groups of ranked strategies without significant difference, divided by spaces",
    "diverged_low": "lower bound of the Clopper-Pearson interval of the share of diverged seeds",
    "diverged_high": "upper bound of it",
    "memory_bytes": "the most that the strategy carried over between tasks in a finished run",
    "sequences": "number of sequences",
    "sequences_low": "lower bound of the interval of the mean over new sequences",
    "sequences_high": "upper bound of it",
    "sequences_difference_low": "the same for the difference from the reference, lower bound",
    "sequences_difference_high": "upper bound of it",
    "compute": "floating-point operations of training over those of the reference, on the runs "
    "that finished for both; empty where one was not counted",
    "compute_runs": "number of these runs",
    "finished": "number of runs (sequences times seeds) that did not diverge; `step`, `drift`, "
    "`memory_bytes` and `compute` are of these",
    "diverged_runs": "number of those that did",
    "finished_mean": "the mean without diverged runs: each sequence's over its finished ones, then "
    "over the sequences; empty where none diverged or a sequence has no finished one",
    "finished_difference": "the same of the differences from the reference, on the runs that "
    "finished for both; empty where neither diverged",
    "near_chance": "runs whose first task ended near chance: (accuracy - chance) / (1 - chance) "
    "below .1; nothing was learned that could be forgotten",
    "reliability": "of the sequence's measured distance; low below .5",
    "evidence": "`published`, `records checked`, `spot re-run` or `fully re-run`; empty where no "
    "check is known",
}
_CLAIM_MEANINGS = {
    "contrast": "what is subtracted from what, e.g. `frozen - initialized`",
    "metric": "the metric's name as in `leaderboard.csv`",
    "data": "group of sequences: `full` or `few-shot`",
    "what": "`difference`, or of the fit: `slope`, `intercept`, `at-nearest`, `spearman`, "
    "`crossover`",
    "sequence": "of a difference: the sequence",
    "other": "of a difference: the strategy that was subtracted",
    "distance": "of that sequence; empty where it has no usable one",
    "distance_low": "lower bound of the distance's 95 % interval",
    "distance_high": "upper bound of it",
    "grade": "of that sequence",
    "value": "the number, raw",
    "low": "lower bound of its 95 % interval: of a difference over seeds, of the fit over "
    "sequences",
    "high": "upper bound of it",
    "n": "number of seeds of a difference; of the fit of families, or of sequences",
    "diverged": "of a difference: seeds of which a run diverged; it counts with the accuracy of "
    "chance",
    "finished": "the difference without these seeds; empty where there are none",
    "finished_low": "lower bound of its 95 % interval",
    "finished_high": "upper bound of it",
    "reliability": "of the measured distance; low below .5",
    "seeds_low": "of the fit: lower bound of its 95 % interval over seeds",
    "seeds_high": "upper bound of it",
    "seeds": "of the fit: number of seeds",
}

_PASSED_MEANINGS = {
    "strategy": "name of the strategy",
    "data": "group of sequences: `full` or `few-shot`",
    "what": "`passed`, the part of the gradient on a sequence, or `spearman`, its rank correlation "
    "with the distance",
    "sequence": "of a part: the sequence",
    "distance": "of that sequence; empty where it has no usable one",
    "distance_low": "lower bound of the distance's 95 % interval",
    "distance_high": "upper bound of it",
    "grade": "of that sequence",
    "reliability": "of the measured distance; low below .5",
    "value": "the number, raw; 1 is a part that passes whole",
    "low": "lower bound of its 95 % interval: of a part over seeds, of the correlation over "
    "sequences",
    "high": "upper bound of it",
    "n": "number of seeds of a part; of the correlation of sequences",
    "diverged": "of a part: seeds that diverged and are left out",
    "seeds_low": "of the correlation: lower bound of its 95 % interval over seeds",
    "seeds_high": "upper bound of it",
    "seeds": "of the correlation: number of seeds",
}


# The record schema


def record_schema() -> str:
    """Return every struct of ``suite/records.py`` with its fields, as tables.

    The meaning of a field is the comment behind it, or in the docstring of its struct, or here.
    """
    from driftboard.suite import records

    source = inspect.getsource(records)
    tree, comments = ast.parse(source), comments_of(source)
    structs = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    first = ["Record", "LossRecord", "_Run"]  # then their parts
    names = first + [name for name in structs if name not in (*first, "_Strict", "_Version")]
    lines = [line for name in names for line in _struct(structs[name], comments)]
    return "\n".join([*lines, "## Types\n", *_types(tree), ""])


def _struct(node: ast.ClassDef, comments: dict[int, str]) -> list[str]:
    title = "Every record" if node.name == "_Run" else node.name
    text = inspect.cleandoc(ast.get_docstring(node) or "")
    lines = [f"## {title}\n", text, ""]
    lines += ["| field | type | meaning |", "| --- | --- | --- |"]
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            name, kind = field.target.id, ast.unparse(field.annotation)
            above = "see above" if f"``{name}[" in text else None
            meaning = comments.get(field.lineno) or above or _FIELD_MEANINGS[name]
            lines.append(f"| `{name}` | {as_code(kind)} | {in_cell(meaning)} |")
    return [*lines, ""]


_FIELD_MEANINGS = {
    "schema": "version of this schema",
    "protocol": "the protocol it was made under",
    "sequence": "the task sequence and its data",
    "strategy": "the strategy, its parameters and its source",
    "seed": "the seed of the cell",
    "split": "`test`, or `validation` of runs with `--tuning`",
    "plans": "the update plan of every task",
    "diverged_at": "the first task after which it had diverged",
    "diverged_by": "whether something was not finite, or a block before the head had blown up",
    "operations": "floating-point operations of one learner's training, per task",
    "digest": "SHA-256 of the record as one line of JSON with `null` here",
    "status": "whether the training diverged",
    "cost": "time and memory",
    "environment": "versions and device",
    "test_sizes": "number of test images of every task",
    "name": "its name",
    "version": "its version",
    "hash": "SHA-256 of all that decides its results",
    "tier": "its tier: `quick`, `linear`, `core`, `full` or `own`",
    "data_hash": "SHA-256 of the data",
    "role": "bounds are not ranked",
    "parameters": "its hyper-parameters",
    "source_hash": "SHA-256 of its code, without comments",
    "files": "what `source_hash` covers, relative to the strategy's folder",
    "share": "share of every step that each block takes",
    "restart": "whether each block began at the initialisation",
    "evaluation_seconds": "time of all tests",
    "driftboard": "version",
    "package": "SHA-256 of driftboard's code as it was installed",
    "python": "version",
    "torch": "version",
    "device": "name of the processor or GPU",
    "lane": "whether the seeds of a cohort were trained one by one or stacked",
    "draws": "number of independent draws of the seed",
}


def _types(tree: ast.Module) -> list[str]:
    """Return the table of the names that stand for restricted types."""
    rows = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            base, *limits = ast.unparse(node.value.slice).strip("()").split(", ", 1)
            if ast.unparse(node.value.value) == "Annotated" and isinstance(
                node.targets[0], ast.Name
            ):
                limit = limits[0].removeprefix("Meta(").removesuffix(")") if limits else ""
                rows.append(f"| `{node.targets[0].id}` | `{base}` | {as_code(limit)} |")
    return ["| name | type | limits |", "| --- | --- | --- |", *rows]


def comments_of(source: str) -> dict[int, str]:
    """Return the comments of a source by the number of their line.

    >>> comments_of("a = 1\\nb = 2  # two\\n")
    {2: 'two'}
    """
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = (token for token in tokens if token.type == tokenize.COMMENT)
    return {token.start[0]: token.string.lstrip("# ") for token in found}


# Markdown


def in_cell(text: str) -> str:
    """Return text for a cell of a table: on one line, without what would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def as_code(text: str) -> str:
    """Return text as code for a cell of a table; a bar cannot stand between backticks there.

    >>> as_code("int"), as_code("a | b")
    ('`int`', '<code>a &#124; b</code>')
    """
    text = " ".join(text.split())
    if "|" not in text:
        return f"`{text}`" if text else ""
    return f"<code>{re.sub(r'[^a-zA-Z0-9 ]', lambda sign: f'&#{ord(sign[0])};', text)}</code>"


# Data sets and sequences


def data_sets_table() -> str:
    """Return every data set of the catalogue with the size of its images and its counts."""
    from driftboard.suite.data.catalogue import SOURCES

    lines = ["| name | title | images | classes | training | test | from |"]
    lines += ["| --- | --- | --- | ---: | ---: | ---: | --- |"]
    for source in SOURCES.values():
        channels, *sides = source.image_shape or (3,)
        size = "x".join(map(str, sides)) or "any one size"
        lines.append(
            f"| `{source.name}` | {source.title} | {size}, "
            f"{'colour' if channels == 3 else 'grey'} | {source.classes} | "
            f"{source.train_count:,} | {source.test_count:,} | {in_cell(source.origin)} |"
        )
    return "\n".join([*lines, ""])


def sequences_tables() -> str:
    """Return every registered sequence, a table for each tier, with its measured distance.

    >>> row = next(line for line in sequences_tables().splitlines() if "digits-split" in line)
    >>> row.partition("5 epochs")[0]
    '| `digits-split` | task | 5 | `mlp-128x2` | 120, 50 | '
    """
    from itertools import groupby

    from driftboard.suite.distance.grades import grade_cells, known_grades
    from driftboard.suite.sequences.linear import LinearSetting
    from driftboard.suite.sequences.registry import registered

    grades = known_grades()
    lines: list[str] = []
    for tier, members in groupby(registered().values(), key=lambda one: one.tier):
        lines += [
            f"## Suite {tier}\n",
            "| sequence | setting | tasks | network | images of a class |",
        ]
        lines[-1] += " training | distance | reliability | grade |"
        lines += ["| --- | --- | ---: | --- | --- | --- | --- | --- | --- |"]
        for one in members:
            grade = grades.get(one.hash())
            measured = grade_cells(grade) if grade else ("", "", "not measured")
            images = ", ".join(str(n or "all") for n in (one.train_per_class, one.test_per_class))
            training = one.training_under()
            how = f"{training.epochs} epochs of {training.batch_size}"
            if isinstance(one.scenario, LinearSetting):
                images, how, measured = "drawn", "solved", ("", "", "")
            cells = (f"`{one.name}`", one.setting, one.scenario.tasks, f"`{one.network}`", images)
            lines.append(f"| {' | '.join(map(str, (*cells, how, *measured)))} |")
        lines.append("")
    return "\n".join(lines)
