"""Where a user's data sets lie, and what is kept to save time, unless told otherwise."""

import os
from contextlib import suppress
from pathlib import Path

import platformdirs

from driftboard.suite.errors import DataError


def find_data_folder(named: Path | None = None) -> Path:
    """Return the folder that is named here or by DRIFTBOARD_DATA, else the user's own.

    Raises:
        DataError: it is a file, or below the home folder of a user who has none.
    """
    chosen = str(named or "") or os.environ.get("DRIFTBOARD_DATA")
    try:
        folder = Path(chosen).expanduser() if chosen else platformdirs.user_data_path("driftboard")
    except RuntimeError as error:
        raise DataError(
            "there is no home folder to find data in; name the data folder from the root, with "
            "--data or DRIFTBOARD_DATA"
        ) from error
    if folder.is_file():
        raise DataError(
            f"{folder} is a file; name the folder that has the data sets, with --data or "
            "DRIFTBOARD_DATA"
        )
    return folder


def cache_folder() -> Path | None:
    """Return the folder of what can be made again, None for a user who has no home folder."""
    with suppress(RuntimeError):
        return platformdirs.user_cache_path("driftboard").expanduser()
    return None
