"""The command line: light help, output for programs, and one line for every mistake."""

import json
import os
import platform
import subprocess
import sys
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import typer
from typer.testing import CliRunner

import driftboard
from driftboard.suite.cli.main import COMMANDS, app
from driftboard.suite.errors import DriftboardError, counted, one_line
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import cell_path, write_record
from driftboard.suite.sequences.registry import registered

HEAVY = ["torch", "torchvision", "continuum", "timm", "sklearn", "scipy", "pandas", "numpy"]
HEAVY += ["matplotlib", "jinja2", "rich", "ray"]

CALL = f"""
import json, sys
from driftboard.suite.cli.main import main
codes = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["driftboard", *arguments]
    try:
        main()
        codes.append(0)
    except SystemExit as left:
        codes.append(left.code)
loaded = [name for name in {HEAVY} if name in sys.modules]
print(json.dumps([codes, loaded]), file=sys.stderr)
"""


def call_apart(*commands):
    """Run commands in a process of their own; return stdout, exit codes, heavy modules loaded."""
    done = subprocess.run(
        [sys.executable, "-c", CALL, json.dumps(commands)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, *json.loads(done.stderr.splitlines()[-1])


@pytest.fixture
def complaint(call):
    """Return a function that runs a command that must fail, and returns its one line."""

    def run(*arguments):
        code, _, errors = call(*arguments)
        assert code == 1
        assert "Traceback" not in errors
        (line,) = errors.splitlines()
        assert line.startswith("driftboard: ")
        return line.removeprefix("driftboard: ")

    return run


@pytest.fixture
def late_complaint(call, monkeypatch, tmp_path):
    """The same for mistakes that come to light when a run is planned, without its processes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    nobody = nullcontext(SimpleNamespace(description="nowhere"))
    monkeypatch.setattr("driftboard.suite.runs.local.local_executor", lambda *asked: nobody)

    def run(*arguments):
        code, _, errors = call(*arguments)
        assert code == 1
        assert "Traceback" not in errors
        (line,) = [line for line in errors.splitlines() if line.startswith("driftboard: ")]
        assert errors.rstrip().endswith(line)
        return line.removeprefix("driftboard: ")

    return run


# Help and lists.

WORDS = {
    (): ["run", "leaderboard", "sequences", "strategies", "data"],
    ("run",): ["--suite", "--sequence", "--strategy", "--seeds", "--out", "--workers"],
    ("leaderboard",): ["--out", "--reference", "--skip-broken", "--format", "--update"],
    ("new",): ["--out"],
    ("check",): ["strategy", "exit code"],
    ("reproduce",): ["--list", "--paper", "--seeds", "--out"],
    ("submit",): ["--title", "--author", "--licence", "--tuning"],
    ("verify",): ["--against", "--published", "--rerun", "--salt", "--json"],
    ("sequences",): ["--json", "--suite"],
    ("strategies",): ["--json"],
    ("data",): ["list", "fetch", "import"],
    ("data", "list"): ["--json"],
    ("data", "fetch"): ["--data"],
    ("data", "import"): ["--data"],
}


def test_help_loads_nothing_heavy():
    commands = [(*words, "--help") for words, _ in every_command()]
    _, codes, loaded = call_apart(*commands)
    assert codes == [0] * len(commands)
    assert loaded == []


def every_command():
    """Yield the words that call each command, and the command as click sees it."""

    def below(words, command):
        yield words, command
        for name, one in getattr(command, "commands", {}).items():
            yield from below((*words, name), one)

    return below((), typer.main.get_command(app))


def without_spaces(text):
    """A help text is wrapped, also at hyphens."""
    return "".join(text.split())


@pytest.mark.parametrize(
    ("words", "command"),
    [pytest.param(*one, id=" ".join(one[0]) or "driftboard") for one in every_command()],
)
def test_every_command_and_option_says_what_it_does(words, command):
    done = CliRunner().invoke(app, [*words, "--help"])
    assert (done.exit_code, done.stderr) == (0, "")
    shown = without_spaces(done.stdout)
    assert shown.startswith("Usage:")
    assert command.help.strip()
    assert without_spaces(command.help) in shown
    assert command.callback.__doc__.strip()
    for parameter in command.params:
        assert parameter.help, f"{words} {parameter.name}"
        assert without_spaces(parameter.help) in shown


def test_commands_are_in_the_order_of_the_help(call):
    _, out, _ = call("--help")
    listed = [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()]
    assert listed == [*(command.__name__ for command in COMMANDS), "data"]


@pytest.mark.parametrize(
    "program", [("-m", "driftboard"), ("-c", "from driftboard.suite.cli.main import main; main()")]
)
def test_versions_of_a_real_process(program):
    done = subprocess.run([sys.executable, *program, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"driftboard {driftboard.__version__}",
        f"Python {platform.python_version()}",
        f"torch {version('torch')}",
    ]


def test_versions_load_nothing_heavy_and_need_no_torch(call, monkeypatch):
    out, codes, loaded = call_apart(["--version"])
    assert (codes, loaded) == ([0], [])
    assert out.startswith("driftboard ")

    def absent(name):
        if name == "torch":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("driftboard.suite.cli.main.version", absent)
    code, out, errors = call("--version")
    assert (code, errors) == (0, "")
    assert out.splitlines()[-1] == "torch is not installed"


def test_a_module_runs_as_the_program(tmp_path):
    """``python -m driftboard`` ends mistakes as the program does."""
    done = subprocess.run(
        [sys.executable, "-m", "driftboard", "leaderboard", tmp_path / "absent"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("driftboard: no records in ")


@pytest.mark.parametrize(("command", "words"), WORDS.items())
def test_help_names_commands_and_options(call, command, words):
    code, out, errors = call(*command, "--help")
    assert (code, errors) == (0, "")
    assert all(word in out for word in words)


def test_sequences_as_json_are_complete_and_light():
    out, codes, loaded = call_apart(["sequences", "--json"])
    assert codes == [0]
    assert set(loaded) <= {"numpy", "scipy", "rich"}
    listed = json.loads(out)
    assert [entry["name"] for entry in listed] == list(registered())
    for entry in listed:
        sequence = registered()[entry["name"]]
        assert entry["hash"] == sequence.hash()
        assert entry["tasks"] == sequence.scenario.tasks
        assert entry["scenario"]["class"] == type(sequence.scenario).__name__
        assert entry["training"]["batch_size"] == sequence.training_under().batch_size
        assert (entry["source"], entry["network"]) == (sequence.source, sequence.network)
    split = listed[0]["grade"]
    assert split["distance_low"] < split["distance"] < split["distance_high"]
    assert (split["level"], split["seeds"]) == ("far", 5)
    assert listed[-1]["grade"] is None


def test_sequences_of_one_tier(call):
    code, out, _ = call("sequences", "--json", "--suite", "quick")
    assert code == 0
    assert len(json.loads(out)) == 6
    assert {entry["tier"] for entry in json.loads(out)} == {"quick"}


def test_unknown_tier_is_refused(call):
    code, out, errors = call("sequences", "--suite", "quik")
    assert (code, out) == (2, "")
    assert "'quik'" in errors


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("", ""),
        (
            "bad = TaskSequence('bad', 'Words.', 'digits', Corrupted(Split(2), 7), 'mlp-8x1')\n",
            "driftboard: left out: sequence 'bad' of {}: severity of Corrupted is 7; expected int "
            "of at most 5\n",
        ),
    ],
    ids=["sound", "not sound"],
)
def test_own_sequences_are_listed_but_for_those_that_are_not_sound(call, tmp_path, more, told):
    file = tmp_path / "own.py"
    file.write_text(
        "from driftboard.suite.sequences import Corrupted, Split, TaskSequence\n"
        f"mine = TaskSequence('mine', 'Words.', 'digits', Split(2), 'mlp-8x1')\n{more}"
    )
    code, out, errors = call("sequences", "--sequence-file", file, "--suite", "own", "--json")
    assert (code, errors) == (0, told.format(file))
    assert [entry["name"] for entry in json.loads(out)] == ["mine"]


def test_strategies_as_json_are_complete(call):
    from driftboard.strategies.catalogue import BUILTIN, FURTHER

    code, out, _ = call("strategies", "--json")
    assert code == 0
    listed = {entry["name"]: entry for entry in json.loads(out)}
    assert list(listed) == list(BUILTIN | FURTHER)
    for name, strategy in (BUILTIN | FURTHER).items():
        assert listed[name]["parameters"] == vars(strategy)
        assert (listed[name]["role"], listed[name]["summary"]) == (strategy.role, strategy.summary)


def test_names_choose_what_is_listed(call):
    code, out, _ = call("strategies", "ewc", "gp*")
    assert code == 0
    ewc, gpm = out.split("\n\n")
    assert ewc.splitlines()[0] == "ewc"
    assert "  parameters: strength=30.0, decay=1.0, labels=exact, separate=False\n" in ewc
    assert "  tuned: rate, strength from " in ewc
    assert "  stores: parameters\n" in ewc
    assert "  literature: Kirkpatrick et al. 2017; online form Schwarz et al. 2018\n" in ewc
    assert gpm.splitlines()[0] == "gpm"
    assert [one["name"] for one in json.loads(call("strategies", "gp*", "--json")[1])] == ["gpm"]
    only = json.loads(call("sequences", "digits-r*", "--suite", "quick", "--json")[1])
    assert [one["name"] for one in only] == [
        "digits-rotated-15",
        "digits-rotated-45",
        "digits-repeat",
    ]
    code, out, errors = call("sequences", "digits-spilt")
    assert (code, out) == (1, "")
    assert "did you mean digits-split" in errors
    code, out, errors = call("strategies", "ewk")
    assert (code, out) == (1, "")
    assert errors == "driftboard: there is no strategy 'ewk'; did you mean ewc, er?\n"


@pytest.mark.parametrize("command", ["sequences", "strategies"])
def test_tables_name_every_entry(call, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "300")
    code, out, _ = call(command)
    assert code == 0
    assert all(entry["name"] in out for entry in json.loads(call(command, "--json")[1]))


def test_leaderboard_loads_no_torch(make_record, tmp_path):
    for seed in range(5):
        write_record(tmp_path / "results", make_record(seed=seed))
    board = tmp_path / "board"
    out, codes, loaded = call_apart(["leaderboard", str(tmp_path / "results"), "--out", str(board)])
    assert codes == [0]
    assert {"torch", "torchvision", "continuum", "timm"}.isdisjoint(loaded)
    names = ("leaderboard.md", "leaderboard.csv", "leaderboard.tex", "index.html", "figures")
    assert f"wrote {', '.join(str(board / name) for name in names)}" in out
    assert "sgd" in (board / "leaderboard.md").read_text()
    assert (board / "leaderboard.csv").read_text().startswith("sequence,")


# Mistakes.


def test_exit_code_and_one_line_of_a_real_process(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from driftboard.suite.cli.main import main; main()"),
            *("leaderboard", str(tmp_path / "absent")),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("driftboard: no records in ")
    assert list(tmp_path.iterdir()) == []


def test_unknown_strategy_shows_the_nearest(complaint, tmp_path):
    line = complaint("run", "--strategy", "sdg", "--out", tmp_path / "out")
    assert line == "there is no strategy 'sdg'; did you mean sgd, slda, si?"
    assert not (tmp_path / "out").exists()


def test_unknown_sequence_shows_the_nearest(complaint, tmp_path):
    line = complaint("run", "--sequence", "digit-split", "--out", tmp_path / "out")
    assert line.startswith("there is no sequence 'digit-split'; did you mean digits-split")
    assert not (tmp_path / "out").exists()


def test_sequence_of_another_tier_is_not_run(complaint, tmp_path):
    line = complaint("run", "--suite", "quick", "--sequence", "fashion-*", "--out", tmp_path)
    assert "the suite quick has no sequence 'fashion-*', which is of core and full" in line


def test_bad_parameter(complaint, tmp_path):
    line = complaint("run", "--strategy", "ewc,strength=much", "--out", tmp_path)
    assert line == "'strength=much': expected float"


def test_strategy_named_twice(complaint, tmp_path):
    line = complaint("run", "--strategy", "sgd", "--strategy", "sgd", "--out", tmp_path)
    assert "named twice" in line


def test_absent_reference(complaint, tmp_path):
    line = complaint("run", "--strategy", "ewc", "--out", tmp_path)
    assert "the reference 'sgd' is not among the strategies; add --strategy sgd" in line
    line = complaint("run", "--strategy", "ewc", "--reference", "mine", "--out", tmp_path)
    assert "the reference 'mine'" in line


BROKEN_FILES = {
    "syntax error": ("def :", "does not import: SyntaxError"),
    "raises": ("raise OSError('first\\nsecond')", "does not import: OSError: first"),
    "leaves": ("raise SystemExit", "does not import: SystemExit"),
    "empty": ("", "defines no strategy"),
    "escape sequence": ("raise ValueError('\\x1b[2J\\u202e')", "ValueError: \\x1b[2J\\u202e"),
}


@pytest.mark.parametrize(("text", "word"), BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_broken_strategy_file(complaint, tmp_path, text, word):
    file = tmp_path / "mine.py"
    file.write_text(text)
    assert word in complaint("run", "--strategy", "sgd", "--strategy", file, "--out", tmp_path)


def test_missing_files(complaint, tmp_path):
    absent = tmp_path / "absent.py"
    assert f"no file {absent}" in complaint("run", "--strategy", absent)
    assert f"no file {absent}" in complaint("run", "--sequence-file", absent)
    assert f"no file {absent}" in complaint("sequences", "--sequence-file", absent)


def test_cuda_that_is_not_there(complaint, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    line = complaint("run", "--device", "cuda", "--out", tmp_path / "out")
    assert "use --device cpu" in line
    assert not (tmp_path / "out").exists()


def test_file_in_the_place_of_the_results(complaint, tmp_path):
    (tmp_path / "out").write_text("")
    line = complaint("run", "--out", tmp_path / "out")
    assert f"cannot write {tmp_path / 'out'}" in line


def test_results_of_another_protocol(complaint, tmp_path):
    stamp = {"name": "driftboard", "version": 99, "hash": "0" * 64}
    (tmp_path / "driftboard.json").write_bytes(msgspec.json.encode(stamp))
    line = complaint("run", "--out", tmp_path)
    assert "holds results of protocol driftboard 99" in line
    assert "choose another --out" in line


def test_missing_data_says_how_to_get_it(late_complaint, tmp_path):
    line = late_complaint(
        *("run", "--sequence", "fashion-overlap-50", "--strategy", "sgd", "--device", "cpu"),
        *("--data", tmp_path / "data", "--out", tmp_path / "out"),
    )
    assert str(tmp_path / "data") in line
    assert "driftboard data fetch fashion-mnist" in line
    assert "driftboard data import fashion-mnist" in line


def test_truncated_record_stops_a_run_before_it_trains(late_complaint, tmp_path):
    broken = cell_path(tmp_path, "digits-overlap-50", "sgd", 3)
    broken.parent.mkdir(parents=True)
    broken.write_text('{"schema": 1,')
    line = late_complaint(
        *("run", "--sequence", "digits-overlap-50", "--strategy", "sgd", "--device", "cpu"),
        *("--out", tmp_path),
    )
    assert f"holds 1 record that this version cannot read, such as {broken}" in line
    assert "add --overwrite" in line


def test_truncated_record_stops_a_board_unless_it_is_left_out(
    call, complaint, make_record, tmp_path
):
    paths = [write_record(tmp_path / "results", make_record(seed=seed)) for seed in range(3)]
    paths[1].write_bytes(paths[1].read_bytes()[:-9])
    arguments = ("leaderboard", tmp_path / "results", "--out", tmp_path / "board")
    line = complaint(*arguments)
    assert str(paths[1]) in line
    assert "--skip-broken" in line
    assert not (tmp_path / "board").exists()
    code, out, _ = call(*arguments, "--skip-broken")
    assert code == 0
    assert "1 broken record left out" in out
    assert str(paths[1]) in out


def test_board_without_the_reference(complaint, make_record, tmp_path):
    write_record(tmp_path / "results", make_record(strategy="ewc"))
    assert "sgd" in complaint("leaderboard", tmp_path / "results", "--out", tmp_path / "board")


def test_names_from_hostile_files_cannot_move_the_cursor(complaint, make_record, tmp_path):
    path = write_record(tmp_path / "results", make_record())
    path.write_text('{"measure": "accuracy", "\\u001b[2J\\u202e": 1}')
    line = complaint("leaderboard", tmp_path / "results", "--out", tmp_path / "board")
    assert "\\x1b[2J\\u202e" in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, é and 中", "plain words, é and 中"),
        ("two\nlines\r\n\tand a tab ", "two lines and a tab"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\x9b\u202e\ud800", "\\x9b\\u202e\\ud800"),
        ("", ""),
    ],
)
def test_one_line(text, shown):
    assert one_line(text) == shown


def test_no_command_shows_the_help(call):
    code, out, errors = call()
    assert code in (0, 2)
    assert "leaderboard" in out + errors


@pytest.mark.parametrize(
    ("command", "most"),
    [
        (("run", "--sequence", "digits-split", "--seeds", "6"), 5),
        (("run", "--suite", "core", "--seeds", "11"), 10),
        (("run", "--suite", "core", "--tuning", "--seeds", "6"), 5),
        (("sweep", "digits-split", "--seeds", "6"), 5),
        (("grade", "digits-split", "--seeds", "6"), 5),
        (("reproduce", "quick", "--seeds", "6"), 5),
    ],
    ids=lambda value: value if isinstance(value, int) else " ".join(value),
)
def test_more_seeds_than_the_protocol_has_are_refused(complaint, tmp_path, command, most):
    line = complaint(*command, "--out", tmp_path / "out")
    words = f"--seeds {command[-1]} is more than the {most} that the protocol has"
    assert line == f"{words} for these sequences; leave it out to take all"
    assert not (tmp_path / "out").exists()


def test_a_mixture_of_tiers_takes_the_seeds_that_each_has():
    PROTOCOL.check_seed_count(10, ["quick", "core"])
    PROTOCOL.check_seed_count(None, ["quick"])
    with pytest.raises(DriftboardError, match="more than the 10"):
        PROTOCOL.check_seed_count(11, ["quick", "core"])


def test_a_table_is_shown_also_where_its_signs_cannot_be(make_record, tmp_path):
    for seed in range(3):
        write_record(tmp_path / "results", make_record(seed=seed))
    words = ["leaderboard", tmp_path / "results", "--out", tmp_path, "--format", "csv"]
    shown = subprocess.run(
        [sys.executable, "-c", "from driftboard.suite.cli.main import main; main()", *words],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )
    assert b"Overall, 1 sequence, ? from sgd" in shown.stdout
    assert shown.stderr == b""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0, "cell"), "0 cells"),
        ((1, "cell"), "1 cell"),
        ((2, "cell"), "2 cells"),
        ((1, "strategy", "strategies"), "1 strategy"),
        ((3, "strategy", "strategies"), "3 strategies"),
    ],
)
def test_nouns_follow_their_number(words, expected):
    assert counted(*words) == expected


@pytest.mark.parametrize("arguments", [("--seeds", "0"), ("--workers", "0"), ("--suite", "own")])
def test_values_out_of_range_are_refused(call, arguments, tmp_path):
    code, _, errors = call("run", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert arguments[0] in errors
    assert not (tmp_path / "out").exists()


def test_suite_and_own_sequences_together(tmp_path):
    from driftboard.suite.loading import load_sequences
    from driftboard.suite.sequences.task_sequence import choose_sequences

    file = Path(tmp_path, "own.py")
    file.write_text(
        "from driftboard.suite.sequences.scenarios import Split\n"
        "from driftboard.suite.sequences.task_sequence import TaskSequence\n"
        "mine = TaskSequence('mine', 'Words.', 'digits', Split(2), 'mlp-8x1')\n"
    )
    known = load_sequences((file,))

    def names(*choice):
        return [sequence.name for sequence in choose_sequences(known, *choice)]

    quick = [name for name, sequence in known.items() if sequence.tier == "quick"]
    assert names(None, None, True) == ["mine"]
    assert names(None, None, False) == quick
    assert names("quick", None, True) == [*quick, "mine"]
    assert names(None, ["mine", "cub200-split"], True) == ["cub200-split", "mine"]
    assert names("quick", ["*split"], True) == ["digits-split"]
