"""Where labels go beside points so that none covers another: pure geometry, in any unit."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_GAP = 2.0  # between a point and the edge of its label
_STEP = 3.0  # from one ring of places to the next
_DIRECTIONS = 16


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with sides along the axes."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle."""
        return (self.left + self.right) / 2.0, (self.bottom + self.top) / 2.0

    def nearest(self, point: tuple[float, float]) -> tuple[float, float]:
        """Return the place of the box that is nearest to a point."""
        x, y = point
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)

    def overlaps(self, other: "Box") -> bool:
        """Whether the two have more than an edge in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def contains(self, other: "Box") -> bool:
        """Whether the other one lies in this one."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.bottom <= other.bottom
            and other.top <= self.top
        )


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    area: Box,
    solid: Sequence[Box],
    thin: Sequence[Box] = (),
) -> list[Box]:
    """Return a box of the given width and height for each point, as near to it as it is free.

    One point after the other gets the first free place on rings around it that grow until they
    leave ``area``. No box overlaps another one or ``solid``, and none overlaps ``thin`` unless
    this leaves no place. Where all is full, the label lies on its point.
    """
    placed: list[Box] = []
    for point, size in zip(points, sizes, strict=True):
        free = _first_free(point, size, area, (*placed, *solid, *thin))
        free = free or _first_free(point, size, area, (*placed, *solid))
        placed.append(free or _around(point, size))
    return placed


def _first_free(
    point: tuple[float, float], size: tuple[float, float], area: Box, taken: Sequence[Box]
) -> Box | None:
    for box in _places(point, size, area):
        if area.contains(box) and not any(box.overlaps(other) for other in taken):
            return box
    return None


def _places(point: tuple[float, float], size: tuple[float, float], area: Box) -> Iterator[Box]:
    """Yield boxes around a point, the nearest ones first, those to its right first of all."""
    rings = math.ceil(max(area.right - area.left, area.top - area.bottom) / _STEP)
    for ring in range(rings):
        reach = _GAP + ring * _STEP
        for turn in range(_DIRECTIONS):
            angle = 2.0 * math.pi * turn / _DIRECTIONS
            across = math.cos(angle) * (size[0] / 2.0 + reach)
            up = math.sin(angle) * (size[1] / 2.0 + reach)
            yield _around((point[0] + across, point[1] + up), size)


def _around(centre: tuple[float, float], size: tuple[float, float]) -> Box:
    (x, y), (width, height) = centre, size
    return Box(x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0)
