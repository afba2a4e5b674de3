"""train(cfg): instantiate in order, run, save; no maths."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, Checkpoint, EarlyStopping, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from ohlora_gan import rng
from ohlora_gan.devices import Device, keep_freed_memory
from ohlora_gan.files import write_json, write_text
from ohlora_gan.models import checkpoint
from ohlora_gan.models.checkpoint import CheckpointError, load_strictly
from ohlora_gan.models.filters import FilterEnsemble, start_at
from ohlora_gan.models.zoo import check_world, read_filters, shipped_filters
from ohlora_gan.names import WORLD
from ohlora_gan.pipelines.checks import (
    check_data,
    check_train,
    filter_attributes,
    is_filter,
    is_gan,
    open_parents,
    start_gan,
)
from ohlora_gan.pipelines.logged import log_model, log_start, make_loggers
from ohlora_gan.pipelines.records import command_line
from ohlora_gan.pipelines.resume import check_resumed
from ohlora_gan.pipelines.runs import write_origins
from ohlora_gan.training import filters
from ohlora_gan.training.callbacks import GracefulStop, StopDiverged, TrainingProgress, end_if_stopped, filters_for
from ohlora_gan.training.filters import CrossValidation, FilterModule, Fit, FoldData
from ohlora_gan.training.gan import GanModule
from ohlora_gan.training.loggers import open_loggers
from ohlora_gan.trust import check_secrets, instantiate

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> float | None:
    """Trains the model of a composed ``conf/train.yaml``; returns ``optimized_metric``, for sweepers."""
    check_train(cfg)
    cfg.command = cfg.command or command_line()
    device, data = open_device(cfg), open_data(cfg)
    world = learnt_world(cfg, data)
    module = None if is_filter(cfg) else build_module(cfg, data.attribute_names)
    if module is not None:
        module.world = world  # type: ignore[assignment]
        check_data(cfg.model.name, module, data)
        if cfg.ckpt_path is not None:
            check_resumed(cfg, module)
    save_config(cfg, made_from(cfg))
    with open_loggers(make_loggers(cfg)) as loggers:
        log_start(loggers, cfg, made_from(cfg))
        if module is None:
            metrics = train_filter(cfg, device, data, loggers, world)
        else:
            metrics = train_module(cfg, module, device, data, loggers)
        log_model(loggers, cfg)
    rank_zero_only(write_json)(Path(cfg.paths.output_dir) / "metrics.json", metrics)
    wanted = cfg.optimized_metric
    if wanted is not None and wanted not in metrics:
        raise ValueError(f"optimized_metric={wanted} was not logged, expected one of {', '.join(sorted(metrics))}")
    return metrics.get(wanted)


def open_data(cfg: DictConfig) -> Any:
    """The data module of a composed config, with the attributes that the model learns."""
    if is_filter(cfg):
        cfg.data.attributes = filter_attributes(cfg)
    elif "attributes" in cfg.model and cfg.data.get("attributes") is None:
        cfg.data.attributes = cfg.model.attributes
    data = instantiate(cfg.data)
    if cfg.model.needs_labels and not data.labelled:
        raise ValueError(
            f"model={cfg.model.name} learns from scores, which these pictures lack: give data.labels=FILE.csv, or "
            f"use data=faces"
        )
    return data


def scoring_networks(cfg: DictConfig) -> dict[str, Any]:
    """The scorer and the filters that score a GAN's faces while it trains, by name; empty where nothing does."""
    scores = cfg.callbacks.get("scores") if is_gan(cfg) else None
    if scores is None:
        return {}
    filters = filters_for(cfg.resolution) if scores.filters is None else scores.filters
    return {"scorer": scores.scorer_checkpoint, "filters": filters}


def made_from(cfg: DictConfig) -> dict[str, Any]:
    """The networks that a training takes part in, by setting: start weights, what scores faces, what made them."""
    used = {"checkpoint": start_name(cfg), "ckpt_path": cfg.ckpt_path} | scoring_networks(cfg)
    if "num_generated" in cfg.data:
        filters = shipped_filters() if cfg.data.filters is None else cfg.data.filters
        used |= {"data.checkpoint": cfg.data.checkpoint, "data.scorer": cfg.data.scorer, "data.filters": filters}
    return used


