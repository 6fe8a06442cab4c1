"""The data folder: what is in it, and how data sets come into it.

Nothing appears in the folder before it is complete and checked.
"""

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from driftboard.suite.data.archives import Progress, images_at
from driftboard.suite.data.catalogue import SOURCES, find_source
from driftboard.suite.data.files import (
    NAME_THE_FOLDER,
    one_line,
    present_file,
    read_unpacked,
    staging,
)
from driftboard.suite.data.image_tree import read_image_tree
from driftboard.suite.data.own_images import (
    FOLDER_PREFIX,
    check_own_name,
    import_command,
)
from driftboard.suite.data.pool import read_npz_summary, write_npz
from driftboard.suite.data.source import Source
from driftboard.suite.errors import DataError
from driftboard.suite.records import NAME


@dataclass(frozen=True)
class SourceStatus:
    """What the data folder has of one data set.

    ``name`` is what :func:`driftboard.suite.data.load_pool` takes. ``train_count`` and
    ``test_count`` are numbers of images, None where only reading everything would tell.
    """

    name: str
    title: str
    state: Literal["present", "missing", "broken"]
    reason: str  # empty if present
    train_count: int | None
    test_count: int | None
    path: str  # where it lies or belongs; empty if it comes with a dependency
    next_step: str  # the command that mends it; empty if present


def status(folder: Path) -> list[SourceStatus]:
    """Tell what ``folder`` has of every known data set, then of the user's own images.

    Looks at names and sizes of files only; a file that is damaged inside is found when it is
    loaded.
    """
    known = [_source_status(source, folder) for source in SOURCES.values()]
    return known + [_own_status(name, folder) for name in _own_names(folder)]


def _source_status(source: Source, folder: Path) -> SourceStatus:
    npz = source.npz_in_use(folder)
    if npz is not None:
        return _npz_status(source.name, npz, source)
    holder = folder / source.subfolder
    missing = source.missing_files(holder)
    reason = _first_fault(source, holder)
    absent = missing and len(missing) == len(source.files)
    return SourceStatus(
        source.name,
        source.title,
        "missing" if absent else "broken" if reason else "present",
        reason,
        source.train_count,
        source.test_count,
        str(holder) if source.files else "",
        source.commands[0] if reason else "",
    )


def _first_fault(source: Source, holder: Path) -> str:
    """Return what is wrong with the first file that is missing or too small, else ''."""
    for file in source.files:
        path = present_file(holder / file.name)
        if path is None:
            return f"{file.name} is missing"
        # How much a packed file holds is not known before it is unpacked.
        least = source.least_bytes(file) if path.suffix != ".gz" else 1
        size = path.stat().st_size
        if size < least:
            return f"{path.name} is truncated: {size} of at least {least} bytes"
    return ""


def _npz_status(name: str, npz: Path, source: Source | None) -> SourceStatus:
    if source is not None:
        title, command = source.title, source.commands[0]
    else:
        title = name.removeprefix(FOLDER_PREFIX)
        command = import_command(title)
    try:
        title, train, test = read_npz_summary(npz, f"run '{command}'")
    except DataError:
        reason = f"{npz.name} is truncated or not an image file written by Driftboard"
        return SourceStatus(name, title, "broken", reason, None, None, str(npz), command)
    if source is not None and (train, test) != (source.train_count, source.test_count):
        reason = f"{train} + {test} images instead of {source.train_count} + {source.test_count}"
        return SourceStatus(name, title, "broken", reason, train, test, str(npz), command)
    return SourceStatus(name, title, "present", "", train, test, str(npz), "")


def _own_names(folder: Path) -> list[str]:
    reserved = {source.npz for source in SOURCES.values()}
    packed = {path.stem for path in folder.glob("*.npz") if path.name not in reserved}
    trees = {path.parent.name for path in folder.glob("*/train") if (path.parent / "test").is_dir()}
    return sorted(name for name in packed | trees if NAME.fullmatch(name))


def _own_status(name: str, folder: Path) -> SourceStatus:
    npz = folder / f"{name}.npz"
    full_name = FOLDER_PREFIX + name
    if npz.is_file():
        return _npz_status(full_name, npz, None)
    return SourceStatus(full_name, name, "present", "", None, None, str(folder / name), "")


