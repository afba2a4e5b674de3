"""``ohlora label``: photographs -> parse maps, property scores and raw measures of the faces in them.

A picture's largest central square is labelled, as it is what training sees. A run that was interrupted goes on when
started again; pictures added later are labelled, the others stay.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from ohlora_gan.data.labels import Rows
from ohlora_gan.data.landmarks import (
    LANDMARKS,
    MEASURES,
    Labeller,
    NoFace,
    SeveralFaces,
    by_callable,
    by_folder,
    by_landmarks,
)
from ohlora_gan.data.landmarks import METHOD as LANDMARKS_METHOD
from ohlora_gan.data.parse_scores import MAP_SIZE, Generation, MissingScoreWarning, score_chunks, warn_of_missing
from ohlora_gan.data.pictures import PictureSource, UnusablePictureError, decode, to_square
from ohlora_gan.errors import answer, claim, parser_of
from ohlora_gan.images import save_png
from ohlora_gan.names import PROPERTIES
from ohlora_gan.reports.pictures import map_sheet

Bytes = NDArray[np.uint8]
MIN_SIZE, MAX_SIZE = 16, 512  # smaller pictures are skipped, larger ones reduced before a segmenter sees them
SIGNED = ("tilt", "turn", "pose")
ON_SHEET = 100


def map_names_of(names: Sequence[str]) -> dict[str, str]:
    """Picture -> its map's name: the ending becomes .png, or is kept before it where two pictures have one stem."""
    stems = {name: Path(name).with_suffix("").as_posix() for name in names}
    num = Counter(stems.values())
    return {name: f"{stem}.png" if num[stem] == 1 else f"{name}.png" for name, stem in stems.items()}


def read_square(source: PictureSource, name: str, size: int | None = None) -> Bytes:
    """The central square of a picture, uint8 ``[S, S, 3]``; by default as large as it is, up to ``MAX_SIZE``.

    Raises:
        UnusablePictureError: with the reason.
    """
    picture = decode(source.read(name), MIN_SIZE)
    return to_square(picture, size or min(*picture.size, MAX_SIZE))


def open_source(pictures: str) -> PictureSource:
    """The pictures; ValueError that names the argument if there are none."""
    try:
        return PictureSource(pictures)
    except ValueError as error:
        raise ValueError(f"PICTURES: {str(error).removeprefix('data.folder=')}") from error


def label_all(
    source: PictureSource,
    maps: Mapping[str, Path],
    labeller: Labeller,
    generation: Generation,
    rows: Rows,
    skipped: Rows,
) -> None:
    """Labels the pictures that neither table holds yet, and brings both tables into the pictures' order."""
    done = {name for name in source.names if name in skipped.cells or (name in rows.cells and maps[name].exists())}
    left = [name for name in source.names if name not in done]
    for name in tqdm(left, desc="pictures", initial=len(done), total=len(source.names), unit="", file=sys.stderr):
        try:
            measures, codes = labeller(name, read_square(source, name))
        except (UnusablePictureError, NoFace, SeveralFaces) as error:
            skipped.add(name, str(error))
            continue
        scores = score_chunks(codes[None], read_square(source, name, MAP_SIZE)[None], generation)
        values = measures | {key: float(value[0]) for key, value in scores.items()}
        save_png(maps[name], codes)
        rows.add(name, *("" if np.isnan(values[key]) else f"{values[key]:.10g}" for key in rows.columns))
    rows.keep(source.names)
    skipped.keep(source.names)


def write_sheet(path: Path, source: PictureSource, maps: Mapping[str, Path], captions: Mapping[str, str]) -> None:
    """The named pictures beside their maps."""
    images = [read_square(source, name, MAP_SIZE) for name in captions]
    save_png(path, map_sheet(images, [np.asarray(Image.open(maps[n])) for n in captions], list(captions.values())))


def highest(rows: Rows, column: str, num: int) -> dict[str, str]:
    """Captions of the pictures with the highest values of a column, by size where it has a sign."""
    values = rows.numbers(column)
    order = np.argsort(-(np.abs(values) if column in SIGNED else values), kind="stable")  # NaN comes last
    names = list(rows.cells)
    return {names[i]: f"{Path(names[i]).name} {values[i]:.3g}" for i in order[:num] if np.isfinite(values[i])}


def labeller_of(segmenter: str, maps: Path | None, map_names: Mapping[str, str]) -> Labeller:
    """What makes the maps, as the arguments ask."""
    if maps:
        return by_folder(maps, map_names)
    return by_landmarks if segmenter == LANDMARKS else by_callable(segmenter)


