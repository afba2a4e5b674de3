"""One leaderboard of many runs of find_vectors.py: what ``ohlora compare RUNS`` does.

Writes ``leaderboard.html`` (one self-contained page), ``leaderboard.csv`` (every figure) and ``leaderboard.md`` (a
table for a README). A sweep (``python find_vectors.py -m ...``) does so by itself at its end.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ohlora_gan.directions.files import DirectionSet, load_directions, open_directions, save_directions
from ohlora_gan.editing.search import made_ready
from ohlora_gan.errors import near_file
from ohlora_gan.files import write_records, write_text
from ohlora_gan.judging.figures import Interval
from ohlora_gan.judging.rescoring import Source, check_sampling, rescore, rescore_layers, sources_of
from ohlora_gan.latents.layers import layer_named
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.names import FAILED_FILE
from ohlora_gan.options import Models, Rescoring
from ohlora_gan.pipelines.runs import (
    JUDGED,
    SETTINGS,
    VECTORS,
    SpaceSettings,
    folders_of_settings,
    known_settings,
    read_yaml,
    settings_of,
    write_origins,
)
from ohlora_gan.progress import Bar
from ohlora_gan.reports.leaderboard import Cell, FailedCell, ScorerFigures, write_leaderboard
from ohlora_gan.reports.pages import listed, plain
from ohlora_gan.reports.plots import draw_layers

SAID_OR_IDLE = ("layer", "paths", "command", "device", "logger", "batch_size", "strips", "hydra", "experiment")
"""Settings with a column of their own, or that change no figure."""


def compare_runs(runs: Sequence[str | Path], output: str | Path | None = None, judge: str | None = None) -> Path:
    """Writes the leaderboard of all runs under some folders.

    Args:
        runs: run folders, or folders of run folders such as a sweep's.
        output: where to write; None is the only one of ``runs``.
        judge: the scorer that ranks; None is the first that judges without having been used for finding.

    Returns:
        The page.

    Raises:
        ValueError: if a folder is missing, no run was judged, several folders come without ``output``, or no run was
            measured by ``judge``.
    """
    folders = [Path(path) for path in runs]
    if output is None and len(folders) > 1:
        raise ValueError(f"{len(folders)} folders are compared: say with --output FOLDER where to write")
    cells, failed = read_runs(folders)
    if not cells:
        told = f"; {failed[0].folder}: {failed[0].word}" if failed else ""
        raise ValueError(
            f"no judged run under {', '.join(map(str, folders))}{told}: give run folders of find_vectors.py that hold "
            f"{JUDGED}"
        )
    return write_leaderboard(Path(output or folders[0]), cells, failed, judge)


def read_runs(folders: Iterable[Path]) -> tuple[list[Cell], list[FailedCell]]:
    """All runs of find_vectors.py in some folders, those with figures and those without."""
    cells, failed = [], []
    jobs = [job for folder in folders for job in job_folders(folder)]
    for folder in dict.fromkeys(jobs):
        config = dict(flat(known_settings(folder)))
        try:
            cells.append(read_cell(folder, config))
        except ValueError as error:
            failed.append(FailedCell(folder, asked(folder, config), str(error)))
    return with_settings(cells), failed


def job_folders(folder: Path) -> list[Path]:
    """Folders of runs of find_vectors.py, judged or not, at or below a folder."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is no folder: {near_file(folder)}expected a run folder or a folder of runs of find_vectors.py"
        )
    judged = {path.parent for path in folder.rglob(JUDGED)}
    begun = {path for path in folders_of_settings(folder) if known_settings(path).get("task") == "find_vectors"}
    return sorted(judged | begun, key=lambda path: [in_order(part) for part in path.parts])


