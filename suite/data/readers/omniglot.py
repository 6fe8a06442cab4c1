"""Omniglot's two small sets: characters of eight alphabets, each drawn by twenty people.

The two zip files share alphabets, which are read once. Omniglot has no test images of its own for
these characters: of every alphabet the first drawers are for training and the last for testing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from driftboard.suite.data.archives import Member, check_member, members_at
from driftboard.suite.data.image_folder import size_note
from driftboard.suite.data.images import open_image
from driftboard.suite.data.source import Source
from driftboard.suite.data.store import Images, Pool
from driftboard.suite.errors import counted

DRAWERS, TRAINED_DRAWERS = 20, 15
SIDE = 28

_DRAWING = re.compile(r"\d{4}_(?P<drawer>\d\d)\.png")

_Place = tuple[str, str, int]  # alphabet, character, drawer from 1 on


def read_omniglot(source: Source, holder: Path) -> Pool:
    """Read the zip files in a folder: ``<set>/<alphabet>/<character>/<number>_<drawer>.png``.

    Drawings are scaled to 28x28 and stay dark on white. A class is called by its alphabet and its
    character, such as ``Greek/character01``; alphabets are in alphabetical order.

    Raises:
        DataError: a file is missing, damaged, or has a link, a drawing out of place, twice, not as
            in the other file, or in too small a number.
    """
    drawings: dict[_Place, Images] = {}
    others = 0
    for name in source.files:
        found, passed_over = _read(source, holder / name)
        others += passed_over
        for place, pixels in found.items():
            known = drawings.setdefault(place, pixels)
            if not np.array_equal(known, pixels):
                raise source.broken(holder / name, f"has another {_text(place)} than its fellow")
    names = sorted({f"{alphabet}/{character}" for alphabet, character, _ in drawings})
    _check_drawers(source, holder, drawings, names)
    train, test = (
        [drawings[(*_parts(name), drawer)] for name in names for drawer in drawers]
        for drawers in (range(1, TRAINED_DRAWERS + 1), range(TRAINED_DRAWERS + 1, DRAWERS + 1))
    )
    pool = Pool(
        source.title,
        np.stack(train)[:, np.newaxis],
        np.repeat(np.arange(len(names)), TRAINED_DRAWERS),
        np.stack(test)[:, np.newaxis],
        np.repeat(np.arange(len(names)), DRAWERS - TRAINED_DRAWERS),
        tuple(names),
    )
    notes = [size_note(pool)]
    if others:
        notes.append(f"passed over: {counted(others, 'other file')}")
    return replace(pool, notes=tuple(notes))


def _read(source: Source, path: Path) -> tuple[dict[_Place, Images], int]:
    """Return the drawings of one zip file, scaled, and the number of files that are none."""
    with members_at(path) as members:
        places, others = _places(source, path, members)
        return {
            place: _scaled(member.read(), f"{member.name!r} in {path}")
            for place, member in places.items()
        }, others


def _places(
    source: Source, path: Path, members: Iterable[Member]
) -> tuple[dict[_Place, Member], int]:
    places: dict[_Place, Member] = {}
    others = 0
    for member in members:
        parts = PurePosixPath(member.name).parts
        if not member.name.endswith(".png"):
            others += 1
            continue
        check_member(member, path)
        drawing = _DRAWING.fullmatch(parts[-1])
        if len(parts) != 4 or drawing is None:
            raise source.broken(
                path,
                f"has {member.name!r} where <set>/<alphabet>/<character>/<number>_<drawer>.png is "
                "expected",
            )
        place = (parts[1], parts[2], int(drawing["drawer"]))
        if place in places:
            raise source.broken(path, f"has {_text(place)} twice")
        places[place] = member
    return places, others


def _scaled(content: bytes, where: str) -> Images:
    """Return a drawing's pixels, (28, 28): each the mean of those whose centres it covers."""
    from PIL import Image

    grey = open_image(content, where).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.uint8)


def _check_drawers(
    source: Source, holder: Path, drawings: Mapping[_Place, Images], names: Iterable[str]
) -> None:
    """Check that every character has the drawings of 20 drawers, which are numbered from 1."""
    found: dict[str, set[int]] = {name: set() for name in names}
    for alphabet, character, drawer in drawings:
        found[f"{alphabet}/{character}"].add(drawer)
    for name, drawers in found.items():
        if drawers != {*range(1, DRAWERS + 1)}:
            raise source.broken(
                holder,
                f"has {counted(len(drawers), 'drawing')} of {name!r} instead of those of the "
                f"drawers 1 to {DRAWERS}",
            )


def _parts(name: str) -> tuple[str, str]:
    alphabet, _, character = name.partition("/")
    return alphabet, character


def _text(place: _Place) -> str:
    return f"{place[0]}/{place[1]} by drawer {place[2]}"
