"""``ohlora rescore RUNS...``: which of the runs' directions raises each property most on fresh faces.

All directions of all runs, of any method, group and layer, compete on the same faces (the verification of HiGAN,
arXiv 1911.09267). Writes ``rescoring.csv`` (all candidates), ``winners.md`` and, with ``--by-layer``, ``layers.csv``
and a picture a run: which synthesis layers carry which property.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ohlora_gan.devices import keep_freed_memory
from ohlora_gan.directions.files import DirectionSet, load_directions
from ohlora_gan.directions.finders import open_directions
from ohlora_gan.errors import answer, parser_of
from ohlora_gan.files import write_rows, write_text
from ohlora_gan.judging.rescoring import STEP, Source, check_sampling, rescore, rescore_layers, sources_of
from ohlora_gan.latents.layers import layer_named
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.pipelines.runs import VECTORS, SpaceSettings, settings_of
from ohlora_gan.reports.plots import draw_layers


@dataclass(frozen=True)
class Run:
    """Directions, their name in tables, their file, and the settings of the run that found them (none where they are
    not there)."""

    name: str
    file: Path
    found: DirectionSet
    settings: dict[str, Any]


def run(
    runs: Sequence[Path],
    output: Path,
    n: int = 1000,
    step: float = STEP,
    match: bool = False,
    properties: Sequence[str] | None = None,
    by_layer: bool = False,
    checkpoint: str | None = None,
    scorer: str | None = None,
    seed: int | None = None,
    device: str = "cpu",
) -> str:
    """Rescores runs' directions; returns the winners as text.

    Args:
        runs: run folders, folders of run folders, or directions files.
        output: folder for tables and pictures.
        n, step, match, properties: see ``rescoring.rescore``.
        by_layer: find out, too, in which synthesis layers each run's directions work.
        checkpoint, scorer, seed: None: those of the first run.
        device: ``cpu``, ``cuda`` or ``mps``.

    Raises:
        ValueError: where runs, settings and networks do not go together.
    """
    check_sampling(n, step)
    opened = open_runs(runs)
    space = open_space(opened[0], checkpoint, scorer, seed, device)
    competing = [sources_of_run(space, one) for one in opened]
    with tqdm(desc="rescoring", total=n) as bar:
        candidates = [source for sources in competing for source in sources]
        found = rescore(space, candidates, n, step, match, properties, bar)
    write_rows(output / "rescoring.csv", found.rows())
    text = f"{found.table()}\n\n{described(len(found.changes), step, match)}"
    write_text(output / "winners.md", text + "\n")
    written = [output / "rescoring.csv"]
    if by_layer:
        written += write_layers(space, [sources[0] for sources in competing], output, n, step, properties)
    return f"{text}\n\nwritten: {', '.join(map(str, written))}"


def write_layers(
    space: FaceSpace, sources: Sequence[Source], output: Path, n: int, step: float, properties: Sequence[str] | None
) -> list[Path]:
    """``layers.csv`` of all runs, and ``layers_{run}.png`` of each that has directions for some of the properties."""
    rows: list[list[str]] = []
    written = [output / "layers.csv"]
    for source in sources:
        if properties is not None and not set(properties) & set(source.found.properties):
            continue
        with tqdm(desc=f"layers of {source.run}", total=n) as bar:
            found = rescore_layers(space, source, n, step, properties, bar)
        rows += found.rows()[1 if rows else 0 :]
        written.append(draw_layers(output / f"layers_{source.run.replace('/', '_')}.png", found))
    write_rows(written[0], rows)
    return written


def described(n: int, step: float, match: bool) -> str:
    """What the winners' figures mean."""
    lengths = (
        f"The first candidate moved faces by a length of {step:g}, all others so far that images changed as much."
        if match
        else f"All moved faces by a length of {step:g}, which layers of different size feel differently."
    )
    return (
        f"ds: mean rise of the score (σ), falls counted as 0, on {n} faces that no direction was found with. {lengths} "
        f"wins: share of bootstrap resamples of the faces in which the winner is first."
    )


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in some folders, or directions files.

    Raises:
        ValueError: where there are none, or a file is damaged.
    """
    files: list[Path] = []
    for path in paths:
        inside = [path] if path.is_file() else sorted(path.rglob(VECTORS))
        if not inside:
            raise ValueError(f"{path} holds no {VECTORS}: give folders of find_vectors.py runs, or directions files")
        files += inside
    files = list(dict.fromkeys(files))
    names = [file.parent.name if file.name == VECTORS else file.stem for file in files]
    if len(set(names)) < len(names):
        names = ["/".join(file.parent.parts[-2:] if file.name == VECTORS else file.parts[-2:]) for file in files]
    return [Run(name, file, load_directions(file), settings_of(file)) for name, file in zip(names, files, strict=True)]


def open_space(first: Run, checkpoint: str | None, scorer: str | None, seed: int | None, device: str) -> FaceSpace:
    """Generator and scorer, by default those of the first run.

    Raises:
        ValueError: where neither the run nor the user says which.
    """
    for key, value in {"checkpoint": checkpoint, "scorer": scorer}.items():
        if value is None and first.settings.get(key) is None:
            raise ValueError(f"{first.name} has no config.yaml that names its {key}: give --{key}")
    return SpaceSettings.of(first.settings, checkpoint=checkpoint, scorer=scorer, seed=seed).open(device)


def sources_of_run(space: FaceSpace, one: Run) -> list[Source]:
    """The candidates of a run, first the directions as they are meant.

    Raises:
        ValueError: if its directions belong to another generator.
    """
    made_for, layer = one.found.provenance.get("generator"), layer_named(one.found.layer)
    layer.check(space.generator)
    size, expected = one.found.directions.shape[2], layer.size(space.generator)
    if size != expected or (made_for is not None and made_for != weights_hash(space.generator)):
        raise ValueError(
            f"{one.name} has directions of {size} values at {layer.name} that were found with another generator "
            f"(this one has {expected}): rescore runs of one generator at a time, or give --checkpoint"
        )
    return sources_of(one.name, open_directions(one.file, space, layer), layer)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("rescore", __doc__)
    parser.add_argument("runs", metavar="RUNS", nargs="+", type=Path, help="folders of runs, or directions files")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where to write")
    parser.add_argument("--n", type=int, default=1000, help="faces (default 1000; images are this by candidates)")
    parser.add_argument("--step", type=float, default=STEP, help=f"length of the moves (default {STEP:g})")
    parser.add_argument("--match", action="store_true", help="choose steps that change images equally: layers compare")
    parser.add_argument("--property", dest="properties", action="append", metavar="NAME", help="only this; repeatable")
    parser.add_argument("--by-layer", action="store_true", help="which synthesis layers carry which property, too")
    parser.add_argument("--checkpoint", help="the generator (default: the first run's)")
    parser.add_argument("--scorer", help="the property network (default: the first run's)")
    parser.add_argument("--seed", type=int, help="of the faces (default: the first run's)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps"))
    given = parser.parse_args(arguments)
    keep_freed_memory()
    return answer(lambda: run(**vars(given)))


if __name__ == "__main__":
    sys.exit(main())
