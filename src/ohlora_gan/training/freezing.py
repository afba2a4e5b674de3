"""Which parameters of the generator and the discriminator train."""

from torch import nn

from ohlora_gan.models.discriminator import Discriminator
from ohlora_gan.models.generator import Generator


def generator_trainable(generator: Generator, max_resolution: int | None) -> list[str]:
    """Names of the trainable parameters: the mapping, and synthesis up to ``max_resolution`` (None: all, 0: none)."""
    names = []
    for name, _ in generator.named_parameters():
        part, _, rest = name.partition(".")
        if part == "mapping" or max_resolution is None:
            names.append(name)
        elif part == "synthesis":
            block = rest.split(".")[0]
            i = int(block.removeprefix("output")) if block.startswith("output") else int(block[5:]) // 2
            if generator.synthesis.resolutions[i] <= max_resolution:
                names.append(name)
    return names


def discriminator_trainable(discriminator: Discriminator, max_resolution: int | None) -> list[str]:
    """Names of the trainable parameters: layers whose input is at most ``max_resolution`` wide (None: all).

    Image entries (``input``) train only below ``max_resolution``, as in the reference system; at full level of
    detail they lie off the path.
    """
    names = []
    last = len(discriminator.resolutions) - 1
    for name, _ in discriminator.named_parameters():
        block = name.split(".")[0]
        is_entry = block.startswith("input")
        resolution = discriminator.resolutions[int(block[5:]) if is_entry else min(int(block[5:]) // 2, last)]
        if max_resolution is None or resolution < max_resolution or (resolution == max_resolution and not is_entry):
            names.append(name)
    return names


def set_trainable(network: nn.Module, names: list[str] | set[str]) -> None:
    """Lets exactly the named parameters take a gradient."""
    wanted = set(names)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in wanted)
