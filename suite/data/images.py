"""Single images: the bytes of a file made pixels, as a viewer shows them."""

import io
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from driftboard.suite.data.store import Images
from driftboard.suite.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for, whatever its name; for some others it starts programs."""

MAX_PIXELS = 2**24
"""Of one image: a mistake or an attack if it has more, since packed it may take no room."""


@dataclass(frozen=True)
class Picture:
    """The pixels of one image file, and what of the file they do not show."""

    pixels: Images  # (H, W) of a grey image, (H, W, 3) of any other
    format: str  # as Pillow calls it
    transparent: bool  # parts of it, which are white here
    frames: bool  # it has several, of which this is the first


def read_picture(content: bytes, where: str) -> Picture:
    """Return an image as it is seen: turned by its EXIF orientation, on a white ground.

    Raises:
        DataError: as :func:`open_image`, or it has more than 8 bits per pixel and channel.
    """
    image = open_image(content, where)
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{where} has more than 8 bits per pixel; convert it to 8 bits")
    kind, frames = image.format or "unknown", bool(getattr(image, "is_animated", False))
    grey = image.mode in ("1", "L", "LA")
    image = _turned(image)
    transparent = _is_transparent(image)
    seen = _on_white(image) if transparent else image
    pixels = np.asarray(seen.convert("L" if grey else "RGB"), dtype=np.uint8)
    return Picture(pixels, kind, transparent, frames)


def open_image(content: bytes, where: str) -> "Image.Image":
    """Decode the bytes of one image file.

    Raises:
        DataError: it is no image, truncated, or too large; the message begins with ``where``.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        too_large = image.width * image.height > MAX_PIXELS
        if not too_large:
            image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        too_large = True
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        # Pillow names the in-memory file in its own message; of no use to the reader.
        raise DataError(
            f"{where} cannot be decoded as an image; replace it with a complete copy"
        ) from error
    if too_large:
        raise DataError(f"{where} has more than {MAX_PIXELS:,} pixels; scale it down")
    return image


def _turned(image: "Image.Image") -> "Image.Image":
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, KeyError, struct.error):
        return image  # EXIF data that cannot be read say nothing of an orientation


def _is_transparent(image: "Image.Image") -> bool:
    if "A" not in image.getbands() and "transparency" not in image.info:
        return False
    return image.convert("RGBA").getchannel("A").histogram()[255] < image.width * image.height


def _on_white(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image.convert("RGBA"))
