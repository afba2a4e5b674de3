"""train(cfg) and find_vectors(cfg): instantiate in order, run, save; no maths."""

import json
import logging
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, Checkpoint, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from ohlora_gan import seeding
from ohlora_gan.checkpoint import CheckpointError, file_hash, load_strictly, weights_hash
from ohlora_gan.config import (
    check_find_vectors,
    check_names,
    check_train,
    filter_attributes,
    generation_plan,
    is_filter,
)
from ohlora_gan.devices import Device, keep_freed_memory
from ohlora_gan.directions.base import DirectionFinder
from ohlora_gan.directions.groups import group_names, medians
from ohlora_gan.directions.storage import DirectionSet, save_directions
from ohlora_gan.evaluation import tables
from ohlora_gan.evaluation.pictures import save_strips
from ohlora_gan.evaluation.report import write_report
from ohlora_gan.evaluation.vector_report import VectorSearch, describe_results, draw_strips, vector_page
from ohlora_gan.evaluation.vector_test import run_vector_test
from ohlora_gan.filter_pipeline import train_filter
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.pretrained import open_generator, open_scorer, resolve
from ohlora_gan.progress import progress_bar
from ohlora_gan.training.callbacks import was_stopped
from ohlora_gan.training.data_checks import check_data
from ohlora_gan.training.gan_module import GanModule
from ohlora_gan.training.loggers import log_files, open_loggers
from ohlora_gan.training.stages import open_parents, start_gan

log = logging.getLogger(__name__)


# ---------------------------------------------------------------------- train


