"""Pictures of faces -> property scores: photographs by their landmarks or a segmenter, ready parse maps as they are.

Of a photograph the largest central square is labelled, as it is what training sees.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

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
from ohlora_gan.data.pictures import PictureSource, UnusablePictureError, decode, to_square, write_skipped
from ohlora_gan.files import claim, write_rows
from ohlora_gan.images import save_png
from ohlora_gan.names import PROPERTIES
from ohlora_gan.options import Labelling, Parsing
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
    for name in tqdm(left, desc="pictures", initial=len(done), total=len(source.names), unit=""):
        try:
            measures, codes = labeller(name, read_square(source, name))
        except (UnusablePictureError, NoFace, SeveralFaces) as error:
            skipped.add(name, str(error))
            continue
        scores = score_maps(codes[None], read_square(source, name, MAP_SIZE)[None], generation)
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
    reasons = Counter(reason for (reason,) in skipped.cells.values())
    lines = [f"{num} skipped: {reason}" for reason, num in reasons.most_common(5)]
    labelled = f"{len(rows.cells)} of {len(source.names)} pictures labelled: {output / 'labels.csv'}"
    return "\n".join([*lines, f"to look at: {sheets}", labelled])


def columns_of(how: Labelling) -> tuple[str, ...]:
    """Of the labels; landmarks alone give raw measures."""
    return PROPERTIES if how.maps or how.segmenter != LANDMARKS else (*MEASURES, *PROPERTIES)


def label(pictures: str, output: Path, how: Labelling) -> str:
    """Labels pictures into a folder; says in a few lines what was found.

    Args:
        pictures: a folder, searched with its sub-folders, or a zip file.
        output: gets labels.csv, skipped.csv (file, reason), maps/NAME.png, sheet.png and top_COLUMN.png.

    Raises:
        ValueError: for pictures, a segmenter or a column that is not there, another run's output folder, or if no
            picture can be labelled.
    """
    source, columns = open_source(pictures), columns_of(how)
    if unknown := [column for column in how.tops if column not in columns]:
        raise ValueError(f"--top names {', '.join(unknown)}, expected some of {', '.join(columns)}")
    map_names = map_names_of(source.names)
    labeller = labeller_of(how.segmenter, how.maps, map_names)
    made_by = {"pictures": pictures, "segmenter": how.segmenter, "maps": str(how.maps or "")}
    made_by["generation"] = how.generation
    if labeller is by_landmarks:
        made_by["landmarks"] = LANDMARKS_METHOD  # of other landmarks no folder may hold some
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
    return summary(output, source, rows, skipped, how.tops)


# --- A folder of faces and parse maps in the published system's layout ---


def beside(output: Path, what: str) -> Path:
    """A companion of the CSV: ``labels.csv`` -> ``labels_<what>``."""
    return output.with_name(f"{output.stem}_{what}")


def score_folder(folder: ParseFolder, generation: Generation) -> tuple[list[int], Scores]:
    """Numbers and raw scores of all faces that can be read, a chunk in memory at a time."""
    numbers: list[int] = []
    parts: list[Scores] = []
    faces = iter(tqdm(folder, desc=str(folder.folder), unit=" faces"))
    while chunk := list(islice(faces, CHUNK)):
        numbers += [number for number, _, _ in chunk]
        maps, images = (np.stack([face[i] for face in chunk]) for i in (1, 2))
        parts.append(score_maps(maps, images, generation))
    scores = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    warn_of_missing(scores)
    return numbers, scores


def write_labels(path: Path, files: Sequence[Path], scores: Mapping[str, NDArray[np.float64]]) -> None:
    """One row a face: its file's name, then its scores; an unknown score is an empty cell."""
    columns = [["" if np.isnan(value) else f"{value:.10g}" for value in values] for values in scores.values()]
    write_rows(path, [["file", *scores], *zip([face.name for face in files], *columns, strict=True)])


def parse_folder(folder: str, output: Path, how: Parsing) -> str:
    """Scores a folder into ``output`` and its companions; says in a few lines what was written.

    Args:
        folder: faces and parse maps, see ``data.datasets.ParseFolder``.
        output: the CSV; beside it ``_normalization.json`` and, where files were left out, ``_skipped.csv``.

    Raises:
        ValueError: for a folder that cannot be used, an unknown property, scores that cannot be normalised.
    """
    properties = how.properties or PROPERTIES
    if unknown := [name for name in properties if name not in PROPERTIES]:
        raise ValueError(f"properties has {unknown[0]!r}, expected some of {','.join(PROPERTIES)}")
    if output.is_dir():
        raise ValueError(f"output {output} is a folder, expected a file: give {output / 'labels.csv'}")
    faces = ParseFolder(folder)
    known = Normalization.load(how.normalization) if how.normalization else None
    numbers, scores = score_folder(faces, how.generation)
    scores = {name: scores[name] for name in properties}
    write_skipped(beside(output, "skipped.csv"), faces.skipped)
    lines = []
    if not how.raw:
        normalization = known or fit_normalization(scores)
        scores = normalization.apply(scores)
        normalization.save(beside(output, "normalization.json"))
        lines.append(
            f"normalised by {how.normalization or 'mean and deviation'}: {beside(output, 'normalization.json')}"
        )
    write_labels(output, [faces.faces[number] for number in numbers], scores)
    if faces.skipped:
        lines.append(f"{len(faces.skipped)} files left out: {beside(output, 'skipped.csv')}")
    return "\n".join([*lines, f"{len(numbers)} faces, {len(scores)} properties ({how.generation}): {output}"])