def fetch(name: str, folder: Path) -> SourceStatus:
    """Download a known data set into ``folder``, unless it is there, and tell what is there now.

    Raises:
        DataError: the data set is unknown or cannot be fetched, the network or the server
            fails, what came is not complete, or ``folder`` cannot be written.
    """
    source = find_source(name)
    holder = folder / source.subfolder
    if not _first_fault(source, holder):
        return _source_status(source, folder)
    if source.fetch is None:
        raise DataError(
            f"{source.title} cannot be downloaded by Driftboard; get it from its authors "
            f"({source.origin}) and {source.remedy}"
        )
    with staging(folder) as stage:
        try:
            # stdout is for results; torchvision reports its failed attempts there.
            with redirect_stdout(sys.stderr):
                source.fetch(stage)
        except (OSError, RuntimeError) as error:  # URLError is an OSError
            raise DataError(
                f"cannot download {source.title}: {one_line(error)}; put "
                f"{', '.join(file.name for file in source.files)} into {holder} by hand, or "
                f"{NAME_THE_FOLDER}"
            ) from error
        _install_files(source, stage / source.subfolder, folder, stage)
    return _source_status(source, folder)


def import_images(
    name: str, source_path: Path, folder: Path, progress: Progress | None = None
) -> SourceStatus:
    """Bring a data set from ``source_path`` into the data folder and tell what is there now.

    A known data set comes from a folder with its original files. ``cifar10`` and any new name
    come from a folder or an archive (.tar, .tar.gz, .tgz, .zip) with images in train/<class>/
    and test/<class>/, perhaps inside one more folder, and are kept in <folder>/<name>.npz; a
    new name is then loaded as ``folder:<name>``.

    Raises:
        DataError: the name is not importable, ``source_path`` is missing, damaged or laid out
            otherwise, counts or classes are not those of the data set, or ``folder`` cannot be
            written. The data folder is then as it was before.
    """
    name = name.removeprefix(FOLDER_PREFIX)
    source = SOURCES.get(name)
    if source is None:
        check_own_name(name)
        _check_not_reserved(name)
    elif not source.files:
        raise DataError(f"{source.title} needs no import: {source.layout}")
    if not source_path.exists():
        raise DataError(f"{source_path} does not exist; name a folder or an archive with images")
    if source is not None:
        for holder in (source_path / source.subfolder, source_path):
            if not source.missing_files(holder):
                _import_files(source, holder, folder)
                return _source_status(source, folder)
        if not source.image_folder:
            raise DataError(
                f"{source_path} is not a folder with the files of {source.title}; expected: "
                f"{source.layout}"
            )
    return _import_tree(name, source, source_path, folder, progress)


def _check_not_reserved(name: str) -> None:
    if any(source.npz == f"{name}.npz" for source in SOURCES.values()):
        raise DataError(f"{name!r} is kept for a known data set; choose another name")


def _import_files(source: Source, holder: Path, folder: Path) -> None:
    if source.npz is not None and source.npz_is_cache:
        # The cache is all that is ever read; the photographs stay where they are.
        write_npz(folder / source.npz, source.load_files(holder))
    else:
        with staging(folder) as stage:
            _install_files(source, holder, folder, stage)


def _import_tree(
    name: str, source: Source | None, source_path: Path, folder: Path, progress: Progress | None
) -> SourceStatus:
    npz = folder / f"{name}.npz"
    title = source.title if source is not None else name
    class_names = source.class_names if source is not None else ()
    images = images_at(source_path, progress)
    pool = read_image_tree(images, title, source_path, class_names)
    if source is not None:
        source.check(pool, source_path)
    write_npz(npz, pool)
    return _npz_status(name if source is not None else FOLDER_PREFIX + name, npz, source)


def _install_files(source: Source, holder: Path, folder: Path, stage: Path) -> None:
    """Check the files in ``holder``, copy them to ``stage``, then move all of them into place."""
    source.load_files(holder)
    copies = []
    for file in source.files:
        path = present_file(holder / file.name)
        if path is not None:
            copy = stage / f"copy-{file.name}"
            copy.write_bytes(read_unpacked(path))
            copies.append((copy, folder / source.subfolder / file.name))
    for copy, place in copies:
        place.parent.mkdir(parents=True, exist_ok=True)
        copy.replace(place)
