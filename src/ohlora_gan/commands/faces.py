"""Folders of faces: those of a generator, and those of the embedded world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ohlora_gan.commands import Device, Folder, GeneratorName, between
from ohlora_gan.errors import answering
from ohlora_gan.options import SEED, option, read_keep

STREAM = "sample"  # directions are neither found nor judged on it
CLAIM = "sample.json"
AT_ONCE = 50
MAX_NUM, MAX_START = 10**6, 10**9

Number = Annotated[int, typer.Argument(metavar="N", help="how many", callback=between(1, MAX_NUM))]


@dataclass(frozen=True)
class Samples:
    """Which faces of a generator are written; psi above 1 gives rarer ones."""

    seed: int = option(0, **SEED)
    start: int = option(0, "number of the first face", between=(0, MAX_START))
    psi: float = option(1.0, "distance of w from its average: 1 as it is", between=(0, 10))
    stream: str = option(STREAM, "another stream has other faces")


@answering(interrupted="interrupted; the same command goes on from here")
def sample(generator: GeneratorName, num: Number, output: Folder, samples: Samples, device: Device = "cpu") -> str:
    """Fresh faces of a generator as PNG files, to label, to train on or to look at.

    Picture i of a seed and a stream is the same in every run. A run that was interrupted goes on when started again,
    and more pictures can be added to those that are there.

    \b
    Examples:
      ohlora sample v9 100 --output faces
      ohlora sample runs/train/DATE/model.safetensors 1000 --output more --seed 5 --psi 0.7
    """
    return write_samples(generator, num, samples, output, device)


def write_samples(name: str, num: int, samples: Samples, output: Path, device: str = "cpu") -> str:
    """Writes ``sample_000000.png`` and so on, and ``sample.json``; pictures that are there stay.

    Raises:
        ValueError: for weights that are no generator, or a folder that holds something else.
    """
    from ohlora_gan.devices import keep_freed_memory, open_device
    from ohlora_gan.files import claim, save_png
    from ohlora_gan.latents.layers import W
    from ohlora_gan.latents.space import FaceSpace
    from ohlora_gan.models.checkpoint import weights_hash
    from ohlora_gan.models.zoo import open_generator
    from ohlora_gan.progress import Bar

    keep_freed_memory()
    generator = open_generator(name)
    made_by = {"generator": weights_hash(generator), "seed": samples.seed, "psi": samples.psi, "stream": samples.stream}
    space = FaceSpace(generator, None, open_device(device), batch_size=AT_ONCE, seed=samples.seed)
    if output.exists() and not (output / CLAIM).exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"--output {output} holds other things than samples: choose another folder")
    claim(output, CLAIM, made_by, "pictures")
    asked = range(samples.start, samples.start + num)
    left = {i: path for i in asked if not (path := output / f"sample_{i:06d}.png").exists()}
    with Bar(desc="sampling", total=num, initial=num - len(left)) as bar:
        for block in sorted({i // AT_ONCE for i in left}):
            # always whole blocks: a picture's last bit depends on which others are computed with it
            indices = range(block * AT_ONCE, (block + 1) * AT_ONCE)
            images = space.images(W(), space.w(samples.stream, indices, samples.psi))
            for i in sorted(left.keys() & set(indices)):
                save_png(left[i], images[i - indices.start])
                bar.update()
    side = generator.resolution
    return f"{num} faces of {side}x{side} pixels, {len(left)} of them new: {output}"


@dataclass(frozen=True)
class Wanted:
    """Which faces of the embedded world are written, and what of them.

    Binary attributes are 0 or 1 in the CSV, all others in standard deviations from their mean.
    """

    size: int = option(64, "side of the pictures in pixels")
    seed: int = option(0, **SEED)
    start: int = option(0, "number of the first face", between=(0, MAX_START))
    keep: Mapping[str, int] = option(
        {}, "only these, such as gender=1,quality=1", "NAME=VALUE,...", typed=str, read=read_keep
    )
    column: Sequence[str] = option((), "", "NAME", shown="all attributes", typed=list[str])


@answering(interrupted="interrupted: the folder has no labels.csv yet; delete it and start again")
def render(
    num: Number, output: Annotated[Path, typer.Option(metavar="FOLDER", help="a new or empty folder")], wanted: Wanted
) -> str:
    """Faces of the embedded world as PNG files, with their attributes in labels.csv.

    A folder of labelled pictures to try things on. Face i of a seed is the same in every run.

    \b
    Examples:
      ohlora render 4000 --output runs/women --keep gender=1,quality=1
      ohlora render 200 --output large --size 256 --column eyes --column gender
    """
    return write_rendered(num, wanted, output)


def write_rendered(num: int, wanted: Wanted, output: Path) -> str:
    """Writes pictures, named after the faces' numbers, and ``labels.csv`` into a new or empty folder.

    Raises:
        ValueError: for values out of range, unknown attributes, a folder that is not empty.
    """
    from ohlora_gan.data.datasets import face_scores, matching_indices
    from ohlora_gan.files import save_png, write_rows
    from ohlora_gan.names import PROPERTIES
    from ohlora_gan.progress import Bar
    from ohlora_gan.world.face import ATTRIBUTES, BINARY, sample_attributes
    from ohlora_gan.world.painter import MAX_SIZE, MIN_SIZE
    from ohlora_gan.world.painter import render as rendered

    if not MIN_SIZE <= wanted.size <= MAX_SIZE:
        raise ValueError(f"--size is {wanted.size}, expected {MIN_SIZE} to {MAX_SIZE} pixels")
    for name, value in wanted.keep.items():
        if name not in BINARY or value not in (0, 1):
            raise ValueError(f"--keep has {name}={value}, expected 0 or 1 for some of {', '.join(BINARY)}")
    known = (*PROPERTIES, *(name for name in ATTRIBUTES if name not in PROPERTIES))
    columns = list(dict.fromkeys(wanted.column or known))
    if unknown := [name for name in columns if name not in known]:
        raise ValueError(f"--column names {unknown[0]!r}, expected some of {', '.join(known)}")
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output {output} is a file: choose a new or an empty folder")
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"--output {output} is not empty: choose another folder, or delete what it holds")
    try:
        indices = matching_indices(wanted.seed, wanted.start, num, wanted.keep)
    except ValueError as error:
        raise ValueError(str(error).replace("data.keep", "--keep")) from error
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in Bar(indices, desc="rendering", unit=""):
        attributes = sample_attributes(wanted.seed, index)
        name = f"{index:06d}.png"
        save_png(output / name, rendered(attributes, wanted.size))
        rows.append([name, *(f"{value:.6g}" for value in face_scores(attributes, columns))])
    write_rows(output / "labels.csv", [["file", *columns], *rows])
    said = f"{num} faces, {wanted.size}x{wanted.size} pixels, {len(columns)} attributes"
    return f"{said}: {output / 'labels.csv'}"
