"""What runs log to dashboards: who they are, what they are made from and make, and the figures of vector runs."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from ohlora_gan.judging.judge import Judgement, network_name
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.models.wrapped import is_factory
from ohlora_gan.models.zoo import resolve
from ohlora_gan.names import WORLD
from ohlora_gan.pipelines.records import about
from ohlora_gan.pipelines.runs import content_hash, files_of
from ohlora_gan.progress import Bar
from ohlora_gan.reports.leaderboard import LEAK, PASS, SUM, Cell, saved_rows, scorer_order, seconds_of
from ohlora_gan.reports.pages import Strip, ends, plain
from ohlora_gan.reports.plots import heat_map
from ohlora_gan.training.boards import Thing
from ohlora_gan.training.loggers import log_image, show
from ohlora_gan.trust import instantiate

log = logging.getLogger(__name__)

AIMS = {
    "judged/sum_corr": "max",
    "judged/pass_share": "max",
    "judged/worst_side_effect": "min",
    "judged/damage": "min",
    "val/loss": "min",
    "val/r2_mean": "max",
    "test/loss": "min",
    "test/r2_mean": "max",
    "test/auroc": "max",
    "test/accuracy": "max",
    "train/images_seen": "max",
    "speed/images_per_second": "last",
    "best/sum_corr": "max",
    "best/pass_share": "max",
    "best/worst_side_effect": "min",
}
"""Figures of the summary and what is best of them."""
SWEEP_KEYS = {"overrides": "overrides.task", "params": "sweeper.params"}
"""What a sweep's run says of its cells, whose own runs hold their whole config -> where Hydra keeps it."""
KINDS = {"scorer": "scorer", "filters": "filter", "judge": "scorer", "checkpoint": "generator"}
"""The last part of a setting -> the kind of networks that it names; start weights of a scorer or filter are as it."""
MAX_TAG = 64


# --- Who a run is ---


def job_type(cfg: DictConfig) -> str:
    """What a run does: ``pretrain``, ``finetune``, ``scorer``, ``filter``, ``distil`` or ``vectors``."""
    if cfg.task == "find_vectors":
        return "vectors"
    name = str(cfg.model.name)
    if "folds" in cfg.model:
        return "filter"
    if "generator" in cfg.model.module:
        return "pretrain" if name == "pretrain" else "finetune"
    return "distil" if "num_generated" in cfg.data else "scorer"


def kind_made(cfg: DictConfig) -> str:
    """The kind of network that a training makes, and starts from."""
    return {"filter": "filter", "scorer": "scorer", "distil": "scorer"}.get(job_type(cfg), "generator")


def group_of(cfg: DictConfig) -> str | None:
    """The sweep or the chain that a run is part of, if any: its folder's last two names."""
    folder = Path(cfg.paths.output_dir)
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        whole = Path(HydraConfig.get().sweep.dir)
    elif (folder / "stage.json").is_file():
        whole = folder.resolve().parent
    else:
        return None
    return "/".join(whole.absolute().parts[-2:])


def identity(cfg: DictConfig) -> dict[str, Any]:
    """Name, group, job type, tags and notes of a run, where the logger's settings do not give them."""
    if cfg.task == "find_vectors":
        what = [
            str(cfg.method.name),
            instantiate(cfg.layer).name,
            network_name(cfg.checkpoint),
            network_name(cfg.scorer),
        ]
        name = f"{what[0]} at {what[1]}" + ("" if what[0] == "closed_loop" else f", n={cfg.n}")
    else:
        what = [str(cfg.model.name), str(cfg.attribute or ""), *dataset_words(cfg)]
        name = " ".join(word for word in what[:2] if word)
    tags = list(dict.fromkeys(word[:MAX_TAG] for word in what if word))
    notes = about(cfg)["command"]
    return {"name": name, "group": group_of(cfg), "job_type": job_type(cfg), "tags": tags, "notes": notes}


def dataset_words(cfg: DictConfig) -> list[str]:
    return [str(cfg.data["_target_"]).rpartition(".")[2].lower().removesuffix("datamodule")]


def make_loggers(cfg: DictConfig, who: Mapping[str, Any] | None = None) -> list[Logger]:
    """The loggers of ``conf/logger``, whose other keys (``mode``) are settings that they share; those that are null
    become who the run is."""
    for key, value in (who or identity(cfg)).items():
        if key in cfg.logger and cfg.logger[key] is None:
            cfg.logger[key] = value
    return [logger for logger in instantiate(cfg.logger).values() if isinstance(logger, Logger)]


