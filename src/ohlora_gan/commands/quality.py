"""``ohlora quality``: a generator's faces beside rendered ones or photographs, in figures and a sheet."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ohlora_gan import rng
from ohlora_gan.data.datasets import matching_indices
from ohlora_gan.data.image_folder import ImageFolderDataModule
from ohlora_gan.data.landmarks import measure as measure_landmarks
from ohlora_gan.devices import keep_freed_memory
from ohlora_gan.errors import answer, attribute_values, parser_of
from ohlora_gan.files import write_json
from ohlora_gan.images import grid, save_png
from ohlora_gan.judging.quality import measure
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.zoo import open_generator, open_scorer
from ohlora_gan.world.same_world import Member, check_same_world, network
from ohlora_gan.world.versions import SHIPPED, World, open_world

REFERENCE_START = 30_000_000  # faces that no training, validation or test split holds


@dataclass(frozen=True)
class Reference:
    """What a generator's faces are compared with.

    Attributes:
        keep: attributes that rendered faces have.
        pictures: photographs to take instead of rendered faces: a folder or a zip file.
        world: version of the embedded world; None: that of the networks, or where they say of none the shipped models'.
    """

    keep: Mapping[str, float] = field(default_factory=dict)
    pictures: Path | None = None
    world: int | None = None

    def chosen_world(self, checkpoint: str, scorer: str) -> int | None:
        """The version that is rendered; None for photographs.

        Raises:
            ValueError: if the networks have learnt from another one.
        """
        used = network("generator", checkpoint, called="checkpoint"), network("scorer", scorer)
        if self.pictures:
            check_same_world(*used)
            return None
        if self.world is None:
            return check_same_world(*used) or SHIPPED
        rendered = Member(f"--world {self.world} renders world {self.world}", open_world(self.world).version)
        return check_same_world(rendered, *used)

    def sets(self, num: int, resolution: int, seed: int, world: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Two sets of uint8 pictures [num, R, R, 3] which share none; of photographs where ``world`` is None."""
        if self.pictures and world is None:
            return photographs(self.pictures, num, resolution, seed)
        faces = open_world(world or SHIPPED)
        starts = (REFERENCE_START, 2 * REFERENCE_START)
        first, second = (rendered(faces, num, start, resolution, self.keep) for start in starts)
        return first, second


def rendered(faces: World, num: int, start: int, resolution: int, keep: Mapping[str, float]) -> np.ndarray:
    """uint8 faces [num, R, R, 3] of the embedded world."""
    indices = matching_indices(0, start, num, keep, world=faces.version)
    return np.stack([faces.render(faces.sample_attributes(0, i), resolution) for i in indices])


def photographs(folder: Path, num: int, resolution: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of uint8 pictures [num, R, R, 3] of a folder or zip, which share none.

    Raises:
        ValueError: if it holds fewer than two sets.
    """
    found = ImageFolderDataModule(folder, resolution).pictures
    if len(found) < 2 * num:
        raise ValueError(f"--n {num} takes {2 * num} pictures, {folder} holds {len(found)}: give a smaller --n")
    order = rng.stream(seed, "quality/photographs", 0).permutation(len(found))
    pictures = np.stack([found[int(i)] for i in order[: 2 * num]])
    return pictures[:num], pictures[num:]


def run(
    checkpoint: str,
    scorer: str,
    reference: Reference,
    n: int = 5000,
    seed: int = 0,
    output: Path | None = None,
    landmarks: bool = False,
) -> str:
    """Measures a generator; writes ``quality.json`` and ``sheet.png`` to ``output`` where it is given.

    Args:
        checkpoint, scorer: shipped models' names or files.
        reference: what its faces are compared with.
        n: faces of each kind.
        seed: of the generator's latents and of the choice of photographs.
        output: a folder.
        landmarks: find faces in the first 1,000 images of each kind, too (extra ``landmarks``).

    Raises:
        ValueError: for networks that cannot be used, or go neither with each other nor with the rendered faces.
    """
    world = reference.chosen_world(checkpoint, scorer)
    generator = open_generator(checkpoint)
    space = FaceSpace(generator, open_scorer(scorer), batch_size=100, seed=seed)
    images = space.images(W(), space.w("quality", range(n)))
    first, second = reference.sets(n, generator.resolution, seed, world)
    quality = measure(space.scorer, images, first, second)
    found = {}
    if landmarks:
        found = {"faces_found": share_found(images[:1000]), "faces_found_reference": share_found(first[:1000])}
    if output:
        settings = {"checkpoint": checkpoint, "scorer": scorer, "n": n, "seed": seed, "world": world}
        figures = {**settings, "keep": dict(reference.keep), **found, **dataclasses.asdict(quality)}
        write(output, figures, first, images)
    return "\n".join([quality.table(), *(f"{name}: {share:.3f}" for name, share in found.items())])


def write(folder: Path, figures: Mapping[str, Any], reference: np.ndarray, images: np.ndarray) -> None:
    """Writes ``quality.json``, and ``sheet.png``: a hundred pictures of the reference beside a hundred faces."""
    write_json(folder / "quality.json", figures)
    sheets = [grid(which[:100], columns=10) for which in (reference, images)]
    gap = np.full((sheets[0].shape[0], 24, 3), 255, dtype=np.uint8)
    save_png(folder / "sheet.png", np.concatenate([sheets[0], gap, sheets[1]], axis=1))


def share_found(images: np.ndarray) -> float:
    """The share of uint8 images [N, R, R, 3] in which the face mesh finds a face."""
    return float(measure_landmarks(images)["found"].mean())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("quality", __doc__)
    parser.add_argument("checkpoint", help="the generator: a shipped model's name or a file")
    parser.add_argument("--scorer", default="property_cnn", help="the property CNN")
    parser.add_argument("--n", type=int, default=5000, help="faces of each kind (default 5000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=attribute_values, default={}, help="attributes of the rendered faces, such as gender=1,quality=1"
    )
    parser.add_argument("--pictures", type=Path, help="compare with these photographs: a folder or a zip file")
    parser.add_argument("--world", type=int, help="of the rendered faces (default: what the networks have learnt from)")
    parser.add_argument("--landmarks", action="store_true", help="in what share of the images a face is found, too")
    parser.add_argument("--output", type=Path, help="folder for quality.json and sheet.png")
    given = vars(parser.parse_args(arguments))
    reference = Reference(given.pop("keep"), given.pop("pictures"), given.pop("world"))
    keep_freed_memory()
    return answer(lambda: run(reference=reference, **given))


if __name__ == "__main__":
    sys.exit(main())
