"""Submissions: a results folder of one strategy with its source and its authors.

``submission.json`` lies beside ``records/`` and lists every other file of the folder with its
digest, so that exactly what was checked is published. Reading one imports no torch.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from driftboard.suite.errors import DriftboardError, StrategyError
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import (
    MARKER,
    NAME,
    Digest,
    ProtocolStamp,
    StrategyStamp,
    Text,
    read_record,
    record_paths,
    write_atomically,
    write_json,
)
from driftboard.suite.source import SUFFIX

if TYPE_CHECKING:
    from driftboard.suite.loading import LoadedStrategy

SUBMISSION = "submission.json"
MOST_FILES = 5_000  # many times what the largest suite has
MOST_LINKS = 10
MOST_AUTHORS = 50
MOST_REMARKS = 20

Kind = Literal["submission", "marker", "source", "tuning", "record"]
Tier = Literal["quick", "linear", "core", "full"]

_NAME = NAME.pattern
_STEM = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
_SOURCE = rf"({_STEM}/){{0,8}}{_STEM}\.py"
_PLACES: dict[Kind, str] = {
    "submission": re.escape(SUBMISSION),
    "marker": re.escape(MARKER),
    "source": _SOURCE,
    "tuning": rf"tuning/{_NAME}\.json",
    "record": rf"records/{_NAME}/{_NAME}/seed-[0-9]{{4,16}}\.json",
}
FOLDERS = re.compile(rf"records/{_NAME}|records/{_NAME}/{_NAME}|{_STEM}(/{_STEM}){{0,7}}")

_SPECIFICATION = r"(:[A-Za-z_][A-Za-z0-9_]*)?(,[A-Za-z_][A-Za-z0-9_]*=[A-Za-z0-9._+-]+)*"

Line = Annotated[Text, Meta(min_length=1)]
Link = Annotated[
    str,
    Meta(
        max_length=300,
        pattern=r"^https://[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+(:[0-9]{1,5})?"
        r"""(/[^\x00-\x20\x7f-\U0010ffff"'<>\\^`{|}]*)?\Z""",
    ),
]
Licence = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+() -]{0,99}\Z")]
SourceName = Annotated[str, Meta(pattern=rf"^{_STEM}(\.py)?\Z")]
Place = Annotated[str, Meta(pattern=rf"^({'|'.join(_PLACES.values())})\Z")]

_RULES = {
    "title": "one line of 1 to 200 visible characters",
    "authors": f"1 to {MOST_AUTHORS} names, each one line of 1 to 200 visible characters",
    "links": f"at most {MOST_LINKS} addresses that begin with https:// and a host name, "
    "each of at most 300 ASCII characters",
    "licence": "an SPDX expression such as Apache-2.0 or 'MIT OR GPL-3.0-only'",
    "description": "one line of at most 200 visible characters",
    "remarks": f"at most {MOST_REMARKS} lines of 1 to 200 visible characters",
}


class Credits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the authors of a submission wrote, for others to read."""

    title: Line
    authors: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=MOST_AUTHORS)]
    links: Annotated[tuple[Link, ...], Meta(max_length=MOST_LINKS)] = ()
    licence: Licence
    description: Text = ""
    remarks: Annotated[tuple[Line, ...], Meta(max_length=MOST_REMARKS)] = ()
    """What a reader of the checks should know, such as why it is better than joint training."""

    def __post_init__(self) -> None:
        """Reject invisible characters and surrounding space with ValueError."""
        for name, texts in (
            ("title", (self.title,)),
            ("authors", self.authors),
            ("description", (self.description,)),
            ("remarks", self.remarks),
        ):
            if any(not text.isprintable() or text != text.strip() for text in texts):
                raise ValueError(f"{name}: {_RULES[name]}, without space around it")


class Versions(Struct, frozen=True, forbid_unknown_fields=True):
    """Versions and device that the records report."""

    driftboard: Text
    python: Text
    torch: Text
    device: Text


class Submission(Credits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``submission.json`` holds.

    ``source`` is the name of the strategy's file or folder and ``specification`` that name as it
    was run, with a class and settings if there were any; ``files`` holds the SHA-256 of every file
    of the submission but ``submission.json`` itself, by its path with ``/``.
    """

    schema: Literal[2]
    tier: Tier
    strategy: StrategyStamp
    source: SourceName
    specification: Line
    protocol: ProtocolStamp
    environment: Versions
    files: Annotated[dict[Place, Digest], Meta(max_length=MOST_FILES)]

    def __post_init__(self) -> None:
        """Reject a specification of another file with ValueError."""
        super().__post_init__()
        if not re.fullmatch(_SPECIFICATION, self.specification.removeprefix(self.source)):
            raise ValueError(f"specification: {self.source}, perhaps with :CLASS and ,name=value")


def kind_of(place: str) -> Kind | None:
    """Return what lies at a path below a submission's folder; None if nothing may be there.

    >>> kind_of("records/digits-split/mine/seed-0001.json"), kind_of("../notes.txt")
    ('record', None)
    """
    for kind, pattern in _PLACES.items():
        if re.fullmatch(pattern, place):
            return kind
    return None