def log_start(loggers: Sequence[Logger], cfg: DictConfig, used: Mapping[str, Any]) -> None:
    """The whole config, with versions and machine; what figures aim at; what the run is made from."""
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    log_settings(loggers, settings | {"run": about(cfg)})
    for thing in used_things(cfg, used):
        show(loggers, "use", thing)


def log_sweep_start(loggers: Sequence[Logger], cfg: DictConfig) -> None:
    """What a sweep varies (``cfg`` with Hydra's own settings), with versions and machine; what its figures aim at."""
    hydra = {name: OmegaConf.select(cfg, f"hydra.{key}") for name, key in SWEEP_KEYS.items()}
    settings = {name: OmegaConf.to_container(given) for name, given in hydra.items() if given is not None}
    log_settings(loggers, settings | {"run": about(cfg)})


def log_settings(loggers: Sequence[Logger], settings: dict[str, Any]) -> None:
    """The config of a run, and what its figures aim at."""
    for logger in loggers:
        logger.log_hyperparams(settings)
    show(loggers, "aim", AIMS)


# --- What runs are made from and make ---


def network(kind: str, given: str | Path) -> Thing:
    """A network by its name, file or factory."""
    if is_factory(given):
        return Thing(kind, str(given), about={"factory": str(given)})
    path = Path(given) if Path(given).is_dir() else resolve(given)
    return Thing(kind, network_name(given), tuple(files_of(path)), {"sha256": content_hash(path), "path": str(path)})


def file_of(kind: str, name: str, path: Path) -> Thing:
    """A file that a run has made."""
    return Thing(kind, name, (path,), {"sha256": content_hash(path)})


def used_things(cfg: DictConfig, used: Mapping[str, Any]) -> Iterator[Thing]:
    """The data that a run learns from, if it trains, and the networks of ``pipelines.train.made_from``, each once."""
    if "data" in cfg:
        settings: Any = OmegaConf.to_container(cfg.data, resolve=True)
        told = settings | ({} if "folder" in cfg.data else {"world": WORLD})
        key = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:8]
        yield Thing("dataset", f"{dataset_words(cfg)[0]}-{key}", about=told)
    own = kind_made(cfg)
    seen = set()
    for setting, given in used.items():
        kind = own if setting == "checkpoint" else KINDS.get(setting.rpartition(".")[2])
        for name in [given] if isinstance(given, str | Path) else given or []:
            if kind and (kind, str(name)) not in seen:
                seen.add((kind, str(name)))
                yield network(kind, name)


@rank_zero_only
def log_model(loggers: Sequence[Logger], cfg: DictConfig) -> None:
    """The weights that a training has written."""
    path = Path(cfg.paths.output_dir) / "model.safetensors"
    if path.is_file():
        show(loggers, "make", network(kind_made(cfg), path))


# --- A vector run ---


class LiveBar(Bar):
    """A progress bar that loggers see too, a dozen times a bar: ``progress/sampling``, how many are done."""

    loggers: Sequence[Logger] = ()
    _told = 0

    @classmethod
    def of(cls, loggers: Sequence[Logger]) -> type["LiveBar"]:
        """The bar that tells some loggers."""
        return type("LiveBar", (cls,), {"loggers": loggers})

    def update(self, n: float | None = 1) -> bool | None:
        shown = super().update(n)
        if self.total and (self.n - self._told >= self.total / 12 or self.n >= self.total):
            self._told = self.n
            for logger in self.loggers:
                logger.log_metrics({f"progress/{self.desc.strip(': ')}": float(self.n)})
        return shown


def judges_first(judgement: Mapping[str, Any]) -> dict[str, Any]:
    """A ``judge.json``'s figures by scorer, those that had no part in finding before the finding one."""
    return dict(sorted(judgement["by"].items(), key=lambda item: item[1]["role"] != "judging"))


def headline(judgement: Mapping[str, Any]) -> dict[str, float]:
    """The first figures of a ``judge.json``, by the first scorer that had no part in finding where there is one."""
    by = list(judges_first(judgement).values())
    first, found = by[0], {}
    leaks = [row["worst"] for row in first["leakage"].values() if row.get("worst") is not None]
    damage = next((of["damage"]["ratio"][0] for of in by if of.get("damage")), None)
    found["judged/sum_corr"], found["judged/pass_share"] = first["sum_corr"][0], first["pass_share"][0]
    found["judged/worst_side_effect"], found["judged/damage"] = max(leaks, default=None), damage
    return {name: value for name, value in found.items() if value is not None}


