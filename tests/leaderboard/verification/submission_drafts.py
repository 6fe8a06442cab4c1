"""Made-up submissions for the tests of verification: honest, and what a forger may change."""

import hashlib
import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec.structs import replace

from driftboard.leaderboard.verification.checks import examine_folder, halton_rates
from driftboard.suite.protocol import PROTOCOL, TUNING
from driftboard.suite.records import AnyRecord, cell_path
from driftboard.suite.sealing import sealed
from driftboard.suite.sequences.registry import registered
from driftboard.suite.tuning import Trial, TuningRecord

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "verification_false_alarms.py"


def load_benchmark():
    specification = importlib.util.spec_from_file_location("false_alarms", BENCHMARK)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


made_up = load_benchmark()

SOURCE = b"# a strategy\n"
STAMP = replace(made_up.made_up_stamp(1), source_hash=hashlib.sha256(SOURCE).hexdigest())
OTHER = made_up.made_up_stamp(2)
WORDS = {"title": "Made up", "authors": ["A. Person"], "links": ["https://example.org/paper"]}


def honest_tuning():
    rates = [None, *halton_rates()]
    trials = []
    for place, rate in enumerate(rates):
        parameters = {} if rate is None else {"rate": float(f"{rate:.3g}")}
        stamp = replace(STAMP, name=f"trial-{place}", parameters=parameters)
        trials.append(Trial(f"trial {place}", stamp, 0.9 - 0.01 * place, 0.9, 0.1, 0))
    return TuningRecord(
        schema=2,
        protocol=PROTOCOL.stamp(),
        tuning=TUNING.stamp(),
        sequences={"digits-split": registered()["digits-split"].hash()},
        seeds=PROTOCOL.tuning_seeds,
        trials=tuple(trials),
        chosen=0,
    )


@dataclass
class Draft:
    """A submission before it is written: what a forger may change."""

    records: list[AnyRecord]
    source: bytes = SOURCE
    tuning: TuningRecord | None = field(default_factory=honest_tuning)
    words: dict = field(default_factory=lambda: dict(WORDS))
    tier: str = "quick"
    stamp: object = STAMP

    def place_of(self, name="digits-rotated-15", seed=0):
        """Return the position of a cell in the list of records."""
        cells = [(record.sequence.name, record.seed) for record in self.records]
        return cells.index((name, seed))

    def change(self, name="digits-rotated-15", seed=0, **changes):
        place = self.place_of(name, seed)
        self.records[place] = replace(self.records[place], **changes)

    def change_all(self, function):
        self.records = [function(record) for record in self.records]

    def contents(self):
        """Return all files but submission.json."""
        found = {"made_up.py": self.source}
        if self.tuning is not None:
            found["tuning/made-up-1.json"] = sealed(self.tuning)
        for record in self.records:
            name, strategy, seed = record.sequence.name, record.strategy.name, record.seed
            place = cell_path(Path(), name, strategy, seed).as_posix()
            found[place] = sealed(record)
        return found

    def submission(self, found):
        return {
            **self.words,
            "licence": "Apache-2.0",
            "schema": 2,
            "tier": self.tier,
            "strategy": msgspec.to_builtins(self.stamp),
            "source": "made_up.py",
            "specification": "made_up.py",
            "protocol": msgspec.to_builtins(PROTOCOL.stamp()),
            "environment": msgspec.to_builtins(made_up.VERSIONS),
            "files": {place: hashlib.sha256(data).hexdigest() for place, data in found.items()},
        }

    def write(self, folder):
        found = self.contents()
        write_files(folder, found)
        (folder / "submission.json").write_text(json.dumps(self.submission(found)))
        return folder


def write_files(folder, contents):
    for place, data in contents.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def rewrite(folder, change):
    """Change submission.json as a value."""
    path = folder / "submission.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def relist(folder):
    """List all files with the digests that they have now."""
    digests = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "submission.json"
    }
    rewrite(folder, lambda value: value.update(files=digests))


def failures(findings):
    return {finding.check for finding in findings if finding.level == "FAILED"}


def check(folder, *against):
    """Return all findings, of which each must be one printable line."""
    _, findings = examine_folder(folder, against)
    for finding in findings:
        line = finding.line()
        assert line.isprintable()
        assert len(line) < 1400
        assert finding.level == "ok" or finding.advice
    return findings
