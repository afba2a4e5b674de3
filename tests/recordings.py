"""Rebuilding the recorded networks; used by the golden tests."""

import math

import numpy as np
import torch
from torch import Tensor

from ohlora_gan.models.gan import Generator

GENERATOR_ARGUMENTS = {"z_space_dim": "z_dim", "w_space_dim": "w_dim", "mapping_fmaps": "mapping_dim"}


def build_generator(constructor: dict, split: bool) -> Generator:
    """A generator from a recording's constructor arguments."""
    return Generator(split_mapping=split, **{GENERATOR_ARGUMENTS.get(k, k): v for k, v in constructor.items()})


def image_and_styles(generator: Generator, wp: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The images of wp, and the style [N, 2C] of every synthesis layer on the way."""
    styles: list[Tensor] = []
    blocks = [getattr(generator.synthesis, f"layer{i}") for i in range(generator.num_layers)]
    hooks = [block.style.register_forward_hook(lambda _, given, style: styles.append(style)) for block in blocks]
    image = generator.synthesis(wp)
    for hook in hooks:
        hook.remove()
    return image, styles


def state_of(tensors: dict[str, Tensor], prefix: str = "state.") -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def recipe_tensor(shape, position, seed, gain_conv, gain_fc, bias_amp) -> Tensor:
    """The recordings' recipe for the values of a tensor: a hash of seed, position and element number."""
    j = np.arange(math.prod(shape), dtype=np.uint64)
    x = (j + np.uint64((2654435769 * (position + 1) + 2246822507 * seed) % 2**32)) % 2**32
    for bits, factor in ((16, 2146121005), (15, 2221713035)):
        x = (x ^ (x >> np.uint64(bits))) * np.uint64(factor) % 2**32
    u = (x ^ (x >> np.uint64(16))) / 2**32
    gain = gain_conv if len(shape) == 4 else gain_fc
    scale = bias_amp if len(shape) == 1 else math.sqrt(3) * gain / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(((2 * u - 1) * scale).astype(np.float32)).reshape(shape)


def recipe_state(tensors: list, seed: int, **gains: float) -> dict[str, Tensor]:
    """A whole state dict by recipe; ``tensors`` lists ``[key, shape]``."""
    return {key: recipe_tensor(tuple(shape), i, seed, **gains) for i, (key, shape) in enumerate(tensors)}