def in_order(name: str) -> list[tuple[int, str]]:
    """What sorts names with the numbers in them by size: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of all leaves of a nested dict."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def asked(folder: Path, config: dict[str, Any]) -> str:
    """What a run was asked for: its overrides, else its method, layer and number of samples."""
    try:
        overrides = map(str, read_yaml(folder / ".hydra" / "overrides.yaml"))
        return " ".join(text for text in overrides if not text.startswith("paths."))
    except ValueError:
        known = {"method": config.get("method.name"), "layer": config.get("layer.name"), "n": config.get("n")}
        return " ".join(f"{name}={value}" for name, value in known.items() if value is not None)


def with_settings(cells: Sequence[Cell]) -> list[Cell]:
    """Cells that say in which further settings they differ from others of the same method."""
    named = []
    for cell in cells:
        others = [other.config for other in cells if other.method == cell.method]
        varying = [
            f"{name.rpartition('.')[2]}={value}"
            for name, value in cell.config.items()
            if not is_shown(name) and any(other.get(name, value) != value for other in others)
        ]
        named.append(replace(cell, settings=", ".join(varying)))
    return named


def is_shown(name: str) -> bool:
    """Whether the leaderboard says a setting elsewhere, or need not say it."""
    first, last = name.partition(".")[0], name.rpartition(".")[2]
    return name in ("n", "method.name", "metric.name") or first in SAID_OR_IDLE or last in ("decorrelate", "metric")


# --- A run's figures, from its judge.json ---


def read_cell(folder: Path, config: Mapping[str, Any] | None = None) -> Cell:
    """The figures of a run, from ``judge.json`` in its folder; ``config`` has its settings by dotted name.

    Raises:
        ValueError: if the file is missing, damaged or lacks a figure that the leaderboard needs.
    """
    try:
        content = json.loads((folder / JUDGED).read_text("utf-8"))
    except FileNotFoundError as error:
        if (folder / FAILED_FILE).is_file():
            raise ValueError((folder / FAILED_FILE).read_text("utf-8").strip()) from error
        raise ValueError(f"no {JUDGED}: the run ended before it was judged") from error
    except (ValueError, OSError) as error:
        raise ValueError(f"{JUDGED} cannot be read, it is cut off or damaged: run this cell again") from error
    try:
        return _cell(folder, content, config or {})
    except KeyError as error:
        raise ValueError(f"{JUDGED} lacks {error.args[0]!r}: run this cell again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{JUDGED} holds something else than figures ({error}): run this cell again") from error


def figure(value: Any) -> Interval:
    """A figure from ``[value, low, high]``, a number or null."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value, low, high = value
        return Interval(_number(value), _number(low), _number(high))
    return Interval(_number(value))


def _cell(folder: Path, content: Mapping[str, Any], config: Mapping[str, Any]) -> Cell:
    if not content["by"]:
        raise KeyError("by")

    def names(key: str) -> str:
        value = content.get(key) or "none"
        return value if isinstance(value, str) else listed([plain(name) for name in value])

    return Cell(
        folder=folder,
        method=str(content["method"]),
        layer=str(content["layer"]),
        n=int(content["n"]),
        edited=tuple(content["edited"]),
        by={name: _scorer(figures) for name, figures in content["by"].items()},
        decorrelate=names("decorrelate"),
        hold=names("hold"),
        metric=content.get("metric") or "euclid",
        grid=str(content.get("grid", "sigma")),
        num_latents=int(content.get("num_latents", 0)),
        seconds={name: _number(value) for name, value in content.get("seconds", {}).items()},
        equivalent_to_w=bool(content.get("equivalent_to_w", False)),
        image_change={name: figure(value) for name, value in (content.get("image_change") or {}).items()},
        config=config,
    )


