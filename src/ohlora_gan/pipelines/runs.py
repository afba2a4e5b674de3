"""What a folder of a run says of it: its settings, its networks, what it was made from, and how far it has come."""

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ohlora_gan import reading
from ohlora_gan.checked import check_settings
from ohlora_gan.devices import open_device
from ohlora_gan.directions import files as directions
from ohlora_gan.errors import UserError, near_file, one_line
from ohlora_gan.files import write_json
from ohlora_gan.latents import saved as latents
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.checkpoint import file_hash, weights_hash
from ohlora_gan.models.hub import is_on_hub, pinned
from ohlora_gan.models.wrapped import is_code_of_others, is_factory
from ohlora_gan.models.zoo import ASSETS, open_generator, open_scorer, read_weights, resolve, world_of
from ohlora_gan.names import FAILED_FILE, LAST
from ohlora_gan.pipelines.records import read_record
from ohlora_gan.reading import UnreadableError, bounded_yaml

VECTORS, SETTINGS = "vectors.safetensors", "config.yaml"


def vectors_file(path: Path) -> Path:
    """The directions file of a run folder, or the file itself."""
    return path / VECTORS if path.is_dir() else path


def settings_of(vectors: Path) -> dict[str, Any]:
    """The settings of a run, from its folder or its directions file; empty where there are none.

    Besides, ``folder`` is the run's, in which and beside which its networks are looked for.

    Raises:
        ValueError: where they cannot be read.
    """
    path = vectors_file(vectors).with_name(SETTINGS)
    content = read_yaml(path) if path.is_file() else {}
    return {**content, "folder": path.parent} if content and isinstance(content, dict) else {}


def known_settings(folder: Path) -> dict[str, Any]:
    """A run's settings, or Hydra's copy where its own are not there yet; empty where neither can be read."""
    for path in (folder / SETTINGS, folder / ".hydra" / SETTINGS):
        try:
            content = read_yaml(path)
        except ValueError:
            continue
        return content if isinstance(content, dict) else {}
    return {}


def folders_of_settings(folder: Path) -> set[Path]:
    """Folders of runs at or below a folder: those that hold settings."""
    found = {path.parent for path in folder.rglob(SETTINGS) if "wandb" not in path.relative_to(folder).parts}
    return {path.parent if path.name == ".hydra" else path for path in found}


def read_yaml(path: Path) -> Any:
    """A file's content as plain data; references to other settings stay as they are written.

    Raises:
        ValueError: where it cannot be read.
    """
    try:
        return OmegaConf.to_container(OmegaConf.create(bounded_yaml(path)), resolve=False)
    except (OSError, ValueError, OmegaConfBaseException, YAMLError) as error:
        why = one_line(str(getattr(error, "strerror", None) or error))
        raise UserError(f"{path} cannot be read ({why}): expected the settings of a run, as it wrote them") from error


def read_json(path: Path) -> dict[str, Any]:
    """A file's content; empty where it is missing, damaged or something else."""
    try:
        content = reading.read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class SpaceSettings:
    """What determines a face space, see `latents.space.FaceSpace`; networks are shipped models' names or files."""

    checkpoint: str
    scorer: str
    seed: int = 0
    truncation_psi: float = 1.0
    batch_size: int = 64

    @classmethod
    def of(cls, settings: Mapping[str, Any], **asked: Any) -> "SpaceSettings":
        """Those of a run; what is asked for, and not None, comes before them.

        A run's networks are found where they lie now, see `Origin`.

        Raises:
            ValueError: where nothing says which checkpoint or scorer, it is nowhere, or a setting is no number.
        """
        folder = settings.get("folder")
        origins = read_origins(folder) if folder is not None else {}
        found: dict[str, Any] = {}
        for field in fields(cls):
            name, value = field.name, asked.get(field.name)
            if value is None:
                origin = origins.get(name)
                value = origin.find(Path(str(folder)), name) if isinstance(origin, Origin) else settings.get(name)
                if isinstance(value, str) and is_code_of_others(value):  # the folder may be anybody's
                    raise ValueError(
                        f"the run's {name} {value} is code, which no file may start: give it with --{name} {value} "
                        f"(in Hydra's programs: {name}={value})"
                    )
                if value is not None:
                    check_settings(cls, {name: value}, f"the run's {SETTINGS}: ")
            if value is None and field.default is MISSING:
                raise ValueError(
                    f"the run has no {SETTINGS} that names its {name}: say which it was with --{name} FILE"
                )
            if value is not None:
                found[name] = value
        return cls(**found)

    def open(self, device: str = "cpu") -> FaceSpace:
        """Generator and scorer on a device of `devices.NAMED`."""
        networks = open_generator(self.checkpoint), open_scorer(self.scorer)
        return FaceSpace(*networks, open_device(device), self.batch_size, self.seed, truncation_psi=self.truncation_psi)


# --- What a run was made from: kept in its folder, so that it is found again wherever both were moved ---

MADE_FROM = "made_from.json"
LEVELS = 3
"""Folders above the run's in which, and in whose folders, a file is looked for."""


