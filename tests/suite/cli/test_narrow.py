"""Narrow terminals: columns are left out before a digit, an interval or a command is broken."""

import re

import pytest

from driftboard.suite.records import write_record

WIDTHS = [40, 60, 80, 200]
INTERVAL = re.compile(r"\[[^\[\]]*,[^\[\]]*\]")
PLAIN = ["sequences", "strategies", "data list", "linear --draws 2 --seeds 2"]


@pytest.fixture
def shown(call, monkeypatch):
    """Return a function that runs a command and returns its lines in a terminal so wide."""

    def run(command, width):
        monkeypatch.setenv("COLUMNS", str(width))
        code, out, _ = call(*command.split())
        assert code == 0
        return out.splitlines()

    return run


def of_table(lines):
    """Return the lines of the table: those to the first one after it that does not begin so."""
    rule = next(place for place, line in enumerate(lines) if line.strip("─ ") == "" and "─" in line)
    rows = lines[rule + 1 :]
    end = next((n for n, line in enumerate(rows) if line and not line.startswith(" ")), len(rows))
    return lines[rule - 1 : rule], rows[:end]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", PLAIN)
def test_tables_of_lists_fit_and_are_whole(shown, tmp_path, monkeypatch, command, width):
    monkeypatch.setenv("DRIFTBOARD_DATA", str(tmp_path / "empty"))
    head, rows = of_table(shown(command, width))
    assert max(map(len, [*head, *rows])) <= width
    assert not any("…" in line for line in [*head, *rows])
    names = {line.split()[0] for line in rows if re.match(r" \S", line)}
    _, wide = of_table(shown(command, 400))
    assert names == {line.split()[0] for line in wide if re.match(r" \S", line)}


@pytest.mark.parametrize("width", WIDTHS)
def test_a_board_loses_columns_and_no_digit(shown, make_record, tmp_path, monkeypatch, width):
    monkeypatch.chdir(tmp_path)
    names = ("sgd", "ewc", "a-strategy-of-a-long-name-that-says-all-of-its-settings-0.153")
    for strategy in names:
        for seed in range(5):
            counts = ((90, 10), (60 + seed, 80 - seed * len(strategy) % 7))
            write_record(tmp_path / "r", make_record(strategy=strategy, seed=seed, correct=counts))
    lines = shown("leaderboard r --format csv", width)
    head, rows = of_table(lines)
    assert max(map(len, [*head, *rows])) <= width
    whole = [cell for line in of_table(shown("leaderboard r --format csv", 400))[1] for cell in
             INTERVAL.findall(line)]  # fmt: skip
    found = [cell for line in rows for cell in INTERVAL.findall(line)]
    assert len(found) >= len(names)
    assert all(cell in whole for cell in found)
    for line in rows:
        assert line.count("[") == line.count("]") == len(INTERVAL.findall(line))
    _, _, gone = "\n".join(lines[:-1]).partition("no room for ")
    assert gone.split() == {
        40: ["Δ", "Avg.Acc,", "Forgetting,", "Task.Acc,", "Memory,", "Compute"],
        60: ["Task.Acc,", "Memory,", "Compute"],
    }.get(width, [])


def test_what_training_costs_stands_below_the_memory(shown, make_record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(5):
        write_record(tmp_path / "r", make_record(seed=seed))
        costly = make_record(
            strategy="ewc", seed=seed, memory_bytes=(0, 107_500), operations=(1500, 2000)
        )
        write_record(tmp_path / "r", costly)
    shown_lines = shown("leaderboard r --format csv", 80)
    (rule,) = [place for place, line in enumerate(shown_lines) if "─" in line]
    last = [line.split()[-1] for line in shown_lines[rule - 2 : rule]]
    assert last == ["Memory", "Compute"]
    _, rows = of_table(shown_lines)
    lines = [line.split() for line in rows if line.strip()]
    cells = {one[0]: (one[-2:], two[-1]) for one, two in zip(lines[::2], lines[1::2], strict=True)}
    assert cells == {"ewc": (["108", "kB"], "1.75x"), "sgd": (["0", "B"], "1.00x")}


def test_commands_of_data_sets_are_never_broken(call, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    folder = tmp_path / "my [data] sets"
    folder.mkdir()
    _, out, _ = call("data", "list", "--data", folder)
    assert f"  driftboard data fetch fashion-mnist --data '{folder}'" in out.splitlines()
    monkeypatch.setenv("DRIFTBOARD_DATA", str(folder))
    _, out, _ = call("data", "list")
    assert "  driftboard data fetch fashion-mnist" in out.splitlines()