def train(cfg: DictConfig) -> float | None:
    """Trains the model of a composed ``conf/train.yaml``; returns the metric named ``metric``, for sweepers.

    Raises:
        ValueError: at the end, if the run logged no such metric.
    """
    check_train(cfg)
    cfg.command = cfg.command or command_line()
    device = open_device(cfg)
    if is_filter(cfg):
        cfg.data.attributes = filter_attributes(cfg)
    data = instantiate(cfg.data)
    if cfg.model.needs_labels and not data.labelled:
        raise ValueError(
            f"model={cfg.model.name} learns from scores, which these pictures lack: give data.labels=FILE.csv, or "
            f"use data=faces"
        )
    module = None if is_filter(cfg) else build_module(cfg, data.attribute_names)
    if module is not None:
        check_data(cfg.model.name, module, data)
    save_config(cfg)
    with open_loggers(make_loggers(cfg)) as loggers:
        for logger in loggers:
            logger.log_hyperparams(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
        if module is None:
            metrics = train_filter(cfg, device, data, loggers, partial(make_callbacks, cfg))
        else:
            metrics = train_module(cfg, module, device, data, loggers)
    rank_zero_only(write_json)(Path(cfg.paths.output_dir) / "metrics.json", metrics)
    if cfg.metric is not None and cfg.metric not in metrics:
        raise ValueError(f"metric={cfg.metric} was not logged, expected one of {', '.join(sorted(metrics))}")
    return metrics.get(cfg.metric)


def train_module(
    cfg: DictConfig, module: pl.LightningModule, device: Device, data: pl.LightningDataModule, loggers: list[Logger]
) -> dict[str, float]:
    """Fits and, where the model asks for it, tests a module; returns what it logged.

    Raises:
        KeyboardInterrupt: when a signal has ended training early, and all is saved.
    """
    if device.compile and isinstance(module, GanModule):
        module.compile_networks()
    callbacks = make_callbacks(cfg)
    trainer: pl.Trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers, **device.trainer_options())
    trainer.fit(module, datamodule=data, ckpt_path=cfg.ckpt_path, weights_only=True)
    if was_stopped(callbacks):
        raise KeyboardInterrupt
    if cfg.model.test and not trainer.should_stop:
        trainer.test(module, datamodule=data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def build_module(cfg: DictConfig, attribute_names: Sequence[str] = ()) -> pl.LightningModule:
    """The LightningModule with its start weights: a parent's, or fresh ones that depend on the seed alone.

    A network with the setting ``names`` gets the names of the data's attributes there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.stream_key(cfg.seed, "init") % 2**63)
        parent = start_name(cfg)
        if "discriminator" in cfg.model.module:
            networks = {name: instantiate(cfg.model.module[name]) for name in ("generator", "discriminator")}
        else:
            names = {"names": list(attribute_names)} if "names" in cfg.model.module.net else {}
            networks = {"net": instantiate(cfg.model.module.net, **names)}
        parent_hash = None
        if parent is not None:
            weights, parent_hash = open_parents(parent)
            if "net" in networks:
                if "scorer" not in weights.tensors:
                    raise CheckpointError(f"{weights.source} holds {sorted(weights.tensors)}, expected a scorer")
                load_strictly(networks["net"], weights.tensors["scorer"], weights.source)
                new: dict[str, list[str]] = {}
            else:
                new = start_gan(cfg.model.module.stage, **networks, parent=weights)
            log.info("%s starts from %s%s", cfg.model.name, weights.source, describe_new(new))
        module: pl.LightningModule = instantiate(cfg.model.module, **networks)
    module.parent = parent_hash  # type: ignore[assignment]
    return module


def start_name(cfg: DictConfig) -> Any:
    """What weights to start from: ``checkpoint=``, else the model's default; None for fresh ones or a resumed run."""
    name = cfg.model.default_checkpoint if cfg.checkpoint is None else cfg.checkpoint
    if cfg.ckpt_path is not None or name == "scratch":
        return None
    return OmegaConf.to_container(name) if OmegaConf.is_list(name) else name


def describe_new(new: dict[str, list[str]]) -> str:
    names = [f"{network}.{key}" for network, keys in new.items() for key in keys]
    return f"; new: {', '.join(names)}" if names else ""


# ---------------------------------------------------------------------- find_vectors


def find_vectors(cfg: DictConfig) -> float:
    """Finds directions with a composed ``conf/find_vectors.yaml``; returns the mean sum of correlations."""
    check_find_vectors(cfg)
    started = time.monotonic()
    folder = Path(cfg.paths.output_dir)
    space, layer = open_space(cfg), instantiate(cfg.layer)
    layer.check(space.generator)
    check_names(cfg, space.property_names)
    plan = generation_plan(cfg)
    finder: DirectionFinder = instantiate(cfg.method.finder)
    save_config(cfg)

    found, num_reused = find_directions(cfg, space, layer, finder)
    save_directions(folder / "vectors.safetensors", found)
    tables.write_directions(folder / "vectors", found.directions, found.group_names, layer.name, found.properties)

    with progress_bar("testing", cfg.test.num_latents) as report:
        test = run_vector_test(
            *(space, layer, found, plan, cfg.test.num_latents),
            signed=cfg.test.signed,
            max_passes=cfg.test.max_passes,
            progress=report,
        )
    seconds, results = time.monotonic() - started, test.summary()
    tables.write_cases(folder / f"test_result_{found.method}_{layer.name}.csv", test.cases)
    row = tables.sweep_row(cfg.n, seconds, finder.metrics_, results, int(0.2 * cfg.n), found.properties)
    tables.append_sweep_row(folder / f"test_result_summary_{found.method}_{layer.name}.csv", row)
    strips = draw_strips(space, layer, found, test, **cfg.strips)
    save_strips(folder / "strips", strips)
    metrics = {"n": cfg.n, "seconds": round(seconds, 1), "test": results, "finder": finder.metrics_}
    metrics |= {"response": test.response().tolist(), "bank_samples_reused": num_reused}
    write_json(folder / "metrics.json", metrics)
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    search = VectorSearch(settings, space, layer, found, finder.metrics_, test, strips, seconds)
    write_report(folder / "report.html", vector_page(search))
    log_vectors(cfg, results)
    return results["sum_mean_corr"]


def find_directions(
    cfg: DictConfig, space: FaceSpace, layer: Layer, finder: DirectionFinder
) -> tuple[DirectionSet, int]:
    """Fits the finder on the bank's samples; returns what it found, and how many samples the bank held already."""
    bank, names, edited = ScoreBank(cfg.paths.bank_dir, space), space.property_names, tuple(cfg.properties)
    num_reused = min(bank.num_stored(), cfg.n)
    log.info("bank %s holds %d of the %d samples", bank.folder, num_reused, cfg.n)
    with progress_bar("sampling", cfg.n) as report:
        scores = bank.scores(cfg.n, report)
    cuts: dict[str, float] = {}
    if cfg.groups == "medians":
        given = cfg.medians or medians(scores, names, cfg.group_by)
        cuts = {name: given[name] for name in cfg.group_by}
    groups = group_names(scores, cuts, names, tuple(cuts)) if cuts else None
    with progress_bar("finding", 1) as report:
        finder.fit(bank.codes(layer, cfg.n), scores, groups, progress=report, names=names, edited=edited)
    origin = provenance(cfg, space, finder)
    directions, of_groups = finder.directions_, finder.group_names_
    return DirectionSet(directions, of_groups, layer.name, cfg.method.name, cuts, origin, edited), num_reused


def open_space(cfg: DictConfig) -> FaceSpace:
    """Generator, scorer and device of a composed config."""
    device = open_device(cfg)
    return FaceSpace(open_generator(cfg.checkpoint), open_scorer(cfg.scorer), device, cfg.batch_size, cfg.seed)


def log_vectors(cfg: DictConfig, results: dict[str, float]) -> None:
    """Sends what was found to the loggers and says it."""
    folder = Path(cfg.paths.output_dir)
    with open_loggers(make_loggers(cfg)) as loggers:
        flat = {f"test/{k}": float(v) for k, v in results.items()}
        for logger in loggers:
            logger.log_metrics(flat)
        log_files(loggers, [folder / "vectors.safetensors", folder / "report.html"], "vectors")
    log.info("%s", describe_results(results, cfg.properties))
    log.info("report: %s", folder / "report.html")


def provenance(cfg: DictConfig, space: FaceSpace, finder: DirectionFinder) -> dict[str, Any]:
    """What directions were made from."""
    return {
        "n": cfg.n,
        "seed": cfg.seed,
        "generator": weights_hash(space.generator),
        "generator_file": file_hash(resolve(cfg.checkpoint)),
        "scorer": weights_hash(space.scorer),
        "method": OmegaConf.to_container(cfg.method, resolve=True),
        "metrics": finder.metrics_,
    }


# ---------------------------------------------------------------------- shared


def open_device(cfg: DictConfig) -> Device:
    """The device of a composed config, known to be there."""
    device: Device = instantiate(cfg.device).check()
    if device.accelerator == "cpu":
        keep_freed_memory()
    return device


def command_line() -> str:
    """The command that started this run, without what only says where on this machine files lie."""
    kept = [a for a in sys.argv[1:] if not a.startswith(("paths.", "ckpt_path="))]
    return " ".join(["python", Path(sys.argv[0]).name, *kept])


def make_callbacks(cfg: DictConfig) -> list[Callback]:
    """The callbacks of ``conf/callbacks``, less those that a Trainer flag switches off."""
    switched_off = [
        kind
        for kind, flag in ((ProgressBar, "enable_progress_bar"), (Checkpoint, "enable_checkpointing"))
        if not cfg.trainer[flag]
    ]
    return [c for c in instantiate(cfg.callbacks).values() if not isinstance(c, tuple(switched_off))]


def make_loggers(cfg: DictConfig) -> list[Logger]:
    """The loggers of ``conf/logger``, whose other keys (``mode``) are settings that they share."""
    return [logger for logger in instantiate(cfg.logger).values() if isinstance(logger, Logger)]


def save_config(cfg: DictConfig) -> None:
    """Keeps the run's whole configuration in its folder."""
    path = Path(cfg.paths.output_dir) / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cfg, path, resolve=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, default=float) + "\n")
