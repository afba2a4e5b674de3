"""What files and folders say of themselves: weights, directions, latents and runs, described and listed."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ohlora_gan.errors import UserError
from ohlora_gan.names import FAILED_FILE
from ohlora_gan.pipelines.runs import SETTINGS, VECTORS, read_yaml

MODEL, RESUMED, METRICS, JUDGED = "model.safetensors", "last.ckpt", "metrics.json", "judge.json"
FIGURES = ("test/r2_mean", "test/auroc", "test/accuracy", "scores/all", "train/images_seen", "sum_mean_corr")
"""Of a run's metrics, the first that is there is its main figure."""
STILL_WRITING = 120.0
"""Seconds after the last change of a file in which an unfinished run may be running."""
ONLY_JSON = ("metrics", "method", "files")
"""What is too long for a terminal."""
DIMENSIONS = ("resolution", "z_dim", "w_dim", "label_dim", "split_mapping", "property_names", "name", "num_folds")


# --- One file or folder ---


def describe(name: str) -> dict[str, Any]:
    """What a file or folder is, as plain data; ``kind`` and ``path`` are always there.

    Args:
        name: a file, a run folder, a folder of a foreign filter's folds, or a shipped model's name.

    Raises:
        ValueError: for what is not there, or nothing that this project knows.
    """
    path = Path(name)
    if path.is_dir() and ((path / SETTINGS).is_file() or (path / VECTORS).is_file() or (path / MODEL).is_file()):
        return describe_run(path)
    if path.suffix == ".safetensors" and path.is_file():
        return describe_safetensors(path)
    return describe_weights(name)


def describe_safetensors(path: Path) -> dict[str, Any]:
    """One of our files, of whichever kind.

    Raises:
        ValueError: for one that is damaged, or not ours.
    """
    from safetensors import SafetensorError, safe_open

    from ohlora_gan.directions.files import METADATA_KEY as DIRECTIONS
    from ohlora_gan.latents.saved import METADATA_KEY as LATENTS

    try:
        with safe_open(path, framework="numpy") as file:
            ours = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or cut off ({error}): get a whole copy") from error
    if DIRECTIONS in ours:
        return describe_directions(path)
    if LATENTS in ours:
        return describe_latents(path)
    return describe_weights(str(path))


def describe_weights(name: str) -> dict[str, Any]:
    """Networks of anything that can be read, see `models.zoo.read_weights`."""
    from ohlora_gan.models.checkpoint import weights_hash
    from ohlora_gan.models.zoo import read_weights, resolve
    from ohlora_gan.world.same_world import world_of

    networks, info = read_weights(name)
    path = Path(name) if Path(name).is_dir() else resolve(name)
    found: dict[str, Any] = {"kind": "weights", **about(path), "world": world_of(name), **info, "networks": {}}
    for part, network in networks.items():
        settings = {key: value for key, value in getattr(network, "config", {}).items() if key in DIMENSIONS}
        seen = {key: getattr(network, key) for key in DIMENSIONS if hasattr(network, key)}
        found["networks"][part] = {
            "class": type(network).__name__,
            **settings,
            **seen,
            "parameters": sum(value.numel() for value in network.parameters()),
            "hash": weights_hash(network),
        }
    return found


def describe_directions(path: Path) -> dict[str, Any]:
    """A file of directions."""
    from ohlora_gan.directions.files import load_directions

    found = load_directions(path)
    num, groups, size = found.directions.shape
    what = {
        "method": found.method,
        "layer": found.layer,
        "properties": list(found.properties),
        "groups": groups,
        "values": size,
        "directions": num * groups,
        "calibrated": found.slopes is not None,
        "depend_on_the_face": bool(found.recipe),
    }
    return {"kind": "directions", **about(path), "directions": what, **found.provenance}


def describe_latents(path: Path) -> dict[str, Any]:
    """A file of saved latents."""
    from ohlora_gan.latents.saved import read_latents

    found = read_latents(path)
    sizes = {"num": len(found), "z_dim": found.z.shape[1], "label_dim": found.label.shape[1]}
    groups = {name: found.groups.count(name) for name in sorted({*found.groups})}
    return {"kind": "latents", **about(path), "latents": {**sizes, "groups": groups}, **found.origin}


def describe_run(folder: Path) -> dict[str, Any]:
    """A run folder, and the weights or directions in it."""
    run = read_run(folder)
    found: dict[str, Any] = {"kind": "run folder", "path": str(folder), "run": run.row(), "command": run.command}
    found["files"] = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    for name in (MODEL, VECTORS):
        if (folder / name).is_file():
            found[name] = describe_safetensors(folder / name)
    return found


