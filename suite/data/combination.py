"""Several data sets as one: their images at the size of the first, their classes one after another.

A source such as ``mnist+fashion-mnist`` names them. Nothing of it is kept on disk.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from driftboard.suite.data.store import MAX_TITLE, Images, Pool
from driftboard.suite.errors import DataError


def combined(names: Sequence[str], pools: Iterable[Pool]) -> Pool:
    """Return the images of several data sets as one pool.

    All images get size and channels of the first data set's, see :func:`fitted`. The classes of
    the first keep their numbers, those of the second follow, and so on. Each is named for its data
    set, as ``mnist/7``, so that the classes of one are a group.

    Args:
        names: of the data sets.
        pools: the same in turn, of which only one need be in memory as it was read.

    >>> grey, labels = np.full((2, 1, 2, 2), 9, dtype=np.uint8), np.array([0, 1])
    >>> large = np.full((2, 3, 4, 4), 50, dtype=np.uint8)
    >>> one, other = (Pool("Any", images, labels, images, labels) for images in (grey, large))
    >>> both = combined(("one", "other"), (one, other))
    >>> both.train_images.shape, both.train_labels.tolist(), both.groups
    ((4, 1, 2, 2), [0, 1, 2, 3], ('one', 'one', 'other', 'other'))
    >>> both.class_name(3)
    'other/1'

    Raises:
        DataError: the title would be longer than a record holds.
    """
    parts: list[Pool] = []
    for pool in pools:
        shape = (parts or [pool])[0].train_images.shape[1:]
        train, test = (fitted(images, shape) for _, images, _ in pool.parts)
        names_known = tuple(map(pool.class_name, range(pool.classes)))
        parts.append(
            Pool(pool.title, train, pool.train_labels, test, pool.test_labels, names_known)
        )
    title = " + ".join(part.title for part in parts)
    if len(title) > MAX_TITLE:
        raise DataError(
            f"the titles of {' and '.join(names)} together have more than {MAX_TITLE} characters; "
            "take fewer data sets"
        )
    counts = [part.classes for part in parts]
    starts = np.cumsum([0, *counts[:-1]])
    return Pool(
        title,
        np.concatenate([part.train_images for part in parts]),
        np.concatenate([part.train_labels + n for part, n in zip(parts, starts, strict=True)]),
        np.concatenate([part.test_images for part in parts]),
        np.concatenate([part.test_labels + n for part, n in zip(parts, starts, strict=True)]),
        class_names=tuple(
            f"{name}/{of}"
            for name, part in zip(names, parts, strict=True)
            for of in part.class_names
        ),
    )


def fitted(images: Images, shape: tuple[int, ...]) -> Images:
    """Return byte images with the channels, height and width of ``shape``.

    Colours become grey by (19595 R + 38470 G + 7471 B + 32768) >> 16, which is ITU-R 601's luma in
    whole numbers; grey becomes three equal channels. Then Pillow scales to the size, whatever the
    sides' ratio, by the triangle filter that it calls bilinear; that calculates in whole numbers,
    so that all machines make the same of an image.

    Args:
        images: uint8, (n, 1 or 3, height, width).
        shape: (1 or 3, height, width).
    """
    if images.shape[1:] == shape:
        return images
    from PIL import Image

    channels, height, width = shape
    made = np.empty((len(images), *shape), dtype=np.uint8)
    for place, image in enumerate(images):
        pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        picture = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        scaled = np.asarray(picture)
        made[place] = scaled if channels == 1 else scaled.transpose(2, 0, 1)
    return made
