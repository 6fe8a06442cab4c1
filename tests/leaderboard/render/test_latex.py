"""The LaTeX tables: every number is the board's, and nothing in them can be a command."""

import re
import shutil
import subprocess

import pytest
from msgspec.structs import replace

from driftboard.leaderboard.analysis.board import build_board
from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.analysis.join import Source
from driftboard.leaderboard.render.latex import WIDTHS, latex, points_of
from driftboard.leaderboard.table import overall_table
from driftboard.suite.errors import DriftboardError
from driftboard.suite.records import write_record

DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage[margin=0.75in]{geometry}
\usepackage{booktabs,amssymb}
\begin{document}
\input{leaderboard.tex}
\end{document}
"""


@pytest.fixture
def board(make_record, tmp_path):
    """A board of three ranked strategies, one bound and one incomplete strategy."""
    counts = {"sgd": (40, 42, 41), "ewc_2": (60, 61, 63), "hybrid": (60, 62, 62)}
    counts |= {"noop": (10, 11, 10), "late": (70, 71)}
    for name, of in counts.items():
        for seed, count in enumerate(of):
            record = make_record("alpha", name, seed, ((80, 0), (count, 50)))
            if name == "noop":
                record = replace(record, strategy=replace(record.strategy, role="bound"))
            if (name, seed) == ("sgd", 1):
                record = replace(record, status="diverged", diverged_at=1, diverged_by="not finite")
            write_record(tmp_path / "results", record)
    return build_board(collect([tmp_path / "results"]))


def plain(cell):
    """Return a cell of a LaTeX table in the words of the other formats."""
    text = re.sub(r"\$\^\{[^$]*\}\$", "", cell.strip()).replace(r"$\bigstar$", "★")
    text = text.removeprefix("$").removesuffix("$").replace("~[", " [").replace("^{*}", " *")
    text = re.sub(r"\\texttt\{(.*)\}", r"\1", text.replace(r"\_", "_"))
    return "-" if text == "--" else text.replace("--", "-")


def test_every_number_is_the_boards(board):
    text = latex(board, "")
    (heading,) = re.findall(r"\\toprule\n(.*) \\\\", text)
    names = [name.replace(r"$\Delta$", "Δ").replace("$p$", "p") for name in heading.split(" & ")]
    found = [
        dict(zip(names, map(plain, line.removesuffix(r" \\").split(" & ")), strict=True))
        for line in text.splitlines()
        if r"\texttt" in line and " & " in line
    ]
    assert [row["Strategy"] for row in found] == [row.strategy for row in board.overall.rows]
    rows = [row for rows in overall_table(board).groups.values() for row in rows]
    for cells, row in zip(found, rows, strict=True):
        assert cells == {name: row[name].text for name in names}


def test_a_table_for_each_average(board):
    text = latex(board, "")
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels == ["tab:driftboard-overall"]
    for group in ("Ranked", "Bounds", "Incomplete"):
        assert rf"{{\itshape {group}" in text
    assert r"3$^{1\dagger}$" in text
    assert "seeds diverged" in text


def test_strategies_that_do_not_differ_share_a_letter(board):
    marks = dict(re.findall(r"\\texttt\{([a-z\\_0-9]+)\}\$\^\{(\w+)\}\$", latex(board, "")))
    assert marks == {"sgd": "b", r"ewc\_2": "a", "hybrid": "a"}


def test_hostile_text_is_no_command(make_record, tmp_path):
    record = make_record()
    environment = replace(record.environment, device="x \\input{y} \\end{document}")
    write_record(tmp_path, replace(record, environment=environment))
    text = latex(build_board(collect([tmp_path])), "a\n\\input{b}\r\\c\u2028\\d\x0c\\e")
    commands = [line for line in text.splitlines() if r"\input" in line]
    assert all(line.startswith("%") for line in commands)
    head, _, _ = text.partition(r"\begin{table*}")
    assert all(line.startswith("%") for line in head.splitlines() if line)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_it_compiles(board, tmp_path):
    (tmp_path / "leaderboard.tex").write_text(latex(board, "driftboard leaderboard x"))
    (tmp_path / "main.tex").write_text(DOCUMENT)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout[-2000:]
    assert "Overfull" not in answer.stdout


@pytest.fixture(scope="module")
def published():
    """The widest board there is: long names, many columns, letters without end."""
    from driftboard.baselines.published import published_records

    known = {Source("published quick", True): published_records("quick")}
    return build_board(collect([], False, known))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("width", [*WIDTHS, "100pt"])
def test_tables_fit_the_width_that_is_told(published, tmp_path, width):
    points = points_of(width)
    (tmp_path / "leaderboard.tex").write_text(latex(published, "x", points))
    size = f"textwidth={points}pt,textheight=60in,paperheight=70in"
    page = DOCUMENT.replace("margin=0.75in", size).replace("[twocolumn]", "")
    (tmp_path / "main.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout[-2000:]
    overfull = re.findall(r"Overfull \\hbox \((\S+)pt too wide\)", answer.stdout)
    assert bool(overfull) == (width == "100pt")  # so the test can tell


def columns_at(board, width):
    heading = re.findall(r"\\toprule\n(.*) \\\\", latex(board, "", width))[0]
    return [name.replace(r"$\Delta$", "Δ").replace("$p$", "p") for name in heading.split(" & ")]


def test_the_least_needed_columns_go_first(board):
    metrics = ["Avg.Acc", "Δ Avg.Acc", "Forgetting", "Task.Acc"]
    every = ["Ranks", "Strategy", *metrics[:2], "p", *metrics[2:], "Drift", "Seeds"]
    assert columns_at(board, None) == columns_at(board, 1000.0) == every
    assert columns_at(board, 397.0) == ["Strategy", *metrics]
    assert columns_at(board, 150.0) == ["Strategy", "Avg.Acc"]
    text = latex(board, "", 150.0)
    assert r"\begin{table}" in text
    assert "paired difference" not in text.partition(r"\begin{table}")[2]


def test_letters_without_end_are_left_out(published, board):
    assert "share a letter" not in latex(published, "")
    assert not re.search(r"\$\^\{a1b1", latex(published, ""))
    assert "share a letter" in latex(board, "")


@pytest.mark.parametrize(
    ("width", "points"), [("397pt", 397.0), ("5.5in", 397.485), ("14cm", 398.3392), ("ieee", 516.0)]
)
def test_widths_are_told_in_units_or_by_venue(width, points):
    assert points_of(width) == pytest.approx(points)


@pytest.mark.parametrize("width", ["397", "wide", "50pt", "9999pt", "-5in", "1e3pt", "5.5 in"])
def test_other_widths_are_refused(width):
    with pytest.raises(DriftboardError, match=re.escape(f"'{width}' is no width of a text; use")):
        points_of(width)
