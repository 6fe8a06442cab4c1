"""All checks of records, in the order of a report; those of identity are defined here.

Are the records those of this protocol, of its sequences, and of the strategy submitted? And was
the strategy's setting chosen as all others are: in as many trials, and never on what is reported?
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from driftboard.leaderboard.verification import comparison, contents
from driftboard.leaderboard.verification.report import AGAIN, Finding, describe, shorten
from driftboard.leaderboard.verification.submission import (
    SubmissionData,
    cell_name,
    load_submission,
)
from driftboard.suite.errors import counted
from driftboard.suite.protocol import PROTOCOL, TUNING
from driftboard.suite.records import AnyRecord, StrategyStamp
from driftboard.suite.sequences.registry import registered
from driftboard.suite.tuning import TuningRecord

RATE = "rate"
RATE_PRECISION = 0.01  # a rate is written with three digits
SCORE_PRECISION = 1e-9


def _cells(records: Iterable[AnyRecord]) -> str:
    return shorten(cell_name(record) for record in records)


def check_protocol(data: SubmissionData) -> Finding:
    """All records are of this protocol and of the test split."""
    ours = PROTOCOL.stamp()
    version = f"{ours.name} {ours.version} ({ours.hash[:12]})"
    if data.submission.protocol != ours:
        found = f"the submission is of another protocol than {version}"
        return Finding("FAILED", "protocol", found, "run it with this version of driftboard")
    foreign = [record for record in data.records if record.protocol != ours]
    if foreign:
        found = f"not of {version}: {_cells(foreign)}"
        return Finding("FAILED", "protocol", found, "run them with this version of driftboard")
    other = [record for record in data.records if record.split != "test"]
    if other:
        found = f"tuning runs, tested on training images: {_cells(other)}"
        return Finding("FAILED", "protocol", found, "leave them out")
    return Finding("ok", "protocol", version)


def check_sequences(data: SubmissionData) -> Finding:
    """Every sequence is one of the suite, as the registry has it, on one version of its data."""
    known = {name: one for name, one in registered().items() if one.tier == data.submission.tier}
    strange: list[str] = []
    changed: list[str] = []
    versions: dict[str, set[tuple[str, str]]] = {}
    for name, records in data.by_sequence.items():
        if name not in known:
            strange.append(name)
        elif any(
            (record.sequence.hash, record.sequence.tier, record.tasks)
            != (known[name].hash(), known[name].tier, known[name].scenario.tasks)
            for record in records
        ):
            changed.append(name)
        elif len({record.sequence.blocks for record in records}) > 1:
            changed.append(f"{name} (several networks)")
        else:
            source = name if known[name].tier == "linear" else known[name].source
            kinds = {(record.sequence.data, record.sequence.data_hash) for record in records}
            versions.setdefault(source, set()).update(kinds)
    mixed = [source for source, kinds in versions.items() if len(kinds) > 1]
    problems = describe(
        {
            f"not of the suite {data.submission.tier}": strange,
            "not as the registry has them": changed,
            "several versions of one data set": mixed,
        }
    )
    if problems:
        return Finding("FAILED", "sequences", problems, "run them anew, or leave out")
    found = f"{counted(len(data.by_sequence), 'sequence')} of {data.submission.tier}"
    return Finding("ok", "sequences", found)


def check_strategy(data: SubmissionData) -> Finding:
    """There is one ranked strategy, made from the source in the folder, with a name of its own."""
    stamp = data.submission.strategy
    advice = AGAIN
    if stamp.role != "ranked":
        found, advice = f"'{stamp.name}' is a bound", "bounds belong to the benchmark itself"
    elif data.source_hash is None:
        found = f"its source {data.submission.source} is not there"
    elif data.source_hash != stamp.source_hash:
        found = f"{data.submission.source} is not the source that the submission was made from"
    elif foreign := [record for record in data.records if record.strategy != stamp]:
        found = f"of another strategy, source or setting than '{stamp.name}': {_cells(foreign)}"
    elif any(record.strategy.name == stamp.name for record in data.against):
        found = f"the results compared with have another strategy called '{stamp.name}'"
        advice = "give it a name of its own"
    else:
        return Finding("ok", "strategy", f"'{stamp.name}' from {data.submission.source}")
    return Finding("FAILED", "strategy", found, advice)


def check_seeds(data: SubmissionData) -> Finding:
    """Exactly the protocol's seeds on every sequence of the suite: none left out, none chosen."""
    tier = data.submission.tier
    seeds = set(PROTOCOL.seeds_of(tier))
    wanted = [name for name, one in registered().items() if one.tier == tier]
    there = {name: {record.seed for record in data.by_sequence.get(name, ())} for name in wanted}
    partly = {name: found for name, found in there.items() if found}
    problems = describe(
        {
            "sequences left out": [name for name in wanted if not there[name]],
            "seeds left out": [
                f"{name} {sorted(seeds - found)}" for name, found in partly.items() if seeds - found
            ],
            "seeds that are not the protocol's": [
                f"{name} {sorted(found - seeds)}" for name, found in partly.items() if found - seeds
            ],
        }
    )
    if problems:
        return Finding("FAILED", "seeds", problems, AGAIN)
    return Finding("ok", "seeds", f"all {len(seeds)} on each of {len(wanted)} sequences")


