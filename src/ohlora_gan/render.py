"""``python -m ohlora_gan.render``: faces of the embedded world as PNG files with their attributes in labels.csv.

A folder of labelled pictures to try things on, made by the same renderer that the shipped models learnt from. Face i
of a seed is the same in every run.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from ohlora_gan.command import answer, attribute_values, parser_of
from ohlora_gan.data import faces
from ohlora_gan.data.datasets import FACE_ATTRIBUTES, face_scores, matching_indices
from ohlora_gan.evaluation.pictures import save_png
from ohlora_gan.vocabulary import PROPERTIES

COLUMNS = (*PROPERTIES, *(name for name in FACE_ATTRIBUTES if name not in PROPERTIES))


def check(num: int, output: Path, size: int, start: int, keep: Mapping[str, int], columns: Sequence[str]) -> None:
    """Raises ValueError for arguments that no folder of faces can be made with."""
    for name, value, low, high in (("N", num, 1, 10**6), ("--start", start, 0, 10**9)):
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}, expected {low} to {high}")
    if not faces.MIN_SIZE <= size <= faces.MAX_SIZE:
        raise ValueError(f"--size is {size}, expected {faces.MIN_SIZE} to {faces.MAX_SIZE} pixels")
    if wrong := [f"{name}={value}" for name, value in keep.items() if name not in faces.BINARY or value not in (0, 1)]:
        raise ValueError(f"--keep has {wrong[0]}, expected 0 or 1 for some of {', '.join(faces.BINARY)}")
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise ValueError(f"--columns names {unknown[0]!r}, expected some of {', '.join(COLUMNS)}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"--output {output} is not empty: choose another folder, or delete what it holds")


def run(
    num: int,
    output: Path,
    size: int = 64,
    seed: int = 0,
    start: int = 0,
    keep: Mapping[str, int] | None = None,
    columns: Sequence[str] = COLUMNS,
) -> str:
    """Writes pictures and their labels into a new or empty folder; says in a line what was written.

    Args:
        num: number of faces, 1 to 1,000,000.
        output: gets ``labels.csv`` and a picture a face, named after the face's number.
        size: side of the pictures, 32 to 512 pixels.
        seed: seed of the world.
        start: number of the first face that may be taken.
        keep: binary attribute -> the value that all faces have, such as ``{"gender": 1}``.
        columns: attributes in the CSV: ``gender``, ``age``, ``glass`` and ``quality`` are 0 or 1, all others are in
            standard deviations from their mean.

    Raises:
        ValueError: for values out of range, unknown attributes, a folder that is not empty.
    """
    keep, columns = dict(keep or {}), list(dict.fromkeys(columns))
    check(num, output, size, start, keep, columns)
    try:
        indices = matching_indices(seed, start, num, keep)
    except ValueError as error:
        raise ValueError(str(error).replace("data.keep", "--keep")) from error
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in tqdm(indices, desc="rendering", unit="", file=sys.stderr):
        attributes = faces.sample_attributes(seed, index)
        name = f"{index:06d}.png"
        save_png(output / name, faces.render(attributes, size))
        rows.append([name, *(f"{value:.6g}" for value in face_scores(attributes, columns))])
    with (output / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", *columns], *rows])
    return f"{num} faces of {size}x{size} pixels, {len(columns)} attributes: {output / 'labels.csv'}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("render", __doc__)
    parser.add_argument("num", metavar="N", type=int, help="number of faces")
    parser.add_argument("--output", type=Path, required=True, help="a new or empty folder for pictures and labels.csv")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures in pixels (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another world (default 0)")
    parser.add_argument("--start", type=int, default=0, help="number of the first face (default 0)")
    parser.add_argument("--keep", type=attribute_values, metavar="NAME=VALUE", help="such as gender=1,quality=1")
    parser.add_argument("--columns", nargs="+", default=COLUMNS, metavar="NAME", help="default: all attributes")
    given = parser.parse_args(arguments)
    lost = "interrupted: the folder has no labels.csv yet; delete it and start again"
    return answer(lambda: run(**vars(given)), interrupted=lost)


if __name__ == "__main__":
    sys.exit(main())