@dataclass(frozen=True)
class Origin:
    """A network that a run was made from.

    Attributes:
        name: as it was asked for: a shipped model's name, a path, ``hf://...`` (with its commit), or
            ``package.module:factory``.
        path: of a file, absolute; None for a shipped model, a file of the Hub or a factory, whose size is 0.
        sha256: see `content_hash`.
    """

    name: str
    path: str | None = None
    size: int = 0
    sha256: str = ""

    @classmethod
    def of(cls, name: str | Path) -> "Origin":
        """What a name or path stands for now; raises CheckpointError if it is missing."""
        if is_factory(name):
            return cls(str(name))
        path = Path(name) if Path(name).is_dir() else resolve(name)
        if path.parent == ASSETS:
            return cls(path.stem, sha256=file_hash(path))
        if is_on_hub(name):
            return cls(pinned(name, path), sha256=file_hash(path))
        return cls(str(name), str(path.resolve()), size_of(path), content_hash(path))

    def find(self, folder: Path, key: str) -> str:
        """The name or path that opens it now; ``key`` is the setting that it was given as, such as ``checkpoint``.

        Raises:
            ValueError: if it is neither where it was nor in the run's folder or beside it.
        """
        if self.path is None:
            return self.name
        for place in self.places(folder):
            if place.exists() and size_of(place) == self.size and content_hash(place) == self.sha256:
                return str(place)
        gone = f"has changed since at {self.path}" if Path(self.path).exists() else f"is no longer at {self.path}"
        raise ValueError(
            f"the run's {key} {self.name} (SHA-256 {self.sha256[:12]}) {gone}, and no such file lies "
            f"in {folder} or in the folders beside it: give it with --{key} FILE (in Hydra's programs: {key}=FILE)"
        )

    def places(self, folder: Path) -> Iterator[Path]:
        """Where it may be: its path, the run's folder, the folders above and beside it."""
        path = Path(str(self.path))
        yield path
        for pattern in ("", "*/", "*/*/"):
            for up in [folder.resolve(), *list(folder.resolve().parents)[:LEVELS]]:
                yield from sorted(up.glob(f"{pattern}{path.name}"))


def files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in files_of(path))


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files."""
    if path.is_file():
        return file_hash(path)
    listed = [f"{file.name} {file_hash(file)}" for file in files_of(path)]
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def write_origins(folder: Path, used: Mapping[str, Any]) -> Path:
    """Writes ``made_from.json`` of the name or path, or list of them, that each setting was given, less None."""
    content = {
        key: asdict(Origin.of(given)) if isinstance(given, str | Path) else [asdict(Origin.of(name)) for name in given]
        for key, given in used.items()
        if given is not None
    }
    return write_json(folder / MADE_FROM, content)


def read_origins(folder: Path) -> dict[str, Origin | list[Origin]]:
    """What ``made_from.json`` of a run's folder says, by setting; empty where there is none."""
    path = folder / MADE_FROM
    if not path.is_file():
        return {}
    try:
        content = reading.read_json(path)
        for one in (one for said in content.values() for one in (said if isinstance(said, list) else [said])):
            check_settings(Origin, one, "a network's ")
        return {
            key: [Origin(**one) for one in said] if isinstance(said, list) else Origin(**said)
            for key, said in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}): expected what a run was made from") from error


# --- What files and folders say of themselves ---

MODEL, METRICS, JUDGED = "model.safetensors", "metrics.json", "judge.json"
FIGURES = {
    "test/r2_mean": "R² {:.3f}",
    "test/auroc": "AUROC {:.3f}",
    "test/accuracy": "accuracy {:.1%}",
    "train/images_seen": "{:,.0f} images seen",
    "sum_mean_corr": "sum of correlations {:.2f}",
}
"""Of a run's metrics, the first that is there is its main figure, in these words."""
STILL_WRITING = 120.0
"""Seconds after the last change of a file in which an unfinished run may be running."""
ONLY_JSON = ("metrics", "method", "files")
"""What is too long for a terminal."""
DIMENSIONS = ("resolution", "z_dim", "w_dim", "label_dim", "split_mapping", "property_names", "name", "num_folds")