def _scorer(content: Mapping[str, Any]) -> ScorerFigures:
    retest, leakage = content.get("retest") or {}, content.get("leakage") or {}
    return ScorerFigures(
        role=str(content["role"]),
        corr={name: figure(value) for name, value in content.get("corr", {}).items()},
        sum_corr=figure(content["sum_corr"]),
        sum_abs_corr=figure(content.get("sum_abs_corr")),
        pass_share=figure(content["pass_share"]),
        passed_both=figure(retest.get("passed_both")).value,
        leakage={
            name: (figure([row.get("worst"), *(row.get("interval") or (None, None))]), str(row.get("name") or ""))
            for name, row in leakage.items()
        },
        drift={name: figure(value) for name, value in (content.get("drift") or {}).items()},
        lost=figure(content.get("lost")).value,
        damage={name: figure(value) for name, value in (content.get("damage") or {}).items()},
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


# --- Which of some runs' directions raises each property most on fresh faces ---


@dataclass(frozen=True)
class Run:
    """Directions, their name in tables, their file, and the settings of the run that found them, if they are there."""

    name: str
    file: Path
    found: DirectionSet
    settings: dict[str, Any]


def rescore_runs(runs: Sequence[Path], output: Path, how: Rescoring, models: Models) -> str:
    """Rescores runs' directions; returns the winners as text.

    Args:
        runs: run folders, folders of run folders, or directions files.
        output: gets ``rescoring.csv``, ``winners.md``, and by layer ``layers.csv`` and a picture a run.

    Raises:
        ValueError: where runs, settings and networks do not go together.
    """
    check_sampling(how.n, how.step)
    opened = open_runs(runs)
    space = open_space(opened[0], models)
    competing, said = [sources_of_run(space, one) for one in opened], []
    for i, one in enumerate(opened):
        if one.found.slopes is None:
            settings = SpaceSettings.of(one.settings, **asdict(models))
            ready, notes = write_usable(space, competing[i][0], output / one.name, settings)
            competing[i] = sources_of(one.name, ready, competing[i][0].layer)
            said += notes
    if not {*space.property_names} & {name for one in opened for name in one.found.properties}:
        return "\n".join(["the scorer measures none of what the directions change: no winners", *said])
    with Bar(desc="rescoring", total=how.n) as bar:
        candidates = [source for sources in competing for source in sources]
        found = rescore(space, candidates, how.n, how.step, how.match, how.properties, bar)
    write_records(output / "rescoring.csv", found.rows())
    text = f"{found.table()}\n\n{described(len(found.changes), how.step, how.match)}"
    write_text(output / "winners.md", text + "\n")
    written = [output / "rescoring.csv"]
    if how.by_layer:
        written += write_layers(space, [sources[0] for sources in competing], output, how)
    return "\n".join([text, "", *said, f"written: {', '.join(map(str, written))}"])


def write_usable(
    space: FaceSpace, source: Source, folder: Path, settings: SpaceSettings
) -> tuple[DirectionSet, list[str]]:
    """Directions that have no strengths, such as imported ones, with strengths, also as a folder that ``ohlora edit``
    takes; and what there is to say of them."""
    with Bar(desc=f"calibrating {source.run}", total=len(source.found.properties)) as bar:
        ready, notes = made_ready(space, source.layer, source.found, progress=bar)
    save_directions(folder / VECTORS, ready)
    write_text(folder / SETTINGS, OmegaConf.to_yaml(OmegaConf.create(asdict(settings))))
    write_origins(folder, {"checkpoint": settings.checkpoint, "scorer": settings.scorer})
    return ready, [*notes, f"strengths measured: {folder}"]


def write_layers(space: FaceSpace, sources: Sequence[Source], output: Path, how: Rescoring) -> list[Path]:
    """``layers.csv`` of all runs, and ``layers_{run}.png`` of each that has directions for some of the properties."""
    rows: list[dict[str, str]] = []
    written = [output / "layers.csv"]
    for source in sources:
        if how.properties is not None and not set(how.properties) & set(source.found.properties):
            continue
        with Bar(desc=f"layers of {source.run}", total=how.n) as bar:
            found = rescore_layers(space, source, how.n, how.step, how.properties, bar)
        rows += found.rows()
        written.append(draw_layers(output / f"layers_{source.run.replace('/', '_')}.png", found))
    write_records(written[0], rows)
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
    """The runs in some folders, or directions files."""
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


def open_space(first: Run, models: Models) -> FaceSpace:
    """Generator and scorer, by default those of the first run."""
    for key in ("checkpoint", "scorer"):
        if getattr(models, key) is None and first.settings.get(key) is None:
            raise ValueError(f"{first.name} has no config.yaml that names its {key}: give --{key}")
    return SpaceSettings.of(first.settings, **asdict(models)).open(models.device)


def sources_of_run(space: FaceSpace, one: Run) -> list[Source]:
    """The candidates of a run, first the directions as they are meant."""
    made_for, layer = one.found.provenance.get("generator"), layer_named(one.found.layer)
    layer.check(space.generator)
    size, expected = one.found.directions.shape[2], layer.size(space.generator)
    if size != expected or (made_for is not None and made_for != weights_hash(space.generator)):
        raise ValueError(
            f"{one.name} has directions of {size} values at {layer.name} that were found with another generator "
            f"(this one has {expected}): rescore runs of one generator at a time, or give --checkpoint"
        )
    return sources_of(one.name, open_directions(one.file, space, layer), layer)
