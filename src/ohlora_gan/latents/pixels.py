"""How far pictures are from each other, pixel by pixel."""

from torch import Tensor


def change_map(before: Tensor, after: Tensor) -> Tensor:
    """Mean absolute change of the three colours of each pixel.

    Args:
        before, after: images ``[n, 3, R, R]`` in [-1, 1]; values beyond are cut off, as files cut them off.

    Returns:
        ``[n, R, R]`` on the scale of pixels in [0, 1]: 0 is no change, 1 is black against white.
    """
    return (before.clamp(-1, 1) - after.clamp(-1, 1)).abs().mean(dim=1) / 2