def train_module(
    cfg: DictConfig, module: pl.LightningModule, device: Device, data: pl.LightningDataModule, loggers: list[Logger]
) -> dict[str, float]:
    """Fits and, where the model asks for it, tests a module; returns what it logged.

    Raises KeyboardInterrupt (`errors.Terminated`) when a signal has ended training early, and all is saved.
    """
    if device.compile and isinstance(module, GanModule):
        module.compile_networks()
    callbacks = make_callbacks(cfg)
    trainer: pl.Trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers, **device.trainer_options())
    trainer.fit(module, datamodule=data, ckpt_path=cfg.ckpt_path, weights_only=True)
    end_if_stopped(callbacks)
    if cfg.model.test and not trainer.should_stop:
        trainer.test(module, datamodule=data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def build_module(cfg: DictConfig, attribute_names: Sequence[str] = ()) -> pl.LightningModule:
    """The LightningModule with its start weights: a parent's, or fresh ones that depend on the seed alone.

    A network with the setting ``names`` gets the names of the data's attributes there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.stream_key(cfg.model.seed, "init") % 2**63)
        if is_gan(cfg):
            networks = {name: instantiate(cfg.model.module[name]) for name in ("generator", "discriminator")}
        else:
            names = {"names": list(attribute_names)} if "names" in cfg.model.module.net else {}
            networks = {"net": instantiate(cfg.model.module.net, **names)}
        parent_hash = None
        if (parent := start_name(cfg)) is not None:
            weights, parent_hash = open_parents(parent)
            fresh: list[str] = []
            if is_gan(cfg):
                new = start_gan(cfg.model.module.stage, **networks, parent=weights)
                fresh = [f"{network}.{key}" for network, keys in new.items() for key in keys]
            elif "scorer" in weights.tensors:
                load_strictly(networks["net"], weights.tensors["scorer"], weights.source)
            else:
                raise CheckpointError(f"{weights.source} holds {sorted(weights.tensors)}, expected a scorer")
            said = f"; new: {', '.join(fresh)}" if fresh else ""
            log.info("%s starts from %s%s", cfg.model.name, weights.source, said)
        module: pl.LightningModule = instantiate(cfg.model.module, **networks)
    module.parent = parent_hash  # type: ignore[assignment]
    return module


def start_name(cfg: DictConfig) -> Any:
    """What weights to start from: ``checkpoint=``, else the model's default; None for fresh ones or a resumed run."""
    name = cfg.model.default_checkpoint if cfg.checkpoint is None else cfg.checkpoint
    if cfg.ckpt_path is not None or name == "scratch":
        return None
    return OmegaConf.to_container(name) if OmegaConf.is_list(name) else name


KINDS = {
    "scorer": "scorer",
    "filters": "filter",
    "data.checkpoint": "generator",
    "data.scorer": "scorer",
    "data.filters": "filter",
}
"""Setting -> the kind of its networks; start weights are of any kind."""


def learnt_world(cfg: DictConfig, data: Any) -> int | None:
    """The version of the embedded world that a model learns from: its data's, or else that of its start weights; None
    where neither is known to be of one. CheckpointError for a network whose world is drawn no more."""
    start = "generator" if is_gan(cfg) else "filter" if is_filter(cfg) else "scorer"
    learnt = {data.world}
    for setting, given in made_from(cfg).items():
        kind = KINDS.get(setting)
        names = [given] if isinstance(given, str | Path) else given or []
        worlds = {check_world(name, kind or start, kind) for name in names}
        learnt |= set() if setting in ("scorer", "filters") else worlds
    return WORLD if WORLD in learnt else None


def open_device(cfg: DictConfig) -> Device:
    """The device of a composed config, known to be there."""
    device: Device = instantiate(cfg.device).check()
    if device.accelerator == "cpu":
        keep_freed_memory()
    return device


def make_callbacks(cfg: DictConfig) -> list[Callback]:
    """The callbacks of ``conf/callbacks``, less those that are null or that a Trainer flag switches off."""
    flags = {"enable_progress_bar": ProgressBar, "enable_checkpointing": Checkpoint}
    switched_off = tuple(kind for flag, kind in flags.items() if not cfg.trainer[flag])
    return [c for c in instantiate(cfg.callbacks).values() if c is not None and not isinstance(c, switched_off)]


def save_config(cfg: DictConfig, used: Mapping[str, Any]) -> None:
    """Keeps the run's whole configuration in its folder, and the networks that it uses so that they are found again."""
    content = OmegaConf.to_yaml(cfg, resolve=True)
    check_secrets(content)
    write_text(Path(cfg.paths.output_dir) / "config.yaml", content)
    write_origins(Path(cfg.paths.output_dir), used)


NO_SETTINGS = ("default_root_dir", "enable_progress_bar", "enable_model_summary", "log_every_n_steps", "profiler")
"""Trainer flags that do not decide the result."""


def train_filter(
    cfg: DictConfig, device: Device, data: Any, loggers: Sequence[Logger], world: int | None
) -> dict[str, float]:
    """Trains all folds of ``cfg.attribute``, saves their ensemble and ``folds.csv``; returns the figures.

    The first score of the data is the attribute, the others the auxiliary ones. A signal raises KeyboardInterrupt;
    finished folds stay in the folder.
    """
    folder, name = Path(cfg.paths.output_dir), cfg.attribute
    plan: CrossValidation = instantiate(cfg.model.folds)
    train = data.dataset("train")
    for column, other in enumerate(cfg.model.auxiliary, start=1):
        known, _ = filters.binary_labels(train.scores[:, column:], other)
        if unknown := len(train) - len(known):
            raise ValueError(
                f"model.auxiliary: {other} is not known of {unknown} pictures, expected of all: leave it out"
            )
    labelled = filters.Labelled(name, train, train.scores, cfg.data.batch_size, cfg.data.num_workers)
    done = filters.run_folds(plan, labelled, make_fit(cfg, device, loggers), folder, settings_of(cfg))
    ensemble, metrics = FilterEnsemble.of([fold.net for fold in done], name), filters.summary(done, plan.threshold)
    log.info("%s, best epochs on each fold's validation part:\n%s", name, filters.format_folds(done, plan.threshold))
    test = data.dataset("test")
    if cfg.model.test and len(test):
        metrics |= filters.evaluate(ensemble, test, test.scores, device.torch_device)
        log.info("Test: %s", ", ".join(f"{k[5:]} {value:.4f}" for k, value in metrics.items() if k.startswith("test/")))
    for logger in loggers:
        logger.log_metrics(metrics, 0)
    info = {"stage": "filter", "seed": cfg.seed, "metrics": metrics, "command": cfg.command, "world": world}
    checkpoint.save(folder / "model.safetensors", {name: ensemble.cpu()}, **info)
    return metrics


def settings_of(cfg: DictConfig) -> dict[str, Any]:
    """What decides the folds' weights, as plain data: a run that goes on must have the same."""
    settings = {key: cfg[key] for key in ("attribute", "seed", "checkpoint")}
    for group in ("model", "data", "trainer"):
        values: Any = OmegaConf.to_container(cfg[group], resolve=True)
        settings |= {f"{group}.{key}": value for key, value in values.items() if key not in NO_SETTINGS}
    return settings


def make_fit(cfg: DictConfig, device: Device, loggers: Sequence[Logger]) -> Fit:
    """The function that trains one attempt at a fold."""
    start = cfg.checkpoint or cfg.model.default_checkpoint
    parents = [] if start == "scratch" else list(read_filters(start)[0].folds)

    def fit(stream: str, data: FoldData, seed: int) -> FilterModule:
        # first weights and dropout draw from torch's own generator
        with torch.random.fork_rng():
            torch.manual_seed(rng.stream_key(cfg.model.seed, f"filter/{cfg.attribute}/{stream}") % 2**63)
            module: FilterModule = instantiate(cfg.model.module, stream=stream, num_auxiliary=len(cfg.model.auxiliary))
            check_resolution(cfg, module)
            if not parents:
                start_at(module.net, data.base_rate)
            else:
                parent = parents[int(stream.partition("/")[0].removeprefix("fold_")) % len(parents)]
                load_strictly(module.net, parent.state_dict(), str(start))
            used = GracefulStop | StopDiverged | TrainingProgress
            callbacks = [callback for callback in make_callbacks(cfg) if isinstance(callback, used)]
            # not strict: a signal in the first epoch ends it without validation
            trainer: pl.Trainer = instantiate(
                cfg.trainer,
                callbacks=[*callbacks, EarlyStopping("val/loss", patience=cfg.model.folds.patience, strict=False)],
                logger=loggers,
                enable_checkpointing=False,
                **device.trainer_options(),
            )
            trainer.fit(module, *data.loaders(seed))
        end_if_stopped(callbacks)
        return module

    return fit


def check_resolution(cfg: DictConfig, module: FilterModule) -> None:
    """Raises ValueError where the network takes images of another size than the data's."""
    if (taken := module.net.resolution) != cfg.resolution:
        raise ValueError(
            f"model={cfg.model.name} takes {taken}x{taken} images, resolution is {cfg.resolution}: "
            f"give resolution={taken}"
        )