def make_credits(
    title: str,
    authors: Iterable[str],
    links: Iterable[str],
    licence: str,
    description: str,
    remarks: Iterable[str],
) -> Credits:
    """Return the texts of a submission after checking them.

    Raises:
        DriftboardError: names the first text that breaks a rule, and the rule.

    >>> make_credits("Mine", ["Ada"], [], "MIT", "", []).authors
    ('Ada',)
    """
    words: Mapping[str, Any] = {
        "title": title,
        "authors": tuple(authors),
        "links": tuple(links),
        "licence": licence,
        "description": description,
        "remarks": tuple(remarks),
    }
    try:
        return msgspec.convert(words, Credits)
    except msgspec.ValidationError as error:
        raise DriftboardError(explained(error)) from error


def explained(error: Exception) -> str:
    """Return the message of a schema error; for texts that people write, the rule instead."""
    text = str(error)
    field = re.search(r"at `\$\.([a-z]+)", text)
    if field is not None and field[1] in _RULES:
        return f"{field[1]}: {_RULES[field[1]]}"
    if "matching regex" in text:
        return re.sub(r"Expected `\w+` matching regex .* - at", "a text not as it must be at", text)
    return text


def source_places(source: str, files: Iterable[str]) -> dict[str, str]:
    """Return where the files of a source lie in a submission, each with its name in the source.

    Those of a folder lie in a folder, those of a file beside it.

    >>> source_places("mine", ["__init__.py"]), source_places("mine.py", ["lib/a.py", "mine.py"])
    ({'mine/__init__.py': '__init__.py'}, {'lib/a.py': 'lib/a.py', 'mine.py': 'mine.py'})
    """
    above = "" if source.endswith(SUFFIX) else f"{source}/"
    return {f"{above}{name}": name for name in files}


def file_digests(folder: Path, sources: Iterable[str]) -> dict[str, str]:
    """Return path -> SHA-256 of all files of a submission except ``submission.json``.

    Args:
        folder: the submission's.
        sources: the places of the strategy's files.
    """
    places = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    listed = {place: kind for place in places if (kind := kind_of(place)) != "submission"}
    return {
        place: hashlib.sha256(places[place].read_bytes()).hexdigest()
        for place, kind in listed.items()
        if kind is not None and (kind != "source" or place in sources)
    }


def source_name(loaded: "LoadedStrategy") -> str:
    """Return what a submission calls the file or folder of a strategy.

    Raises:
        StrategyError: it has none, or one that a submission cannot hold.
    """
    source = loaded.source
    if source is None or not source.main.endswith(SUFFIX):
        raise StrategyError(
            f"'{loaded.specification}' is none of yours; name the Python file or folder of your "
            "strategy"
        )
    path = Path(source.path)
    name = path.parent.name if path.name == f"__init__{SUFFIX}" else path.name
    for place in source_places(name, source.names):
        if not place.endswith(SUFFIX):
            raise StrategyError(
                f"{place} is compiled, so nobody can read what it does; submit a strategy that "
                "imports the Python it was made from"
            )
        if kind_of(place) != "source":
            raise StrategyError(
                f"rename {place}: up to 64 letters, digits, hyphens and underscores before .py, "
                "a letter or underscore first"
            )
    return name


def check_specification(specification: str) -> None:
    """Check that a submission can hold class and settings of what is run, before it is run.

    Raises:
        StrategyError: it cannot.

    >>> check_specification("mine.py:Mine,strength=0.5,alphaT=1e-3")
    """
    from driftboard.suite.loading import split_specification

    given = "".join(split_specification(specification)[1:])
    if not re.fullmatch(_SPECIFICATION, given):
        raise StrategyError(
            f"a submission cannot hold '{given}'; call class and fields by ASCII letters, digits "
            "and underscores, with values of letters, digits and . _ + -"
        )


def assemble(
    folder: Path, loaded: "LoadedStrategy", tuned: Path | None, words: Credits, tier: Tier
) -> None:
    """Write source and tuning record beside the records, and ``submission.json``.

    The source is what was read when the strategy was loaded, and so what the records are of.

    Args:
        folder: the submission's folder, which holds the records.
        loaded: the strategy.
        tuned: its tuning record, if there is one.
        words: what people say about it.
        tier: the tier of sequences that it was run on.

    Raises:
        StrategyError: a submission cannot hold its source.
    """
    from driftboard.suite.loading import split_specification

    name, source = source_name(loaded), loaded.source
    assert source is not None
    places = source_places(name, source.names)
    for place, file in zip(places, source.files, strict=True):
        write_atomically(folder / place, file.content)
    if tuned is not None:
        write_atomically(folder / "tuning" / tuned.name, tuned.read_bytes())
    made = read_record(next(record_paths(folder))).environment
    _, class_name, settings = split_specification(loaded.specification)
    submission = Submission(
        **msgspec.structs.asdict(words),
        schema=2,
        tier=tier,
        strategy=loaded.stamp,
        source=name,
        specification=f"{name}{class_name}{settings}",
        protocol=PROTOCOL.stamp(),
        environment=Versions(made.driftboard, made.python, made.torch, made.device),
        files=file_digests(folder, places),
    )
    write_json(folder / SUBMISSION, submission)
