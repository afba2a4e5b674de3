"""``python -m ohlora_gan.quality``: a generator's faces beside rendered ones, in figures and as a sheet of pictures."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ohlora_gan.checkpoint import CheckpointError
from ohlora_gan.data import faces
from ohlora_gan.data.datasets import matching_indices
from ohlora_gan.devices import keep_freed_memory
from ohlora_gan.evaluation.generator_quality import measure
from ohlora_gan.evaluation.pictures import grid, save_png
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.generator import Generator
from ohlora_gan.pretrained import open_checkpoint

REFERENCE_START = 30_000_000  # faces that no training, validation or test split holds


def rendered(num: int, start: int, resolution: int, keep: dict[str, float]) -> np.ndarray:
    """uint8 faces [num, R, R, 3] of the embedded world."""
    indices = matching_indices(0, start, num, keep)
    return np.stack([faces.render(faces.sample_attributes(0, i), resolution) for i in indices])


def run(checkpoint: str, scorer: str, n: int, seed: int, keep: dict[str, float], output: Path | None) -> str:
    """Measures a generator; writes ``quality.json`` and ``sheet.png`` to ``output`` where it is given."""
    weights = open_checkpoint(checkpoint)
    generator = weights.build(weights.generator_name)
    assert isinstance(generator, Generator)
    space = FaceSpace(generator, open_checkpoint(scorer).build("scorer"), batch_size=100, seed=seed)
    images = space.images(W(), space.codes(W(), *space.latents("quality", range(n))))
    reference = rendered(n, REFERENCE_START, generator.resolution, keep)
    second = rendered(n, 2 * REFERENCE_START, generator.resolution, keep)
    quality = measure(space.scorer, images, reference, second)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        settings = {"checkpoint": checkpoint, "scorer": scorer, "n": n, "seed": seed, "keep": keep}
        (output / "quality.json").write_text(json.dumps(settings | dataclasses.asdict(quality), indent=2) + "\n")
        sheets = [grid(which[:100], columns=10) for which in (reference, images)]
        gap = np.full((sheets[0].shape[0], 24, 3), 255, dtype=np.uint8)
        save_png(output / "sheet.png", np.concatenate([sheets[0], gap, sheets[1]], axis=1))
    return quality.table()


def parse_keep(text: str) -> dict[str, float]:
    """``gender=1,quality=1`` as a dict."""
    return {name: float(value) for name, _, value in (item.partition("=") for item in text.split(",") if item)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ohlora_gan.quality", description=__doc__)
    parser.add_argument("checkpoint", help="the generator: a shipped model's name or a file")
    parser.add_argument("--scorer", default="property_cnn", help="the property CNN")
    parser.add_argument("--n", type=int, default=5000, help="faces of each kind (default 5000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", default="", help="attributes of the rendered faces, such as gender=1,quality=1")
    parser.add_argument("--output", type=Path, help="folder for quality.json and sheet.png")
    given = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        print(run(given.checkpoint, given.scorer, given.n, given.seed, parse_keep(given.keep), given.output))
    except (CheckpointError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