def about(path: Path) -> dict[str, Any]:
    """Path, size and hash of a file."""
    from ohlora_gan.models.checkpoint import file_hash

    if path.is_dir():
        return {"path": str(path)}
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": file_hash(path)}


def lines_of(found: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """A description in lines ``key: value``; what one cannot read at a glance is left out."""
    for key, value in found.items():
        if value is None or value == "" or (key in ONLY_JSON and not isinstance(value, str)):
            continue
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from lines_of(value, indent + "  ")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield f"{indent}{key}: {', '.join(map(str, value))}"
        else:
            yield f"{indent}{key}: {value}"


# --- Runs ---


@dataclass(frozen=True)
class Run:
    """What a run folder says of its run.

    Attributes:
        folder: where it lies.
        task: ``train`` or ``find_vectors``.
        what: the model that is trained, or method and layer.
        date: when something was written last.
        figure: the main one, in words; empty where there is none yet.
        state: ``done``, ``failed``, ``running`` or ``unfinished``, and why or what goes on.
        command: what started it.
    """

    folder: Path
    task: str
    what: str
    date: datetime
    figure: str
    state: str
    command: str

    def row(self) -> dict[str, str]:
        """As text."""
        told = {"task": self.task, "date": f"{self.date:%Y-%m-%d %H:%M}", "what": self.what, "figure": self.figure}
        return {**told, "state": self.state, "folder": str(self.folder)}


def find_runs(folder: Path) -> list[Run]:
    """All runs at or below a folder, the oldest first.

    Raises:
        UserError: where there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder, expected one that holds runs: give it, as in ohlora runs FOLDER")
    configs = {path.parent for path in folder.rglob(SETTINGS)}
    runs = [read_run(path.parent if path.name == ".hydra" else path) for path in sorted(configs)]
    unique = {run.folder: run for run in runs if run.task in ("train", "find_vectors")}
    if not unique:
        raise UserError(f"{folder} holds no run: start one with ohlora train or ohlora find-vectors, or give another")
    return sorted(unique.values(), key=lambda run: run.date)


def read_run(folder: Path) -> Run:
    """What a folder says of its run; what cannot be read is unknown."""
    settings: dict[str, Any] = {}
    for path in (folder / SETTINGS, folder / ".hydra" / SETTINGS):
        try:
            settings = dict(read_yaml(path))
            break
        except (ValueError, TypeError):
            continue
    task = str(settings.get("task", "unknown"))
    names = [(settings.get(key) or {}).get("name") for key in ("model", "method")]
    names.append(read_json(folder / JUDGED).get("layer"))
    changed = max((path.stat().st_mtime for path in folder.iterdir()), default=folder.stat().st_mtime)
    what = " at ".join(str(name) for name in names if name)
    state = state_of(folder, task, time.time() - changed)
    command = str(settings.get("command") or "")
    return Run(folder, task, what, datetime.fromtimestamp(changed), figure_of(folder), state, command)


def state_of(folder: Path, task: str, idle: float) -> str:
    """How far a run has come; ``idle`` says for how many seconds nothing was written."""
    if (folder / FAILED_FILE).is_file():
        return f"failed: {(folder / FAILED_FILE).read_text(encoding='utf-8').strip()}"
    if (folder / METRICS).is_file():
        return "done"
    if idle < STILL_WRITING:
        return "running"
    resumable = f": go on with ckpt_path={folder / RESUMED}" if (folder / RESUMED).is_file() else ""
    return f"unfinished{resumable}"


def figure_of(folder: Path) -> str:
    """The main figure of a run in words: of directions the judging scorer's sum of correlations."""
    judged, metrics = read_json(folder / JUDGED), read_json(folder / METRICS)
    by = judged.get("by")
    for figures in sorted(by.values(), key=lambda of: of.get("role") != "judging") if isinstance(by, dict) else ():
        if isinstance(figures.get("sum_corr"), list):
            return f"sum of correlations {figures['sum_corr'][0]:.2f} of {len(judged.get('edited', ()))}"
    flat = metrics | metrics.get("test", {}) if isinstance(metrics.get("test"), dict) else metrics
    for name in FIGURES:
        if isinstance(flat.get(name), int | float):
            return f"{name} {flat[name]:.4g}"
    return ""


def read_json(path: Path) -> dict[str, Any]:
    """A file's content; empty where it is missing, damaged or something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
