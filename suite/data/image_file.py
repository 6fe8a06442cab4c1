"""One image file: which names are taken, and how it is decoded."""

import io
import struct
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from driftboard.suite.data.pool import Images
from driftboard.suite.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def is_image_name(name: str) -> bool:
    """Tell whether a file is looked at: an image by its suffix, and not hidden."""
    path = PurePosixPath(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def leaves_folder(name: str) -> bool:
    """Tell whether a name inside a folder or an archive leads out of it."""
    return name.startswith("/") or ".." in PurePosixPath(name).parts


def open_image(content: bytes, where: str) -> "Image.Image":
    """Decode the bytes of one image file.

    Raises:
        DataError: it is no image, truncated, or too large to be safe; the message begins with
            ``where``.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        # Pillow names the in-memory file in its own message; of no use to the reader.
        raise DataError(
            f"{where} cannot be decoded as an image; replace it with a complete copy"
        ) from error
    return image


def image_pixels(image: "Image.Image", name: str, origin: Path) -> Images:
    """Return the pixels, (H, W) of a grey image and (H, W, 3) of any other.

    Raises:
        DataError: they have more than 8 bits; the message calls the image ``name``.
    """
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{origin} has {name!r} with more than 8 bits per pixel; convert it to 8 bits"
        )
    grey = image.mode in ("1", "L", "LA")
    return np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)
