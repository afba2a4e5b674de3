"""The versions of the embedded world behind one interface: 1 is ``first_world``, 2 ``face`` and ``render``."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.world.canvas import MAX_SIZE, MIN_SIZE

SHIPPED, LATEST = 1, 2
"""The version that the shipped models have learnt from, and the newest one."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class World:
    """A version of the embedded world: what its faces are, and how they look.

    Attributes:
        version: 1 or 2.
        CONTINUOUS, BINARY: names of the attributes that are numbers on a scale, and of those that are 0 or 1.
        MIN_SIZE, MAX_SIZE: of pictures, in pixels.
        sample_attributes: (seed, number) -> the attributes of a face.
        standardized: (name, value) -> a continuous attribute in standard deviations from its mean.
        render: (attributes, size) -> RGB, uint8 ``[size, size, 3]``.
        parse_map: (attributes, size) -> what each pixel shows, uint8 ``[size, size]``, see ``data.parse_scores``.
        render_with_parse_map: both at once.
    """

    version: int
    CONTINUOUS: tuple[str, ...]
    BINARY: tuple[str, ...]
    MIN_SIZE: int
    MAX_SIZE: int
    sample_attributes: Callable[[int, int], Any]
    standardized: Callable[[str, float], float]
    render: Callable[[Any, int], Bytes]
    parse_map: Callable[[Any, int], Bytes]
    render_with_parse_map: Callable[[Any, int], tuple[Bytes, Bytes]]

    @property
    def attributes(self) -> tuple[str, ...]:
        """All that can be learnt of a face: properties, nuisances, binary attributes."""
        return (*self.CONTINUOUS, *self.BINARY)


def open_world(version: int) -> World:
    """A version of the embedded world.

    Raises:
        ValueError: if there is no such version.
    """
    if type(version) is not int or version not in (SHIPPED, LATEST):
        raise ValueError(
            f"world is {version!r}, expected {SHIPPED}, which the shipped models have learnt from, or {LATEST}, "
            f"the newest version"
        )
    return _opened(version)


@cache
def _opened(version: int) -> World:
    faces: Any
    painter: Any
    if version == 1:
        from ohlora_gan.world import first_world as faces  # only the version that is asked for is imported

        painter = faces
    else:
        from ohlora_gan.world import face as faces
        from ohlora_gan.world import render as painter
    return World(
        version,
        CONTINUOUS=faces.CONTINUOUS,
        BINARY=faces.BINARY,
        MIN_SIZE=MIN_SIZE,
        MAX_SIZE=MAX_SIZE,
        sample_attributes=faces.sample_attributes,
        standardized=faces.standardized,
        render=painter.render,
        parse_map=painter.parse_map,
        render_with_parse_map=painter.render_with_parse_map,
    )
