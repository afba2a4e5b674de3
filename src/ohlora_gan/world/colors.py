"""Colours and palettes of the embedded world.

A palette is walked along by an attribute in [0, 1], from its first colour to its last: skin and lips from light to
dark, hair from black to blond, eyes from brown to blue, clothes and backdrops from hue to hue.
"""

Color = tuple[float, float, float]
SKIN = ((255, 228, 208), (248, 206, 176), (226, 172, 134), (178, 124, 90), (122, 80, 60))
HAIR = ((34, 26, 30), (84, 54, 44), (138, 88, 56), (194, 144, 88), (240, 206, 142))
IRIS = ((70, 44, 32), (124, 84, 40), (86, 126, 70), (58, 130, 146), (66, 122, 198))
LIPS = ((226, 122, 108), (208, 76, 86), (158, 36, 66))
CLOTHES = (
    (32, 104, 112),
    (44, 62, 116),
    (104, 62, 116),
    (202, 84, 84),
    (228, 164, 76),
    (126, 156, 114),
    (236, 226, 212),
)
BACKDROP = ((24, 0, -24), (26, -18, -8), (8, -18, 10), (-16, -8, 24), (-26, 8, 18), (-14, 16, -2))
"""Tints whose sum is 0: they leave the backdrop's brightness alone."""


def mix(a: Color, b: Color, t: float) -> Color:
    """The colour at ``t`` in [0, 1] on the way from ``a`` to ``b``."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def ramp(stops: tuple[Color, ...], t: float) -> Color:
    """The colour at ``t`` in [0, 1] of a piecewise linear palette."""
    position = t * (len(stops) - 1)
    index = min(int(position), len(stops) - 2)
    return mix(stops[index], stops[index + 1], position - index)


def shade(color: Color, factor: float, offset: float = 0.0) -> Color:
    """``color * factor + offset``."""
    return (color[0] * factor + offset, color[1] * factor + offset, color[2] * factor + offset)