def check_environment(data: SubmissionData) -> Finding:
    """Every record was made in a cohort that holds its seed, and in the environment named."""
    strange = [
        record
        for record in data.records
        if record.seed not in record.environment.cohort
        or not set(record.environment.cohort) <= set(PROTOCOL.seeds_of(data.submission.tier))
    ]
    if strange:
        found = f"trained together with seeds that cannot be: {_cells(strange)}"
        return Finding("FAILED", "environment", found, AGAIN)
    own = data.submission.environment
    named = (own.driftboard, own.python, own.torch, own.device)
    other = [
        record
        for record in data.records
        if (one := record.environment)
        and (one.driftboard, one.python, one.torch, one.device) != named
    ]
    if other:
        found = f"not made as the submission says ({', '.join(named)}): {_cells(other)}"
        return Finding("warning", "environment", found, "fine if they come from several machines")
    return Finding("ok", "environment", ", ".join(named))


def check_tuning(data: SubmissionData) -> Finding:
    """The tuning record is one of this protocol, and its best trial is what was submitted."""
    if not data.tuning:
        found = "no tuning record: the setting was not chosen by trials that all get alike"
        return Finding("warning", "tuning", found, "add one with `driftboard tune` and --tuning")
    if len(data.tuning) > 1:
        found = f"{len(data.tuning)} tuning records"
        return Finding("FAILED", "tuning", found, "leave only that of the strategy")
    record = data.tuning[0]
    problem = next(_problems(record, data.submission.strategy), None)
    if problem:
        return Finding("FAILED", "tuning", problem, "tune again with `driftboard tune`")
    own = data.submission.strategy
    if record.trials[record.chosen].strategy.source_hash != own.source_hash:
        found = "tuned with another version of the source"
        return Finding("warning", "tuning", found, "tune again if more than comments changed")
    found = f"the best of {len(record.trials)} trials on {len(record.sequences)} sequences"
    return Finding("ok", "tuning", found)


def _problems(record: TuningRecord, strategy: StrategyStamp) -> Iterator[str]:
    """Yield what is wrong with a tuning record, the most serious first."""
    if record.protocol != PROTOCOL.stamp() or record.tuning != TUNING.stamp():
        yield "it is of another protocol"
    if record.seeds != PROTOCOL.tuning_seeds:
        yield f"it used the seeds {list(record.seeds)[:10]}, not the tuning seeds"
    known = {name: sequence.hash() for name, sequence in registered().items()}
    changed = [name for name, digest in record.sequences.items() if known.get(name) != digest]
    if changed or not record.sequences:
        yield f"its sequences are not the registry's: {', '.join(sorted(changed)[:4]) or 'none'}"
    if len(record.trials) != TUNING.trials:
        yield f"it has {len(record.trials)} trials, not {TUNING.trials}"
        return
    if len({trial.strategy.source_hash for trial in record.trials}) > 1:
        yield "its trials are of several sources"
    if not _rates_are_haltons(record):
        yield "its learning rates are not those of the trials that every strategy gets"
    scores = [trial.avg_acc for trial in record.trials]
    if not all(0.0 <= score <= 1.0 for score in scores):
        yield "a trial's Avg.Acc is not between 0 and 1"
    if record.chosen >= len(scores) or scores[record.chosen] < max(scores) - SCORE_PRECISION:
        yield "the chosen trial is not the best"
        return
    chosen = record.trials[record.chosen].strategy.parameters
    if {RATE: 1.0, **chosen} != {RATE: 1.0, **strategy.parameters}:
        yield f"its best trial has {chosen}, the submission {strategy.parameters}"


def halton_rates() -> list[float]:
    """Return the learning rates of all trials but the first: a Halton sequence in base 2.

    Its points are the binary digits of 1, 2, 3, ... mirrored at the point, in (0, 1).
    """
    # scipy.stats, which has Halton sequences too, takes seconds to import.
    low, high = TUNING.lowest_rate, TUNING.highest_rate
    digits = [f"{number:b}" for number in range(1, TUNING.trials)]
    places = [math.ldexp(int(each[::-1], 2), -len(each)) for each in digits]
    return [low * math.pow(high / low, place) for place in places]


def _rates_are_haltons(record: TuningRecord) -> bool:
    first, *others = [trial.strategy.parameters.get(RATE) for trial in record.trials]
    return first is None and all(
        isinstance(rate, float) and abs(rate - wanted) <= RATE_PRECISION * wanted
        for rate, wanted in zip(others, halton_rates(), strict=True)
    )


Check = Callable[[SubmissionData], Finding | list[Finding]]

IDENTITY: tuple[Check, ...] = (
    check_protocol,
    check_sequences,
    check_strategy,
    check_seeds,
    check_environment,
)
FORENSIC: tuple[Check, ...] = (
    contents.check_divergence,
    contents.check_test_sets,
    contents.check_norms,
    contents.check_passed,
    contents.check_cost,
    comparison.check_copies,
    comparison.check_copies_of_others,
    contents.check_variance,
    comparison.check_untrained,
    comparison.check_learning,
    comparison.check_above_joint,
)
ALL: tuple[Check, ...] = (*IDENTITY, *FORENSIC, check_tuning)


def examine(data: SubmissionData, checks: Sequence[Check] = ALL) -> list[Finding]:
    """Return the findings of the checks, in their order."""
    findings: list[Finding] = []
    for check in checks:
        found = check(data)
        findings += found if isinstance(found, list) else [found]
    return findings


def examine_folder(
    folder: Path, against: Sequence[Path] = (), published: Iterable[AnyRecord] = ()
) -> tuple[SubmissionData | None, list[Finding]]:
    """Return what a submission's folder holds and what all checks find.

    The data are None without a valid ``submission.json``. They are compared with the results
    folders ``against`` and with ``published`` records.

    Raises:
        RecordError: a folder of ``against`` has no records, or a broken one.
    """
    data, findings = load_submission(folder, against, published)
    if data is not None and data.records:
        findings += examine(data)
    return data, findings
