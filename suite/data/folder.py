"""The data folder: what is in it, how data sets come into it, and how they are loaded from it.

Nothing appears in the folder before it is complete and checked.
"""

import hashlib
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from driftboard.suite.data.catalogue import (
    SOURCES,
    find_source,
    find_sources,
    own_images,
)
from driftboard.suite.data.combination import combined
from driftboard.suite.data.image_folder import Progress, folder_image_paths, read_image_folder
from driftboard.suite.data.source import FOLDER_PREFIX, NAME_THE_FOLDER, Source, download
from driftboard.suite.data.store import (
    Pool,
    find_file,
    read_store,
    read_store_summary,
    short_reason,
    staging,
    write_store,
)
from driftboard.suite.errors import DataError
from driftboard.suite.places import cache_folder, find_data_folder
from driftboard.suite.records import NAME


def load_pool(name: str, data_folder: Path | None) -> Pool:
    """Read the data set ``name`` from its store.

    Args:
        name: a key of ``SOURCES``, or ``folder:NAME`` for a user's own images; or several joined
            by ``+``, which are combined.
        data_folder: where the store lies; None: see ``find_data_folder``.

    >>> load_pool("digits", None).train_images.shape
    (1297, 1, 8, 8)

    Raises:
        DataError: no such data set; or it is missing, not converted yet, truncated or broken.
    """
    source, *others = find_sources(name)
    if others:
        names = [one.name for one in (source, *others)]
        return combined(names, (load_pool(one, data_folder) for one in names))
    if not source.store:
        return source.read(source, Path())
    folder = find_data_folder(data_folder)
    holder = folder / source.subfolder
    if (folder / source.store).is_file():
        store, remedy = folder / source.store, f"replace it: {source.remedy}"
    elif source.has_originals(holder):
        store, remedy = _cached_store(source, holder), "delete it, and it is made again"
    else:
        raise _missing(source, folder)
    if not store.is_file():
        raise DataError(
            f"{holder} has not been prepared for training on this machine; run "
            f"`driftboard data fetch {name} --data {shlex.quote(str(folder))}`"
        )
    pool = read_store(store, remedy)
    source.check(pool, store)
    return pool


def convert_originals(name: str, data_folder: Path | None) -> Pool | None:
    """Make the store of a data set whose original files lie in the data folder, if it has none.

    The data folder may be read-only, so this store is kept in the user's cache folder, under the
    names, sizes and times of the files; one that is not as it was written is made anew. This
    imports torchvision and may take minutes: a command calls it before any worker starts.

    Returns:
        What is in that store; None where there are no original files, the data folder has a
        store, or several data sets are named.

    Raises:
        DataError: no such data set, or its files are truncated or broken.
    """
    source, *others = find_sources(name)
    if others:
        for one in (source, *others):
            convert_originals(one.name, data_folder)
        return None
    if not source.store:
        return None
    folder = find_data_folder(data_folder)
    holder = folder / source.subfolder
    if (folder / source.store).is_file() or not source.has_originals(holder):
        return None
    store = _cached_store(source, holder)
    if store.is_file():
        if (kept := _cached_pool(source, holder, store)) is not None:
            return kept
        print(f"{name}: {store} is not as it was written and is made anew", file=sys.stderr)
    else:
        print(f"{name}: converting {holder} once, into {store}", file=sys.stderr)
    pool = _read_originals(source, holder)
    for note in pool.notes:
        print(f"{name}: {note}", file=sys.stderr)
    try:
        write_store(store, pool)
    except DataError as error:
        command = shlex.join(
            ["driftboard", "data", "import", name.removeprefix(FOLDER_PREFIX), str(holder)]
        )
        raise DataError(
            f"{name} cannot be kept: {error}; set XDG_CACHE_HOME, or run `{command} --data DIR` "
            "and use that DIR"
        ) from error
    return pool


def _cached_store(source: Source, holder: Path) -> Path:
    """Return where the store of the original files in ``holder`` is kept, made or not."""
    # Names of files are any bytes, which Python shows as surrogates where they are no text.
    key = hashlib.sha256(f"{source.name}\x1f{holder.resolve()}".encode(errors="surrogateescape"))
    for name, checksum in source.digests.items():
        key.update(f"\x1f{name}\x1f{checksum}".encode())  # of which the title in the store is made
    for path in source.original_paths(holder):
        status = path.stat()
        # Anybody can set the time of modification, and archives do; nobody that of the change.
        times = f"{status.st_mtime_ns}\x1f{status.st_ctime_ns}"
        entry = f"\x1f{path.relative_to(holder)}\x1f{status.st_size}\x1f{times}"
        key.update(entry.encode(errors="surrogateescape"))
    file = f"{Path(source.store).stem}-{key.hexdigest()[:32]}.npz"
    kept = cache_folder()
    if kept is None:
        raise DataError(f"{source.name} can be kept in no home folder; set HOME or XDG_CACHE_HOME")
    return kept / "data" / file