def summary(output: Path, source: PictureSource, rows: Rows, skipped: Rows, tops: Mapping[str, int]) -> str:
    """What a run found, in a few lines."""
    sheets = ", ".join(str(output / f"{name}.png") for name in ("sheet", *(f"top_{column}" for column in tops)))
    lines = [f"{len(rows.cells)} of {len(source.names)} pictures labelled: {output / 'labels.csv'}"]
    reasons = Counter(reason for (reason,) in skipped.cells.values())
    lines += [f"{num} skipped: {reason}" for reason, num in reasons.most_common(5)]
    return "\n".join([*lines, f"to look at: {sheets}"])


def run(
    pictures: str,
    output: Path,
    segmenter: str = LANDMARKS,
    maps: Path | None = None,
    generation: Generation = "v2",
    tops: Mapping[str, int] | None = None,
) -> str:
    """Labels pictures into a folder; says in a few lines what was found.

    Args:
        pictures: a folder, searched with its sub-folders, or a zip file.
        output: gets labels.csv, skipped.csv (file, reason), maps/NAME.png, sheet.png and top_COLUMN.png.
        segmenter: ``landmarks`` or ``MODULE:CALLABLE``.
        maps: a folder of ready parse maps to use instead.
        generation: of the scores' algorithms.
        tops: column -> how many pictures with its highest values to show.

    Raises:
        ValueError: for pictures, a segmenter or a column that is not there, another run's output folder, or if no
            picture can be labelled.
    """
    source, tops = open_source(pictures), tops or {}
    columns = PROPERTIES if maps or segmenter != LANDMARKS else (*MEASURES, *PROPERTIES)
    if unknown := [column for column in tops if column not in columns]:
        raise ValueError(f"--top names {', '.join(unknown)}, expected some of {', '.join(columns)}")
    map_names = map_names_of(source.names)
    labeller = labeller_of(segmenter, maps, map_names)
    made_by = {"pictures": pictures, "segmenter": segmenter, "maps": str(maps or ""), "generation": generation}
    if labeller is by_landmarks:
        made_by["landmarks"] = LANDMARKS_METHOD  # of other landmarks no folder may hold some
    claim(output, "label.json", made_by, "labels")
    (output / "maps").mkdir(exist_ok=True)
    paths = {name: output / "maps" / map_names[name] for name in source.names}
    rows, skipped = Rows(output / "labels.csv", columns), Rows(output / "skipped.csv", ("reason",))
    label_all(source, paths, labeller, generation, rows, skipped)
    if not rows.cells:
        raise ValueError(f"none of {len(source.names)} pictures can be labelled: see {output / 'skipped.csv'}")
    chosen = list(rows.cells)[:: -(-len(rows.cells) // ON_SHEET)]
    write_sheet(output / "sheet.png", source, paths, {name: Path(name).name for name in chosen})
    for column, num in tops.items():
        write_sheet(output / f"top_{column}.png", source, paths, highest(rows, column, num))
    warn_of_missing({column: rows.numbers(column) for column in columns})
    return summary(output, source, rows, skipped, tops)


def parse_top(text: str) -> tuple[str, int]:
    """``mouth=10`` as (column, number)."""
    column, _, num = text.partition("=")
    if not column or not num.isdigit() or int(num) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected COLUMN=NUMBER such as mouth=10")
    return column, int(num)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("label", __doc__)
    parser.add_argument("pictures", metavar="PICTURES", help="a folder, searched with its sub-folders, or a zip file")
    parser.add_argument("--output", type=Path, required=True, help="folder for labels.csv, maps, sheets")
    parser.add_argument("--generation", choices=("v1", "v2"), default="v2", help="of the scores (default v2)")
    parser.add_argument(
        "--top", nargs="+", type=parse_top, default=[], metavar="COLUMN=N", help="show the N highest, as top_COLUMN.png"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--segmenter", default=LANDMARKS, help="landmarks (default) or MODULE:CALLABLE")
    how.add_argument("--maps", type=Path, metavar="FOLDER", help="ready parse maps, named as the pictures")
    given = parser.parse_args(arguments)
    return answer(
        lambda: run(given.pictures, given.output, given.segmenter, given.maps, given.generation, dict(given.top)),
        interrupted="interrupted; the same command goes on from here",
        warns=MissingScoreWarning,
    )


if __name__ == "__main__":
    sys.exit(main())
