"""The published records of the baselines, which come with the package."""

import hashlib
from collections.abc import Iterator
from importlib.resources import as_file, files

import msgspec
from msgspec import Struct

from driftboard.suite.errors import DriftboardError, RecordError
from driftboard.suite.records import AnyRecord, Digest, Name, Positive, Text, read_archive


class PublishedSet(Struct, frozen=True, forbid_unknown_fields=True):
    """One set of published records: where they lie, what they are, and how they came about.

    ``specifications`` gives by strategy the text that ``driftboard run --strategy`` takes.
    """

    name: Name
    file: Text
    sha256: Digest
    records: Positive
    command: str
    hardware: Text
    specifications: dict[Name, Text]


def published_sets() -> dict[str, PublishedSet]:
    """Return what is published, by name."""
    content = files("driftboard.baselines").joinpath("published.json").read_bytes()
    found = msgspec.json.decode(content, type=list[PublishedSet])
    return {one.name: one for one in found}


def published_set(name: str) -> PublishedSet:
    """Return one set.

    Raises:
        DriftboardError: there is none of that name.
    """
    known = published_sets()
    if name not in known:
        raise DriftboardError(f"there are no published records '{name}'; known: {', '.join(known)}")
    return known[name]


def published_records(name: str) -> Iterator[AnyRecord]:
    """Yield the records of one set.

    Raises:
        DriftboardError: there is no set of that name.
        RecordError: the file is not the one that was published.
    """
    chosen = published_set(name)
    with as_file(files("driftboard.baselines").joinpath(chosen.file)) as path:
        if hashlib.sha256(path.read_bytes()).hexdigest() != chosen.sha256:
            raise RecordError(
                f"{path} is not what was published as '{name}'; install driftboard again"
            )
        yield from read_archive(path)
