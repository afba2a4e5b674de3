"""``ohlora render``: faces of the embedded world as PNG files with their attributes in labels.csv.

A folder of labelled pictures to try things on. Face i of a seed is the same in every run. The shipped models have
learnt from the faces of --world 1.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ohlora_gan.data.datasets import face_scores, matching_indices
from ohlora_gan.errors import answer, attribute_values, parser_of
from ohlora_gan.files import write_rows
from ohlora_gan.images import save_png
from ohlora_gan.names import PROPERTIES
from ohlora_gan.world.versions import LATEST, SHIPPED, open_world


def columns_of(world: int) -> tuple[str, ...]:
    """The attributes that a world's faces have, the eight properties first."""
    return (*PROPERTIES, *(name for name in open_world(world).attributes if name not in PROPERTIES))


@dataclass(frozen=True)
class Wanted:
    """Which faces are written, and what of them.

    Attributes:
        num: number of faces, 1 to 1,000,000.
        size: side of the pictures, 32 to 512 pixels.
        seed: seed of the faces.
        start: number of the first face that may be taken.
        keep: binary attribute -> the value that all faces have, such as ``{"gender": 1}``.
        columns: attributes in the CSV: ``gender``, ``age``, ``glass`` and ``quality`` are 0 or 1, all others are in
            standard deviations from their mean. None: all attributes.
        world: version of the embedded world.
    """

    num: int
    size: int = 64
    seed: int = 0
    start: int = 0
    keep: Mapping[str, int] = field(default_factory=dict)
    columns: Sequence[str] | None = None
    world: int = LATEST

    @property
    def names(self) -> list[str]:
        """The CSV's attributes, each once."""
        return list(dict.fromkeys(columns_of(self.world) if self.columns is None else self.columns))

    def check(self) -> None:
        """Raises ValueError for faces that cannot be made."""
        world = open_world(self.world)
        for name, value, low, high in (("N", self.num, 1, 10**6), ("--start", self.start, 0, 10**9)):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, expected {low} to {high}")
        if not world.MIN_SIZE <= self.size <= world.MAX_SIZE:
            raise ValueError(f"--size is {self.size}, expected {world.MIN_SIZE} to {world.MAX_SIZE} pixels")
        for name, value in self.keep.items():
            if name not in world.BINARY or value not in (0, 1):
                raise ValueError(f"--keep has {name}={value}, expected 0 or 1 for some of {', '.join(world.BINARY)}")
        known = columns_of(self.world)
        if unknown := [name for name in self.names if name not in known]:
            raise ValueError(f"--columns names {unknown[0]!r}, expected some of {', '.join(known)}")

    def indices(self) -> list[int]:
        """The faces' numbers.

        Raises:
            ValueError: if none of many faces is as asked for.
        """
        try:
            return matching_indices(self.seed, self.start, self.num, self.keep, world=self.world)
        except ValueError as error:
            raise ValueError(str(error).replace("data.keep", "--keep")) from error


def run(wanted: Wanted, output: Path) -> str:
    """Writes pictures and their labels into a new or empty folder; says in a line what was written.

    Args:
        wanted: which faces.
        output: gets ``labels.csv`` and a picture a face, named after the face's number.

    Raises:
        ValueError: for values out of range, unknown attributes, a folder that is not empty.
    """
    wanted.check()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"--output {output} is not empty: choose another folder, or delete what it holds")
    world, columns, indices = open_world(wanted.world), wanted.names, wanted.indices()
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in tqdm(indices, desc="rendering", unit="", file=sys.stderr):
        attributes = world.sample_attributes(wanted.seed, index)
        name = f"{index:06d}.png"
        save_png(output / name, world.render(attributes, wanted.size))
        rows.append([name, *(f"{value:.6g}" for value in face_scores(world, attributes, columns))])
    write_rows(output / "labels.csv", [["file", *columns], *rows])
    side = wanted.size
    return (
        f"{wanted.num} faces of world {world.version}, {side}x{side} pixels, {len(columns)} attributes: "
        f"{output / 'labels.csv'}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("render", __doc__)
    parser.add_argument("num", metavar="N", type=int, help="number of faces")
    parser.add_argument("--output", type=Path, required=True, help="a new or empty folder for pictures and labels.csv")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures in pixels (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other faces (default 0)")
    parser.add_argument("--start", type=int, default=0, help="number of the first face (default 0)")
    parser.add_argument(
        "--keep", type=attribute_values, default={}, metavar="NAME=VALUE", help="such as gender=1,quality=1"
    )
    parser.add_argument("--columns", nargs="+", metavar="NAME", help="default: all attributes")
    parser.add_argument(
        "--world", type=int, default=LATEST, help=f"{SHIPPED}: faces that the shipped models know (default {LATEST})"
    )
    given = vars(parser.parse_args(arguments))
    output = given.pop("output")
    lost = "interrupted: the folder has no labels.csv yet; delete it and start again"
    return answer(lambda: run(Wanted(**given), output), interrupted=lost)


if __name__ == "__main__":
    sys.exit(main())
