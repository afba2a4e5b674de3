"""Pictures of faces -> property scores: photographs by their landmarks or a segmenter, ready parse maps as they are.

Of a photograph the largest central square is labelled, as it is what training sees.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.data.datasets import Normalization, ParseFolder, fit_normalization
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
from ohlora_gan.data.parse_scores import CHUNK, MAP_SIZE, Generation, Scores, score_maps, warn_of_missing
from ohlora_gan.data.pictures import PictureSource, UnusablePictureError, to_square, write_skipped
from ohlora_gan.files import claim, save_png, write_rows
from ohlora_gan.names import PROPERTIES
from ohlora_gan.options import Labelling, Parsing
from ohlora_gan.progress import Bar
from ohlora_gan.reading import open_picture
from ohlora_gan.reports.pages import map_sheet

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
    """The central square of a picture, uint8 ``[S, S, 3]``; by default as large as it is, up to ``MAX_SIZE``."""
    picture = source.picture(name, MIN_SIZE)
    return to_square(picture, size or min(*picture.size, MAX_SIZE))


def cell(value: float) -> str:
    """A score in a table: empty where it is not known."""
    return "" if np.isnan(value) else f"{value:.10g}"


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
    for name in Bar(left, desc="pictures", initial=len(done), total=len(source.names), unit=""):
        try:
            measures, codes = labeller(name, read_square(source, name))
        except (UnusablePictureError, NoFace, SeveralFaces) as error:
            skipped.add(name, str(error))
            continue
        scores = score_maps(codes[None], read_square(source, name, MAP_SIZE)[None], generation)
        values = measures | {key: float(value[0]) for key, value in scores.items()}
        save_png(maps[name], codes)
        rows.add(name, *(cell(values[key]) for key in rows.columns))
    rows.keep(source.names)
    skipped.keep(source.names)


def write_sheet(path: Path, source: PictureSource, maps: Mapping[str, Path], captions: Mapping[str, str]) -> None:
    """The named pictures beside their maps."""
    images = [read_square(source, name, MAP_SIZE) for name in captions]
    save_png(path, map_sheet(images, [np.asarray(open_picture(maps[n])) for n in captions], list(captions.values())))


def highest(rows: Rows, column: str, num: int) -> dict[str, str]:
    """Captions of the pictures with the highest values of a column, by size where it has a sign."""
    values = rows.numbers(column)
    order = np.argsort(-(np.abs(values) if column in SIGNED else values), kind="stable")  # NaN comes last
    names = list(rows.cells)
    return {names[i]: f"{Path(names[i]).name} {values[i]:.3g}" for i in order[:num] if np.isfinite(values[i])}


def label(pictures: str, output: Path, how: Labelling) -> str:
    """Labels pictures (a folder, searched with its sub-folders, or a zip file); says in a few lines what was found.

    The output folder gets labels.csv, skipped.csv (file, reason), maps/NAME.png, sheet.png and top_COLUMN.png. One of
    another run is refused, and so is a run in which no picture can be labelled.
    """
    try:
        source = PictureSource(pictures)
    except ValueError as error:
        raise ValueError(f"PICTURES: {str(error).removeprefix('data.folder=')}") from error
    with_landmarks = not how.maps and how.segmenter == LANDMARKS
    columns = (*MEASURES, *PROPERTIES) if with_landmarks else PROPERTIES
    if unknown := [column for column in how.tops if column not in columns]:
        raise ValueError(f"--top names {', '.join(unknown)}, expected some of {', '.join(columns)}")
    map_names = map_names_of(source.names)
    if how.maps:
        labeller = by_folder(how.maps, map_names)
    else:
        labeller = by_landmarks if with_landmarks else by_callable(how.segmenter)
    made_by = {"pictures": pictures, "segmenter": how.segmenter, "maps": str(how.maps or "")}
    made_by |= {"generation": how.generation}
    made_by |= {"landmarks": LANDMARKS_METHOD} if with_landmarks else {}  # of other landmarks no folder may hold some
    claim(output, "label.json", made_by, "labels")
    (output / "maps").mkdir(exist_ok=True)
    paths = {name: output / "maps" / map_names[name] for name in source.names}
    rows, skipped = Rows(output / "labels.csv", columns), Rows(output / "skipped.csv", ("reason",))
    label_all(source, paths, labeller, how.generation, rows, skipped)
    if not rows.cells:
        raise ValueError(f"none of {len(source.names)} pictures can be labelled: see {output / 'skipped.csv'}")
    chosen = list(rows.cells)[:: -(-len(rows.cells) // ON_SHEET)]
    write_sheet(output / "sheet.png", source, paths, {name: Path(name).name for name in chosen})
    for column, num in how.tops.items():
        write_sheet(output / f"top_{column}.png", source, paths, highest(rows, column, num))
    warn_of_missing({column: rows.numbers(column) for column in columns})
    sheets = ", ".join(str(output / f"{name}.png") for name in ("sheet", *(f"top_{column}" for column in how.tops)))
    reasons = Counter(reason for (reason,) in skipped.cells.values())
    lines = [f"{num} skipped: {reason}" for reason, num in reasons.most_common(5)]
    labelled = f"{len(rows.cells)} of {len(source.names)} pictures labelled: {output / 'labels.csv'}"
    return "\n".join([*lines, f"to look at: {sheets}", labelled])


def score_folder(folder: ParseFolder, generation: Generation) -> tuple[list[int], Scores]:
    """Numbers and raw scores of all faces that can be read, a chunk in memory at a time."""
    numbers: list[int] = []
    parts: list[Scores] = []
    faces = iter(Bar(folder, desc=str(folder.folder), unit=" faces"))
    while chunk := list(islice(faces, CHUNK)):
        numbers += [number for number, _, _ in chunk]
        maps, images = (np.stack([face[i] for face in chunk]) for i in (1, 2))
        parts.append(score_maps(maps, images, generation))
    scores = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    warn_of_missing(scores)
    return numbers, scores


def parse_folder(folder: str, output: Path, how: Parsing) -> str:
    """Scores a folder of faces and parse maps (``data.datasets.ParseFolder``); says in a few lines what was written.

    ``output`` is the CSV: a row a face, its file's name, then its scores. Beside it come ``_normalization.json`` and,
    where files were left out, ``_skipped.csv``.
    """
    properties = how.properties or PROPERTIES
    if unknown := [name for name in properties if name not in PROPERTIES]:
        raise ValueError(f"properties has {unknown[0]!r}, expected some of {','.join(PROPERTIES)}")
    if output.is_dir():
        raise ValueError(f"output {output} is a folder, expected a file: give {output / 'labels.csv'}")
    statistics, left_out = (output.with_name(f"{output.stem}_{name}") for name in ("normalization.json", "skipped.csv"))
    faces = ParseFolder(folder)
    known = Normalization.load(how.normalization) if how.normalization else None
    numbers, scores = score_folder(faces, how.generation)
    scores = {name: scores[name] for name in properties}
    write_skipped(left_out, faces.skipped)
    lines = []
    if not how.raw:
        normalization = known or fit_normalization(scores)
        scores = normalization.apply(scores)
        normalization.save(statistics)
        lines.append(f"normalised by {how.normalization or 'mean and deviation'}: {statistics}")
    names = [faces.faces[number].name for number in numbers]
    columns = [map(cell, values) for values in scores.values()]
    write_rows(output, [["file", *scores], *zip(names, *columns, strict=True)])
    if faces.skipped:
        lines.append(f"{len(faces.skipped)} files left out: {left_out}")
    return "\n".join([*lines, f"{len(numbers)} faces, {len(scores)} properties ({how.generation}): {output}"])
