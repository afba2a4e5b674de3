"""Which of some runs' directions raises each property most on fresh faces, and in which synthesis layers they work.

All directions of all runs, of any method, group and layer, compete on the same faces (the verification of HiGAN,
arXiv 1911.09267).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ohlora_gan.directions.files import DirectionSet, load_directions, open_directions
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


@dataclass(frozen=True)
class Rescoring:
    """How directions compete, see ``judging.rescoring.rescore``.

    Attributes:
        n: faces.
        step: length of the moves.
        match: choose steps that change pictures equally.
        properties: which are rescored; None: all that the runs have directions for.
        by_layer: find out, too, in which synthesis layers each run's directions work.
    """

    n: int = 1000
    step: float = STEP
    match: bool = False
    properties: Sequence[str] | None = None
    by_layer: bool = False


@dataclass(frozen=True)
class Asked:
    """What a user asks for instead of what the first run says; None: as it says.

    Attributes:
        checkpoint, scorer: shipped models' names or files.
        seed: of the faces.
        device: a name of `devices.NAMED`.
    """

    checkpoint: str | None = None
    scorer: str | None = None
    seed: int | None = None
    device: str = "cpu"


def rescore_runs(runs: Sequence[Path], output: Path, how: Rescoring, asked: Asked) -> str:
    """Rescores runs' directions; returns the winners as text.

    Args:
        runs: run folders, folders of run folders, or directions files.
        output: gets ``rescoring.csv``, ``winners.md``, and by layer ``layers.csv`` and a picture a run.

    Raises:
        ValueError: where runs, settings and networks do not go together.
    """
    check_sampling(how.n, how.step)
    opened = open_runs(runs)
    space = open_space(opened[0], asked)
    competing = [sources_of_run(space, one) for one in opened]
    with tqdm(desc="rescoring", total=how.n) as bar:
        candidates = [source for sources in competing for source in sources]
        found = rescore(space, candidates, how.n, how.step, how.match, how.properties, bar)
    write_rows(output / "rescoring.csv", found.rows())
    text = f"{found.table()}\n\n{described(len(found.changes), how.step, how.match)}"
    write_text(output / "winners.md", text + "\n")
    written = [output / "rescoring.csv"]
    if how.by_layer:
        written += write_layers(space, [sources[0] for sources in competing], output, how)
    return f"{text}\n\nwritten: {', '.join(map(str, written))}"


def write_layers(space: FaceSpace, sources: Sequence[Source], output: Path, how: Rescoring) -> list[Path]:
    """``layers.csv`` of all runs, and ``layers_{run}.png`` of each that has directions for some of the properties."""
    rows: list[list[str]] = []
    written = [output / "layers.csv"]
    for source in sources:
        if how.properties is not None and not set(how.properties) & set(source.found.properties):
            continue
        with tqdm(desc=f"layers of {source.run}", total=how.n) as bar:
            found = rescore_layers(space, source, how.n, how.step, how.properties, bar)
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


def open_space(first: Run, asked: Asked) -> FaceSpace:
    """Generator and scorer, by default those of the first run.

    Raises:
        ValueError: where neither the run nor the user says which.
    """
    for key, value in {"checkpoint": asked.checkpoint, "scorer": asked.scorer}.items():
        if value is None and first.settings.get(key) is None:
            raise ValueError(f"{first.name} has no config.yaml that names its {key}: give --{key}")
    given = {"checkpoint": asked.checkpoint, "scorer": asked.scorer, "seed": asked.seed}
    return SpaceSettings.of(first.settings, **given).open(asked.device)


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
