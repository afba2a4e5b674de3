"""The chain: every stage from pictures to directions, each run once and again only when what it depends on changes.

A stage is one of the project's own commands with the stages' folder as its run folder. What decides its result is its
key: the command and the contents of the files that the command names. The key is written to ``stage.json`` before the
stage starts, and again, with the seconds it took, when it has ended well. So a stage with the same key is

* skipped, if it has ended and its output is still there,
* continued, if it was interrupted: a training from its ``last.ckpt``, everything else from what its folder holds,

and a stage with another key is run anew; its old folder is kept beside it as ``NAME.1``, ``NAME.2``, ...
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ohlora_gan.errors import Terminated, UserError, as_typed
from ohlora_gan.files import locked, write_json
from ohlora_gan.models.checkpoint import file_hash
from ohlora_gan.names import LAST

log = logging.getLogger(__name__)

MAX_HASHED = 1 << 28  # larger files are known by size and time of change
RECORD = "stage.json"
NO_RESULT = ("logger",)
"""Settings that decide no stage's result."""


class StageError(UserError):
    """A stage that cannot be run or has failed, with the reason."""


@dataclass(frozen=True)
class Stage:
    """One command of the chain, and what of its ``metrics.json`` is shown."""

    name: str
    program: str  # what Python runs: train.py, or -m ohlora_gan filter-means
    folder: Path  # the run folder
    settings: Mapping[str, Any] = field(default_factory=dict)  # key=value arguments of a Hydra program
    arguments: Sequence[str] = ()  # of a plain program
    output: str = "model.safetensors"  # the file in the folder that is there when the stage has ended well
    figures: Sequence[str] = ()

    def command(self, resumed: bool) -> list[str]:
        """The arguments of the Python interpreter; a training that was interrupted goes on from its checkpoint."""
        settings = dict(self.settings)
        last = self.folder / LAST
        if resumed and self.settings and last.is_file():
            settings.pop("checkpoint", None)
            settings["ckpt_path"] = last
        if settings:
            settings["paths.output_dir"] = self.folder
        return [*self.program.split(), *self.arguments, *(f"{key}={literal(v)}" for key, v in settings.items())]

    def key(self) -> str:
        """SHA-256 of what decides the stage's result."""
        settings = {name: value for name, value in self.settings.items() if name not in NO_RESULT}
        values = [*leaves(settings), *self.arguments]
        inputs = {v: fingerprint(Path(v)) for v in map(str, values) if is_input(v, self.folder)}
        what = [self.program, settings, list(self.arguments), inputs]
        return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; empty where it is not there or cannot be read."""
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, json.JSONDecodeError):
            return {}

    def write_record(self, **record: Any) -> None:
        write_json(self.folder / RECORD, record)

    def is_done(self, key: str) -> bool:
        """Whether the stage has ended well with this key and its output is there."""
        record = self.read(RECORD)
        return record.get("key") == key and "seconds" in record and (self.folder / self.output).is_file()

    def shown(self, width: int) -> str:
        """A line: its name, how long it took, its figures."""
        metrics = self.read("metrics.json")
        figures = ", ".join(f"{name} {metrics[name]:.3f}" for name in self.figures if name in metrics)
        return f"  {self.name:{width}} {self.read(RECORD).get('seconds', 0):8.1f} s  {figures}".rstrip()


def literal(value: Any) -> str:
    """A value in Hydra's grammar of overrides."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(literal, value)) + "]"
    if isinstance(value, str) and any(c in value for c in " ,:=<>{}[]()'\""):
        return "'" + value.replace("'", "\\'") + "'"
    return str(value)


def leaves(value: Any) -> list[Any]:
    """The values in nested dicts and lists."""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else None
    return [value] if items is None else [leaf for item in items for leaf in leaves(item)]


def is_input(value: str, folder: Path) -> bool:
    """Whether an argument names a file that a stage with this folder reads, or a folder from outside the chain.

    Folders of the chain itself are caches that stages share and fill: what they hold decides no result.
    """
    path = Path(value)
    outside = not path.resolve().is_relative_to(folder.parent.resolve())
    return path.is_file() or (path.is_dir() and outside)


