"""``ohlora parse-folder``: a folder of faces and parse maps -> property scores as labels.csv."""

import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ohlora_gan.data.datasets import Normalization, ParseFolder, fit_normalization, read_parse_folder
from ohlora_gan.data.parse_scores import CHUNK, Generation, MissingScoreWarning, Scores, score_chunks, warn_of_missing
from ohlora_gan.data.pictures import write_skipped
from ohlora_gan.errors import answer, parser_of
from ohlora_gan.files import write_rows
from ohlora_gan.names import PROPERTIES


def beside(output: Path, what: str) -> Path:
    """A companion of the CSV: ``labels.csv`` -> ``labels_<what>``."""
    return output.with_name(f"{output.stem}_{what}")


def score_folder(folder: ParseFolder, generation: Generation) -> tuple[list[int], Scores]:
    """Numbers and raw scores of all faces that can be read, a chunk in memory at a time."""
    numbers: list[int] = []
    parts: list[Scores] = []
    faces = iter(tqdm(folder, desc=str(folder.folder), unit=" faces", file=sys.stderr))
    while chunk := list(islice(faces, CHUNK)):
        numbers += [number for number, _, _ in chunk]
        maps, images = (np.stack([face[i] for face in chunk]) for i in (1, 2))
        parts.append(score_chunks(maps, images, generation))
    scores = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    warn_of_missing(scores)
    return numbers, scores


def write_labels(path: Path, files: Sequence[Path], scores: Mapping[str, NDArray[np.float64]]) -> None:
    """One row a face: its file's name, then its scores; an unknown score is an empty cell."""
    columns = [["" if np.isnan(value) else f"{value:.10g}" for value in values] for values in scores.values()]
    write_rows(path, [["file", *scores], *zip([face.name for face in files], *columns, strict=True)])


def run(
    folder: str,
    output: Path,
    generation: Generation = "v2",
    properties: Sequence[str] = PROPERTIES,
    raw: bool = False,
    statistics: str | None = None,
) -> str:
    """Scores a folder into ``output`` and its companions; says in a few lines what was written.

    Args:
        folder: faces and parse maps, see ``data.parsed_faces.ParseFolder``.
        output: the CSV; beside it ``_normalization.json`` and, where files were left out, ``_skipped.csv``.
        generation: of the algorithms.
        properties: the columns.
        raw: write the scores as measured, without normalisation.
        statistics: normalise by a saved file's statistics instead of this folder's own.

    Raises:
        ValueError: for a folder that cannot be used, an unknown property, scores that cannot be normalised.
    """
    if unknown := [name for name in properties if name not in PROPERTIES]:
        raise ValueError(f"properties has {unknown[0]!r}, expected some of {','.join(PROPERTIES)}")
    if output.is_dir():
        raise ValueError(f"output {output} is a folder, expected a file: give {output / 'labels.csv'}")
    faces = read_parse_folder(folder)
    known = Normalization.load(statistics) if statistics else None
    numbers, scores = score_folder(faces, generation)
    scores = {name: scores[name] for name in properties}
    write_skipped(beside(output, "skipped.csv"), faces.skipped)
    lines = [f"{len(numbers)} faces, {len(scores)} properties ({generation}): {output}"]
    if not raw:
        normalization = known or fit_normalization(scores)
        scores = normalization.apply(scores)
        normalization.save(beside(output, "normalization.json"))
        lines.append(f"normalised by {statistics or 'mean and deviation'}: {beside(output, 'normalization.json')}")
    write_labels(output, [faces.faces[number] for number in numbers], scores)
    if faces.skipped:
        lines.append(f"{len(faces.skipped)} files left out: {beside(output, 'skipped.csv')}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("parse_folder", __doc__)
    parser.add_argument("folder", help="holds parsing_000123.png (class codes) and face_000123.png (or .jpg)")
    parser.add_argument("--output", type=Path, default=Path("labels.csv"), help="the CSV (default labels.csv)")
    parser.add_argument("--generation", choices=("v1", "v2"), default="v2", help="of the algorithms (default v2)")
    parser.add_argument("--properties", default=",".join(PROPERTIES), help="columns, separated by commas (default all)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--raw", action="store_true", help="scores as measured instead of mean 0 and deviation 1")
    how.add_argument("--normalization", metavar="JSON", help="normalise by these statistics, saved by an earlier run")
    given = parser.parse_args(arguments)
    properties = given.properties.split(",")
    return answer(
        lambda: run(given.folder, given.output, given.generation, properties, given.raw, given.normalization),
        warns=MissingScoreWarning,
    )


if __name__ == "__main__":
    sys.exit(main())
