"""Are the records those of this protocol, of its sequences, and of the strategy submitted?"""

from collections.abc import Iterable

from driftboard.leaderboard.verification.findings import Finding, some
from driftboard.leaderboard.verification.material import AGAIN, Material, cell_name
from driftboard.suite.errors import counted
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import AnyRecord
from driftboard.suite.sequences.registry import registered


def _cells(records: Iterable[AnyRecord]) -> str:
    return some(cell_name(record) for record in records)


def check_protocol(material: Material) -> Finding:
    """All of this protocol and of the test split."""
    ours = PROTOCOL.stamp()
    version = f"{ours.name} {ours.version} ({ours.hash[:12]})"
    if material.submission.protocol != ours:
        found = f"the submission is of another protocol than {version}"
        return Finding("FAILED", "protocol", found, "run it with this version of driftboard")
    foreign = [record for record in material.records if record.protocol != ours]
    if foreign:
        found = f"not of {version}: {_cells(foreign)}"
        return Finding("FAILED", "protocol", found, "run them with this version of driftboard")
    other = [record for record in material.records if record.split != "test"]
    if other:
        found = f"tuning runs, tested on training images: {_cells(other)}"
        return Finding("FAILED", "protocol", found, "leave them out")
    return Finding("ok", "protocol", version)


def check_sequences(material: Material) -> Finding:
    """Every sequence is one of the suite, as the registry has it, on one and the same data."""
    known = {
        name: one for name, one in registered().items() if one.tier == material.submission.tier
    }
    strange: list[str] = []
    changed: list[str] = []
    data: dict[str, set[tuple[str, str]]] = {}
    for name, records in material.by_sequence.items():
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
            data.setdefault(source, set()).update(kinds)
    mixed = [source for source, kinds in data.items() if len(kinds) > 1]
    problems = [
        f"{what}: {some(names)}"
        for what, names in (
            (f"not of the suite {material.submission.tier}", strange),
            ("not as the registry has them", changed),
            ("several versions of one data set", mixed),
        )
        if names
    ]
    if problems:
        return Finding("FAILED", "sequences", "; ".join(problems), "run them anew, or leave out")
    found = f"{counted(len(material.by_sequence), 'sequence')} of {material.submission.tier}"
    return Finding("ok", "sequences", found)


def check_strategy(material: Material) -> Finding:
    """One ranked strategy, made from the source in the folder, under a name of its own."""
    stamp = material.submission.strategy
    advice = AGAIN
    if stamp.role != "ranked":
        found, advice = f"'{stamp.name}' is a bound", "bounds belong to the benchmark itself"
    elif material.source_hash is None:
        found = f"its source {material.submission.source} is not there"
    elif material.source_hash != stamp.source_hash:
        found = f"{material.submission.source} is not the source that the submission was made from"
    elif foreign := [record for record in material.records if record.strategy != stamp]:
        found = f"of another strategy, source or setting than '{stamp.name}': {_cells(foreign)}"
    elif any(record.strategy.name == stamp.name for record in material.against):
        found = f"the results compared with have another strategy called '{stamp.name}'"
        advice = "give it a name of its own"
    else:
        return Finding("ok", "strategy", f"'{stamp.name}' from {material.submission.source}")
    return Finding("FAILED", "strategy", found, advice)


def check_seeds(material: Material) -> Finding:
    """Exactly the protocol's seeds on every sequence of the suite: none left out, none chosen."""
    tier = material.submission.tier
    seeds = set(PROTOCOL.seeds_of(tier))
    wanted = [name for name, one in registered().items() if one.tier == tier]
    there = {
        name: {record.seed for record in material.by_sequence.get(name, ())} for name in wanted
    }
    problems = [
        f"{what}: {some(cells)}"
        for what, cells in (
            ("sequences left out", [name for name in wanted if not there[name]]),
            (
                "seeds left out",
                [
                    f"{name} {sorted(seeds - found)}"
                    for name, found in there.items()
                    if found and seeds - found
                ],
            ),
            (
                "seeds that are not the protocol's",
                [
                    f"{name} {sorted(found - seeds)}"
                    for name, found in there.items()
                    if found - seeds
                ],
            ),
        )
        if cells
    ]
    if problems:
        return Finding("FAILED", "seeds", "; ".join(problems), AGAIN)
    return Finding("ok", "seeds", f"all {len(seeds)} on each of {len(wanted)} sequences")


def check_environment(material: Material) -> Finding:
    """Every record was made in a cohort that holds its seed, and in the environment named."""
    strange = [
        record
        for record in material.records
        if record.seed not in record.environment.cohort
        or not set(record.environment.cohort) <= set(PROTOCOL.seeds_of(material.submission.tier))
    ]
    if strange:
        found = f"trained together with seeds that cannot be: {_cells(strange)}"
        return Finding("FAILED", "environment", found, AGAIN)
    own = material.submission.environment
    told = (own.driftboard, own.python, own.torch, own.device)
    other = [
        record
        for record in material.records
        if (one := record.environment)
        and (one.driftboard, one.python, one.torch, one.device) != told
    ]
    if other:
        found = f"not made as the submission says ({', '.join(told)}): {_cells(other)}"
        return Finding("warning", "environment", found, "fine if they come from several machines")
    return Finding("ok", "environment", ", ".join(told))