def fingerprint(path: Path) -> str:
    """What changes when a file's contents change, or a folder's list of files."""
    if path.is_dir():
        listed = [f"{p.relative_to(path)} {p.stat().st_size}" for p in sorted(path.rglob("*")) if p.is_file()]
        return hashlib.sha256("\n".join(listed).encode()).hexdigest()
    if path.stat().st_size > MAX_HASHED:
        return f"{path.stat().st_size} bytes of {path.stat().st_mtime_ns}"
    return file_hash(path)


def read_stages(cfg: DictConfig, work: Path) -> list[Stage]:
    """The stages of a composed ``conf/chain.yaml``, in order, with paths relative to ``work`` where they lie in it."""
    chain = Path(relative(str(cfg.paths.output_dir), work))
    chosen: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    described = {name: given for name, given in chosen["stages"].items() if given is not None}
    for key in ("only", "skip"):
        if unknown := set(cfg[key] or ()) - set(described):
            raise StageError(f"{key} names {', '.join(sorted(unknown))}, expected some of {', '.join(described)}")
    stages = []
    for name, given in described.items():
        if name in (cfg.skip or ()) or (cfg.only and name not in cfg.only):
            continue
        generate = given.pop("generate", None) or {}
        if "settings" in given:
            given["settings"] = chosen["common"] | given["settings"]
            given["settings"] |= {"data": "generated"} if generate else {}
            given["settings"] |= {f"data.{key}": value for key, value in generate.items()}
        arguments = [str(argument) for argument in given.pop("arguments", ())]
        stages.append(Stage(name, folder=chain / name, arguments=clean(arguments, work), **clean(given, work)))
    return stages


def clean(value: Any, work: Path) -> Any:
    """Nested values with paths relative to ``work``."""
    if isinstance(value, dict):
        return {key: clean(item, work) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item, work) for item in value]
    return relative(value, work) if isinstance(value, str) else value


def relative(text: str, work: Path) -> str:
    return text.removeprefix(f"{work}{os.sep}")


def make_room(stage: Stage) -> None:
    """Moves the folder of an outdated stage aside."""
    if not stage.folder.exists():
        return
    names = (stage.folder.with_name(f"{stage.name}.{number}") for number in count(1))
    old = next(folder for folder in names if not folder.exists())
    stage.folder.rename(old)
    log.info("%s: what it depends on has changed; its old folder is now %s", stage.name, old)


def run_stage(stage: Stage, key: str, project: Path, lock: int, environment: Mapping[str, str] | None) -> None:
    """Runs a stage, or goes on with it; KeyboardInterrupt if it was interrupted. ``project`` holds the programs."""
    resumed = stage.read(RECORD).get("key") == key
    if not resumed:
        make_room(stage)
    command = stage.command(resumed)
    stage.write_record(key=key, command=command)
    started = time.monotonic()
    words = [str(project / command[0]) if command[0].endswith(".py") else command[0], *command[1:]]
    process = subprocess.Popen([sys.executable, *words], env=environment, pass_fds=[lock])
    try:
        code = process.wait()
    except BaseException:  # Ctrl+C reaches the stage, too: it saves what it has, then ends
        process.terminate()
        process.wait()
        raise
    if code in (130, -2):
        raise KeyboardInterrupt
    if code in (143, -15):
        raise Terminated
    if code != 0:
        raise StageError(f"stage {stage.name} failed (exit code {code}), see above; what it has made is kept")
    if not (stage.folder / stage.output).is_file():
        raise StageError(f"stage {stage.name} ended without {stage.folder / stage.output}: see what it says above")
    stage.write_record(key=key, command=command, seconds=round(time.monotonic() - started, 1))


def run_chain(cfg: DictConfig, project: Path, environment: Mapping[str, str] | None = None) -> None:
    """Runs all stages of a composed ``conf/chain.yaml`` that are not up to date; ``project`` holds ``train.py``.

    ``environment`` is that of the stages; None: this process's.
    """
    stages = read_stages(cfg, Path.cwd())
    with locked(Path(cfg.paths.output_dir)) as lock:
        for number, stage in enumerate(stages, start=1):
            key = stage.key()
            if stage.is_done(key):
                log.info("[%d/%d] %s: up to date", number, len(stages), stage.name)
                continue
            said = as_typed(" ".join(["python", *stage.command(False)]))
            log.info("[%d/%d] %s: %s", number, len(stages), stage.name, said)
            run_stage(stage, key, project, lock, environment)
    width = max((len(stage.name) for stage in stages), default=0)
    log.info("The chain is up to date:\n%s", "\n".join(stage.shown(width) for stage in stages))
