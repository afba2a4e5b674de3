"""Pictures drawn badly in many ways, as a generator draws them, so that what learns from them reads such pictures too.

Each way of drawing badly befalls some pictures of a batch, at random strength and mostly in a random patch.
"""

import math
from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor


def blur(images: Tensor) -> Tensor:
    """1-2-1 blur of ``[B, C, H, W]`` images in both directions, edges repeated."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    rows = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4


def shift(images: Tensor, offsets: Tensor) -> Tensor:
    """Moves ``[B, C, H, W]`` images by ``[B, 2]`` pixels (right, down), bilinear, edges repeated."""
    size = torch.tensor([images.shape[3], images.shape[2]], device=images.device)
    theta = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
    theta[:, :, 2] = -2 * offsets / size
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 would place pixels by quarters
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


ROUGH_SHARE = 0.5  # of the pictures
EACH_SHARE = 0.3  # of these, for every way
MAX_WARP = 1.2  # pixels of a 64x64 picture
MAX_DOUBLE = 4.0  # pixels of a 64x64 picture between the outlines
MAX_MOVE = 1.5  # pixels of a 64x64 picture
MAX_BLEND = 0.6  # share of a wrong colour
MAX_BLOBS = 0.35  # standard deviation of blobs; images span [-1, 1]
MAX_STEP = 0.25  # between the levels that a block's frequencies are rounded to

Uniform = Callable[..., Tensor]
"""Numbers ``[B, *shape]`` from ``low`` to ``high``: ``uniform(low, high, *shape)``."""


def roughen(images: Tensor, strength: float, draws: torch.Generator) -> Tensor:
    """Draws half of the pictures worse: warped, moved, smeared, doubled, miscoloured, blotchy, in blocks.

    Args:
        images: ``[B, 3, R, R]`` in [-1, 1], R a multiple of 8.
        strength: factor on every amount; 0 returns the images as they are.
        draws: generator on the images' device; nothing else decides the result.

    Returns:
        ``[B, 3, R, R]`` in [-1, 1].
    """
    if strength == 0:
        return images

    def uniform(num: int, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(num, *shape, generator=draws, device=images.device)

    rough = uniform(len(images), 0, 1) < ROUGH_SHARE
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 would place pixels by quarters
        for change in (warped, moved, smeared, doubled, miscolored, blotchy, blocky):
            chosen = (rough & (uniform(len(images), 0, 1) < EACH_SHARE)).nonzero().flatten()
            if len(chosen):
                changed = change(images[chosen], strength, partial(uniform, len(chosen)))
                images = images.index_copy(0, chosen, changed)
    return images.clamp(-1, 1)


def patches(images: Tensor, uniform: Uniform) -> Tensor:
    """Masks ``[B, 1, R, R]`` from 0 to 1: an ellipse with soft edges somewhere in the middle three quarters."""
    side = images.shape[3]
    axis = (torch.arange(side, device=images.device) + 0.5) / side
    center, reach = uniform(0.12, 0.88, 2, 1), uniform(0.06, 0.3, 2, 1)
    away = ((axis - center) / reach) ** 2  # [B, 2, R]
    return torch.exp(-((away[:, 0, :, None] + away[:, 1, None, :]) ** 2))[:, None]


def warped(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Pulled about by a smooth random field."""
    side = images.shape[3]
    amount = uniform(0, MAX_WARP, 1, 1, 1) * strength * 2 / 64  # a picture is 2 wide in a grid's units
    field = F.interpolate(uniform(-1, 1, 2, 7, 7), size=(side, side), mode="bicubic", align_corners=False)
    start = torch.eye(2, 3, device=images.device).expand(len(images), 2, 3)
    grid = F.affine_grid(start, list(images.shape), align_corners=False)
    grid = grid + (amount * field).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def moved(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Moved as a whole."""
    return shift(images, uniform(-1, 1, 2) * MAX_MOVE * strength * images.shape[3] / 64)


def smeared(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Smeared along a direction in a patch."""
    step = uniform(0, math.pi, 1)
    step = torch.cat([step.cos(), step.sin()], dim=1) * uniform(0.5, 1.5, 1) * strength * images.shape[3] / 64
    smear = torch.stack([shift(images, step * k) for k in (-2, -1, 0, 1, 2)]).mean(dim=0)
    return images.lerp(smear, patches(images, uniform))


def doubled(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Seen twice in a patch, the second time fainter and beside the first."""
    other = shift(images, uniform(-1, 1, 2) * MAX_DOUBLE * strength * images.shape[3] / 64)
    return images.lerp(other, patches(images, uniform) * uniform(0.15, 0.5, 1, 1, 1))


def miscolored(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """A patch partly in another colour."""
    share = patches(images, uniform) * uniform(0.1, MAX_BLEND, 1, 1, 1) * min(strength, 1.0)
    return images.lerp(uniform(-1, 1, 3, 1, 1).expand_as(images), share)


def blotchy(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Blobs of noise in a patch."""
    side = images.shape[3]
    noise = F.interpolate(uniform(-1.7, 1.7, 3, side // 4, side // 4), size=(side, side), mode="bilinear")
    return images + noise * patches(images, uniform) * uniform(0, MAX_BLOBS, 1, 1, 1) * strength


def blocky(images: Tensor, strength: float, uniform: Uniform) -> Tensor:
    """Rounded in blocks of 8x8 pixels, high frequencies most, as JPEG does; then blurred a little."""
    num, channels, height, width = images.shape
    waves = cosines().to(images)
    blocks = images.reshape(num, channels, height // 8, 8, width // 8, 8)
    found = torch.einsum("ui,bchiwj,vj->bchuwv", waves, blocks, waves)
    order = torch.arange(8, device=images.device)
    coarse = 0.3 + 0.15 * (order[:, None, None] + order)  # [8, 1, 8]: finer for slow changes
    step = uniform(0.05, 1, 1, 1, 1, 1, 1) * (MAX_STEP * strength * coarse)
    rounded = torch.einsum("ui,bchuwv,vj->bchiwj", waves, (found / step).round() * step, waves)
    result = rounded.reshape(images.shape)
    return result.lerp(blur(result), uniform(0, 0.5, 1, 1, 1))


@cache
def cosines() -> Tensor:
    """The orthonormal cosine transform of 8 values, float32 ``[8, 8]``: a row a frequency."""
    order = torch.arange(8, dtype=torch.float64)
    waves = torch.cos(math.pi / 8 * (order + 0.5) * order[:, None]) / 2
    waves[0] /= math.sqrt(2)
    return waves.float()