def figures_of(judgement: Mapping[str, Any]) -> dict[str, float]:
    """Every judge's correlations and slopes a property, judges before the finding scorer, and the parts' seconds."""
    found = headline(judgement)
    for name, of in judges_first(judgement).items():
        at = f"{of['role']}/{name}"
        values = {"sum_corr": of["sum_corr"][0], "pass_share": of["pass_share"][0]}
        for kind in ("corr", "slope", "passes", "miss"):
            values |= {f"{kind}/{edited}": value[0] for edited, value in of[kind].items()}
        values |= {f"side_effect/{edited}": row.get("worst") for edited, row in of["leakage"].items()}
        found |= {f"{at}/{key}": value for key, value in values.items() if value is not None}
    return found | {f"seconds/{part}": value for part, value in judgement["seconds"].items()}


JUDGED = ("judge", "role", "property", "correlation", "low", "high", "slope", "worst side effect", "into")


def log_search(loggers: Sequence[Logger], judgement: Judgement, strips: Sequence[Strip], folder: Path) -> None:
    """A vector run's figures, the judges' first; tables, response matrices as heat maps, strips, the page."""
    told, rows = judgement.to_dict(), []
    for logger in loggers:
        logger.log_metrics(figures_of(told))
    for name, of in judges_first(told).items():
        for edited, corr in of["corr"].items():
            leak = of["leakage"][edited]
            rows.append([name, of["role"], edited, *corr, of["slope"][edited][0], leak.get("worst"), leak.get("name")])
        response = np.array(of["response"], dtype=float)
        table = [[edited, *row] for edited, row in zip(told["edited"], of["response"], strict=True)]
        show(loggers, "log_table", f"response/{name}", ["direction", *of["names"]], table)
        picture = heat_map(response, [plain(n) for n in told["edited"]], [plain(n) for n in of["names"]])
        log_image(loggers, f"response_map/{name}", picture, None, f"what each direction moves, read by {name}")
    show(loggers, "log_table", "judges", JUDGED, rows)
    for strip in strips:
        down, up = ends(strip.property)
        picture = np.concatenate([np.concatenate(list(row), axis=1) for row in strip.images])
        log_image(loggers, f"strips/{strip.property}", picture, None, f"{plain(strip.property)}: {down} ← → {up}")
    show(loggers, "log_page", "report", folder / "report.html")


def log_found(loggers: Sequence[Logger], folder: Path, bank: ScoreBank) -> None:
    """The bank, the vectors and the report as what the run has made, by the folder's name."""
    made = [Thing("bank", bank.folder.name, (bank.folder / "bank.json",), bank.identity)]
    found = {"vectors": folder / "vectors.safetensors", "report": folder / "report.html"}
    made += [file_of(kind, folder.name, path) for kind, path in found.items() if path.is_file()]
    for thing in made:
        show(loggers, "make", thing)


# --- A sweep ---


def log_sweep(loggers: Sequence[Logger], cells: Sequence[Cell], failed: int, page: Path) -> None:
    """A sweep's summary: its best figures, the leaderboard as a table with a face's row of each cell, the page."""
    first = scorer_order(cells)[0]
    measures = {"sum_corr": SUM, "pass_share": PASS, "worst_side_effect": LEAK}
    edited = list(dict.fromkeys(name for cell in cells for name in cell.edited))
    columns = ["rank", "run", "method", "layer", "n", *measures, "finding, s", *edited]
    rows = []
    for rank, cell in enumerate(cells, start=1):
        strips = [saved_rows(cell, name) for name in edited]
        faces = [strip[0] if strip is not None and len(strip) else None for strip in strips]
        values = [known(measure.of(cell, first).value) for measure in measures.values()]
        named = [rank, cell.folder.name, cell.way, cell.layer, cell.n]
        rows.append([*named, *values, known(seconds_of(cell)), *faces])
    best = [(name, known(measure.of(cells[0], first).value)) for name, measure in measures.items()]
    told = {f"best/{name}": value for name, value in best if value is not None}
    for logger in loggers:
        logger.log_metrics(told | {"cells": float(len(cells)), "failed": float(failed)})
    show(loggers, "log_table", "leaderboard", columns, rows)
    show(loggers, "log_page", "leaderboard_page", page)
    for cell in cells:
        if (path := cell.folder / "vectors.safetensors").is_file():
            show(loggers, "use", file_of("vectors", cell.folder.name, path))
    show(loggers, "make", file_of("report", page.parent.name, page))


def known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