def describe(name: str) -> dict[str, Any]:
    """What a file, a run folder, a folder of a foreign filter's folds, or a shipped model is, as plain data.

    ``kind`` and ``path`` are always there.

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
    """One of our files, of whichever kind."""
    try:
        ours = reading.metadata_of(path)
    except (UnreadableError, OSError) as error:
        raise UserError(f"{path} is damaged or cut off ({error}): get a whole copy") from error
    if directions.METADATA_KEY in ours:
        return describe_directions(path)
    if latents.METADATA_KEY in ours:
        return describe_latents(path)
    return describe_weights(str(path))


def describe_weights(name: str) -> dict[str, Any]:
    """Networks of anything that can be read, see `models.zoo.read_weights`."""
    networks, info = read_weights(name)
    path = Path(name) if Path(name).is_dir() else resolve(name)
    found: dict[str, Any] = {"kind": "weights", **about(path), "world": world_of(name), **info, "networks": {}}
    for part, net in networks.items():
        config = getattr(net, "config", {})
        found["networks"][part] = {
            "class": type(net).__name__,
            **{key: value for key, value in config.items() if key in DIMENSIONS},
            **{key: getattr(net, key) for key in DIMENSIONS if hasattr(net, key)},
            "parameters": sum(value.numel() for value in net.parameters()),
            "hash": weights_hash(net),
        }
    return found


def describe_directions(path: Path) -> dict[str, Any]:
    """A file of directions."""
    found = directions.load_directions(path)
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
    found = latents.read_latents(path)
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
    of_file = {} if path.is_dir() else {"bytes": path.stat().st_size, "sha256": file_hash(path)}
    return {"path": str(path), **of_file}


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


@dataclass(frozen=True)
class Run:
    """What a run folder says of its run.

    Attributes:
        what: the model that is trained, or method and layer.
        date: when it began, or, where that is not known, when something was written last.
        seconds: how long it took, or has taken so far; None where that is not known.
        figure: the main one, in words; empty where there is none yet.
        state: ``done``, ``failed``, ``running`` or ``unfinished``, and why or what goes on.
        command: what started it.
    """

    folder: Path
    task: str
    what: str
    date: datetime
    seconds: float | None
    figure: str
    state: str
    command: str

    def row(self) -> dict[str, str]:
        """As text."""
        told = {"task": self.task, "date": f"{self.date:%Y-%m-%d %H:%M}", "took": duration(self.seconds)}
        told |= {"what": self.what, "figure": self.figure}
        return {**told, "state": self.state, "folder": str(self.folder)}


def find_runs(folder: Path) -> list[Run]:
    """All runs at or below a folder, the oldest first; raises UserError where there is none."""
    if not folder.is_dir():
        raise UserError(
            f"{folder} is no folder: {near_file(folder)}give one that holds runs, such as runs, at any depth"
        )
    runs = [read_run(path) for path in sorted(folders_of_settings(folder))]
    known = [run for run in runs if run.task in ("train", "find_vectors")]
    if not known:
        raise UserError(f"{folder} holds no run: start one with ohlora train or ohlora find-vectors, or give another")
    return sorted(known, key=lambda run: run.date)


def read_run(folder: Path) -> Run:
    """What a folder says of its run; what cannot be read is unknown."""
    settings, record = known_settings(folder), read_record(folder)
    what = [(settings.get("model") or {}).get("name"), settings.get("attribute")]
    if settings.get("task") == "find_vectors":
        layer = read_json(folder / JUDGED).get("layer")
        what = [(settings.get("method") or {}).get("name"), f"at {layer}" if layer else None]
    changed = max((path.stat().st_mtime for path in folder.iterdir()), default=folder.stat().st_mtime)
    idle = time.time() - changed
    state, seconds = state_of(folder, idle, record), record.get("seconds")
    began, started = datetime.fromtimestamp(changed), record.get("started")
    with contextlib.suppress(TypeError, ValueError):  # none, or what is no time
        began = datetime.fromisoformat(started or "")
    if state == "running" and started:
        seconds = (datetime.now() - began).total_seconds()
    return Run(
        folder,
        str(settings.get("task", "unknown")),
        " ".join(str(name) for name in what if name),
        began,
        seconds,
        figure_of(folder),
        state,
        str(record.get("command") or settings.get("command") or ""),
    )


def duration(seconds: float | None) -> str:
    """``2 h 05 min``, ``3 min 20 s`` or ``12 s``; empty where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def state_of(folder: Path, idle: float, record: Mapping[str, Any]) -> str:
    """How far a run has come; ``idle`` says for how many seconds nothing was written."""
    why = f": {record['why']}" if record.get("why") else ""
    if (folder / FAILED_FILE).is_file():
        return f"failed: {(folder / FAILED_FILE).read_text(encoding='utf-8').strip()}"
    if record.get("state") in ("done", "failed"):
        return f"{record['state']}{why}"
    if (folder / METRICS).is_file() and not record:
        return "done"
    if idle < STILL_WRITING and record.get("state") != "interrupted":
        return "running"
    return f"unfinished: go on with ckpt_path={folder / LAST}" if (folder / LAST).is_file() else f"unfinished{why}"


def figure_of(folder: Path) -> str:
    """The main figure of a run in words: of directions the judging scorer's sum of correlations."""
    judged, metrics = read_json(folder / JUDGED), read_json(folder / METRICS)
    by = judged.get("by")
    for figures in sorted(by.values(), key=lambda of: of.get("role") != "judging") if isinstance(by, dict) else ():
        if isinstance(figures.get("sum_corr"), list):
            return f"sum of correlations {figures['sum_corr'][0]:.2f} of {len(judged.get('edited', ()))}"
    flat = metrics | metrics.get("test", {}) if isinstance(metrics.get("test"), dict) else metrics
    told = (words.format(flat[name]) for name, words in FIGURES.items() if isinstance(flat.get(name), int | float))
    return next(told, "")