def _cached_pool(source: Source, holder: Path, store: Path) -> Pool | None:
    """Return what a store in the cache holds, None if it cannot be that of the files."""
    try:
        pool = read_store(store, "")
        source.check(pool, store)
    except DataError:
        return None
    whole = bool(source.files) or _is_of_folder(pool, holder)
    return pool if whole and pool.title.startswith(source.title) else None


def _is_of_folder(pool: Pool, holder: Path) -> bool:
    """Tell whether a pool has the classes of an image folder and as many images of each."""
    places = Counter(path.parts[-3:-1] for path in map(Path, folder_image_paths(holder)))
    classes = sorted({name for _, name in places})
    return pool.class_names == tuple(classes) and all(
        np.array_equal(
            labels, np.repeat(np.arange(len(classes)), [places[split, c] for c in classes])
        )
        for split, labels in (("train", pool.train_labels), ("test", pool.test_labels))
    )


def _read_originals(source: Source, holder: Path) -> Pool:
    pool = source.read(source, holder)
    source.check(pool, holder)
    return pool


def _missing(source: Source, folder: Path) -> DataError:
    holder = folder / source.subfolder
    if not source.files:
        return DataError(
            f"{source.name}: neither {folder / source.store} nor the folder {holder} is there; "
            f"{source.remedy}"
        )
    first = source.missing_files(holder)[0]
    return DataError(
        f"{source.title} is not in {folder}: {holder / first} is missing; {source.remedy}"
    )


@dataclass(frozen=True)
class SourceStatus:
    """What the data folder has of one data set.

    ``name`` is what :func:`load_pool` takes. ``classes``, ``train_count`` and ``test_count`` are
    numbers of classes and of images, None where only reading everything would tell.
    """

    name: str
    title: str
    state: Literal["present", "missing", "broken"]
    reason: str  # empty if present
    classes: int | None
    train_count: int | None
    test_count: int | None
    path: str  # where it lies or belongs; empty if it comes with a dependency
    next_step: str  # the command that mends it; empty if present


def status(folder: Path) -> list[SourceStatus]:
    """Tell what ``folder`` has of every known data set, then of the user's own images.

    Looks at names and sizes of files only; a file that is damaged inside is found when it is
    loaded.
    """
    reserved = {source.store for source in SOURCES.values()}
    stores = {path.stem for path in folder.glob("*.npz") if path.name not in reserved}
    trees = {path.parent.name for path in folder.glob("*/train") if (path.parent / "test").is_dir()}
    own = sorted(name for name in stores | trees if NAME.fullmatch(name))
    return [_status(source, folder) for source in [*SOURCES.values(), *map(own_images, own)]]


def _status(source: Source, folder: Path) -> SourceStatus:
    place, absent = folder / source.store, False
    if source.store and place.is_file():
        held, reason = _store_summary(source, place)
    else:
        place = folder / source.subfolder
        held, reason = _Held.expected(source), _first_fault(source, place)
        absent = bool(reason) and len(source.missing_files(place)) == len(source.files)
        if source.store and not reason and (store := _cached_store(source, place)).is_file():
            held = _store_summary(source, store)[0]  # what the files are is known by now
    return SourceStatus(
        name=source.name,
        title=held.title,
        state="missing" if absent else "broken" if reason else "present",
        reason=reason,
        classes=held.classes,
        train_count=held.train,
        test_count=held.test,
        path=str(place) if source.store else "",
        next_step=source.commands[0] if reason else "",
    )


def _first_fault(source: Source, holder: Path) -> str:
    """Return what is wrong with the first file that is missing or too small, else ''."""
    for name, least_bytes in source.files.items():
        path = find_file(holder / name)
        if path is None:
            return f"{name} is missing"
        # How much a packed file holds is not known before it is unpacked.
        least = least_bytes if path.suffix != ".gz" else 1
        size = path.stat().st_size
        if size < least:
            return f"{path.name} is truncated: {size} of at least {least} bytes"
    return ""


