"""``ohlora sample``: fresh faces of a generator as PNG files, to label, to train on or to look at.

Picture i of a seed and a stream is the same in every run. A run that was interrupted goes on when started again, and
more pictures can be added to those that are there.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn
from tqdm import tqdm

from ohlora_gan.devices import keep_freed_memory
from ohlora_gan.errors import answer, claim, parser_of
from ohlora_gan.images import save_png
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.models.zoo import open_generator

STREAM = "sample"  # directions are neither found nor judged on it
MAX_NUM = 10**6
CLAIM = "sample.json"
AT_ONCE = 50


class Unscored(nn.Module):
    """A scorer for pictures that nobody scores."""

    property_names = ()


def run(
    checkpoint: str, num: int, output: Path, seed: int = 0, start: int = 0, psi: float = 1.0, stream: str = STREAM
) -> str:
    """Writes pictures ``sample_000000.png`` and so on; those that are there stay. Says in a line what was written.

    Args:
        checkpoint: the generator: a shipped model's name or a file.
        num: number of pictures, 1 to 1,000,000.
        output: the folder; ``sample.json`` in it says what they were made with.
        seed: seed of z and label.
        start: number of the first picture, 0 or more.
        psi: distance of w from its average, in all layers; 1: as it is, above 1: rarer faces.
        stream: of z and label, such as ``sample``; another stream has other faces.

    Raises:
        ValueError: for values out of range, weights that are no generator, a folder that holds something else.
    """
    for name, value, low, high in (("N", num, 1, MAX_NUM), ("--start", start, 0, 10**9), ("--psi", psi, 0, 10)):
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}, expected {low} to {high}")
    generator = open_generator(checkpoint)
    space = FaceSpace(generator, Unscored(), batch_size=AT_ONCE, seed=seed)
    if output.exists() and not (output / CLAIM).exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"--output {output} holds other things than samples: choose another folder")
    made_by = {"generator": weights_hash(generator), "seed": seed, "psi": psi, "stream": stream}
    claim(output, CLAIM, made_by, "pictures")
    left = [i for i in range(start, start + num) if not path_of(output, i).exists()]
    wanted = set(left)
    with tqdm(desc="sampling", total=num, initial=num - len(left)) as bar:
        for block in sorted({i // AT_ONCE for i in left}):
            # always whole blocks: a picture's last bit depends on which others are computed with it
            indices = range(block * AT_ONCE, (block + 1) * AT_ONCE)
            for i, image in zip(indices, space.images(W(), space.w(stream, indices, psi)), strict=True):
                if i in wanted:
                    save_png(path_of(output, i), image)
                    bar.update()
    side = generator.resolution
    return f"{num} faces of {side}x{side} pixels, {len(left)} of them new: {output}"


def path_of(folder: Path, index: int) -> Path:
    return folder / f"sample_{index:06d}.png"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("sample", __doc__)
    parser.add_argument("checkpoint", help="the generator: a shipped model's name or a file")
    parser.add_argument("num", metavar="N", type=int, help="number of pictures")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first picture (default 0)")
    parser.add_argument("--psi", type=float, default=1.0, help="distance of w from its average (default 1: as it is)")
    parser.add_argument("--stream", default=STREAM, help=f"another stream has other faces (default {STREAM})")
    given = parser.parse_args(arguments)
    keep_freed_memory()
    return answer(lambda: run(**vars(given)), interrupted="interrupted; the same command goes on from here")


if __name__ == "__main__":
    sys.exit(main())
