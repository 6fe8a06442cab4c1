"""Single images: read as they are seen, and never larger than they may be."""

import io
import struct
import zlib

import numpy as np
import pytest
from made_up_data import assert_one_line, tree, write_zip
from PIL import Image, ImageFile

from driftboard.suite.data import load_pool
from driftboard.suite.data.folder import import_images
from driftboard.suite.data.images import read_picture
from driftboard.suite.errors import DataError


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def random_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3)])
def test_an_image_is_turned_as_its_orientation_says(turn, shape):
    pixels = random_pixels(*shape)
    exif = Image.Exif()
    exif[0x0112] = turn
    # Row and column of the seen image, from the corner at which the stored one begins.
    seen = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: pixels[::-1].swapaxes(0, 1),
        7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: pixels[:, ::-1].swapaxes(0, 1),
    }[turn]
    picture = read_picture(saved(Image.fromarray(pixels), exif=exif), "it")
    np.testing.assert_array_equal(picture.pixels, seen)
    assert picture.format == "PNG"


def with_alpha(grey=False):
    """Return an image whose pixels are hidden, half hidden and seen, and what is seen on white."""
    pixels = np.full((1, 3, 2 if grey else 4), 100, dtype=np.uint8)
    pixels[0, :, -1] = [0, 128, 255]
    seen = np.array([[255, 177, 100]], dtype=np.uint8)
    return Image.fromarray(pixels, "LA" if grey else "RGBA"), seen


@pytest.mark.filterwarnings("ignore:.*mode.*:DeprecationWarning")
@pytest.mark.parametrize("grey", [False, True])
def test_transparent_parts_become_white(grey):
    image, seen = with_alpha(grey)
    picture = read_picture(saved(image), "it")
    expected = seen if grey else np.repeat(seen[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.transparent


def test_a_transparent_colour_of_a_palette_becomes_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    picture = read_picture(saved(image, transparency=0), "it")
    assert picture.pixels.tolist() == [[[255, 255, 255], [40, 50, 60]]]
    assert picture.transparent


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA"])
def test_an_image_without_transparent_parts_keeps_its_pixels(mode):
    plain = Image.fromarray(random_pixels(3, 5) // 128 * 255).convert("RGB")
    picture = read_picture(saved(plain.convert(mode)), "it")
    grey = mode in ("L", "1", "LA")
    np.testing.assert_array_equal(picture.pixels, np.asarray(plain.convert("L" if grey else "RGB")))
    assert (picture.transparent, picture.frames) == (False, False)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_several_frames_the_first_is_read(kind):
    first, second = (Image.new("RGB", (4, 3), colour) for colour in ("red", "blue"))
    options = {"lossless": True} if kind == "WEBP" else {}
    content = saved(first, kind, save_all=True, append_images=[second], **options)
    picture = read_picture(content, "it")
    assert picture.frames
    assert picture.pixels[0, 0].tolist() == [255, 0, 0]
    assert not read_picture(saved(first, kind, **options), "it").frames


def test_transparent_and_animated_images_are_counted_in_a_line(folder, tmp_path):
    image, _ = with_alpha()
    files = tree(shape=(1, 3, 3))
    files["train/a/7.png"] = saved(image)
    moving = [Image.new("RGB", (3, 1), colour) for colour in ("red", "blue")]
    files["train/b/8.gif"] = saved(moving[0], "GIF", save_all=True, append_images=moving[1:])
    files["train/b/9.gif"] = saved(moving[1], "GIF", save_all=True, append_images=moving[:1])
    lines = []
    import_images("own", write_zip(tmp_path / "x.zip", files), folder, tell=lines.append)
    assert "1 image is transparent in part and was put on white, such as 'train/a/7.png'" in lines
    assert "of 2 images with several frames the first was read, such as 'train/b/8.gif'" in lines
    assert load_pool("folder:own", folder).train_images[2].tolist() == [[[255, 177, 100]]] * 3


@pytest.mark.parametrize("side", [5_000, 10_000, 30_000])
def test_an_image_of_many_pixels_is_refused_before_it_is_decoded(side, monkeypatch):
    content = bytearray(saved(Image.new("1", (4, 4))))
    place = content.index(b"IHDR")
    content[place + 4 : place + 12] = struct.pack(">2I", side, side)
    checksum = zlib.crc32(content[place : place + 17])
    content[place + 17 : place + 21] = struct.pack(">I", checksum)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    with pytest.raises(DataError) as error:
        read_picture(bytes(content), "it")
    assert_one_line(error, "it has more than 16,777,216 pixels; scale it down")


def test_a_file_that_only_another_program_could_decode_is_refused():
    """Pillow would start Ghostscript for it."""
    content = saved(Image.new("RGB", (4, 4)), "EPS")
    with pytest.raises(DataError, match="it cannot be decoded"):
        read_picture(content, "it")