class _Held(NamedTuple):
    """What a data set is called and how much of it there is, None where nothing is known."""

    title: str
    classes: int | None
    train: int | None
    test: int | None

    @classmethod
    def expected(cls, source: Source) -> "_Held":
        """Return what a data set has by the catalogue."""
        counts = (source.classes, source.train_count, source.test_count)
        return cls(source.title, *(count or None for count in counts))


def _store_summary(source: Source, store: Path) -> tuple[_Held, str]:
    """Return what a store holds, and what is wrong with it."""
    try:
        held = _Held(*read_store_summary(store, source.remedy))
    except DataError:
        reason = f"{store.name} is truncated or not an image file written by Driftboard"
        return _Held(source.title, None, None, None), reason
    expected = (source.train_count, source.test_count)
    if source.files and (held.train, held.test) != expected:
        return held, f"{held.train} + {held.test} images instead of {expected[0]} + {expected[1]}"
    return held, ""


def fetch(name: str, folder: Path) -> SourceStatus:
    """Make a data set ready for training: from the files in ``folder``, else by a download.

    Raises:
        DataError: the data set is unknown or cannot be downloaded, the network or the server
            fails, what came is not complete, or ``folder`` cannot be written.
    """
    source = find_source(name)
    found = _status(source, folder)
    # Images that were imported may be another variant, such as CIFAR-10 (JPEG).
    imported = (folder / source.store).is_file() and found.title != source.title
    if found.state == "present" and not (imported and source.torchvision):
        convert_originals(name, folder)
        return _status(source, folder)
    if not source.torchvision:
        raise DataError(
            f"{source.title} cannot be downloaded by Driftboard; get it from its authors "
            f"({source.origin}) and {source.remedy}"
        )
    from http.client import HTTPException

    with staging(folder) as stage:
        try:
            download(source, stage)
        except (OSError, RuntimeError, HTTPException) as error:  # URLError is an OSError
            raise DataError(
                f"cannot download {source.title}: {short_reason(error)}; put "
                f"{', '.join(source.files)} into "
                f"{folder / source.subfolder} by hand, or {NAME_THE_FOLDER}"
            ) from error
        write_store(folder / source.store, _read_originals(source, stage / source.subfolder))
    return _status(source, folder)


def import_images(
    name: str,
    source_path: Path,
    folder: Path,
    progress: Progress | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> SourceStatus:
    """Bring a data set from ``source_path`` into the data folder and tell what is there now.

    A known data set comes from a folder with its original files, ``tiny-imagenet`` also from an
    archive of it. ``cifar10`` and any new name
    come from a folder or an archive (.tar, .tar.gz, .tgz, .zip) with images in train/<class>/
    and test/<class>/, perhaps inside one more folder; a new name is then loaded as
    ``folder:<name>``. All are kept in one store, <folder>/<name>.npz. ``tell`` is given lines on
    what the images are, on what was passed over, and on what is not as it should be.

    Raises:
        DataError: the name is not importable, ``source_path`` is missing, damaged or laid out
            otherwise, counts or classes are not those of the data set, or ``folder`` cannot be
            written. The data folder is then as it was before.
    """
    name = name.removeprefix(FOLDER_PREFIX)
    source = SOURCES.get(name) or own_images(name)
    if not source.store:
        raise DataError(f"{source.title} needs no import: it comes with Driftboard")
    if name not in SOURCES and source.store in {known.store for known in SOURCES.values()}:
        raise DataError(f"{name!r} is kept for a known data set; choose another name")
    if not source_path.exists():
        raise DataError(f"{source_path} does not exist; name a folder or an archive with images")
    holders = (source_path / source.subfolder, source_path) if source.files else ()
    holder = next((place for place in holders if source.has_originals(place)), None)
    if holder is None and source.takes_archive and source_path.is_file():
        holder = source_path
    if holder is not None:
        pool = _read_originals(source, holder)
    elif source.takes_images:
        pool = read_image_folder(source_path, source.title, source.class_names, progress)
        source.check(pool, source_path)
    else:
        raise DataError(
            f"{source_path} is not a folder with the files of {source.title}; expected: "
            f"{source.subfolder}/{', '.join(source.files)}"
        )
    write_store(folder / source.store, pool)
    for note in pool.notes:
        tell(note)
    return _status(source, folder)
