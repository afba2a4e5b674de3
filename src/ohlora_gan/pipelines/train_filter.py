"""train(cfg) of ``model=filter_cnn``: a filter's folds, their ensemble, its figures."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.loggers import Logger

from ohlora_gan import rng
from ohlora_gan.devices import Device
from ohlora_gan.models import checkpoint
from ohlora_gan.models.checkpoint import load_strictly
from ohlora_gan.models.filters import FilterEnsemble, start_at
from ohlora_gan.models.zoo import read_filters
from ohlora_gan.training import filters
from ohlora_gan.training.callbacks import GracefulStop, TrainingProgress, was_stopped
from ohlora_gan.training.filters import CrossValidation, FilterModule, Fit, FoldData

log = logging.getLogger(__name__)

NO_SETTINGS = ("default_root_dir", "enable_progress_bar", "enable_model_summary", "log_every_n_steps", "profiler")
"""Trainer flags that do not decide the result."""


def train_filter(
    cfg: DictConfig,
    device: Device,
    data: Any,
    loggers: Sequence[Logger],
    make_callbacks: Callable[[], list[Callback]],
    world: int | None = None,
) -> dict[str, float]:
    """Trains all folds of ``cfg.attribute``, saves ``model.safetensors`` and ``folds.csv``; returns the figures.

    Args:
        cfg: a composed ``conf/train.yaml``.
        device: what to train on.
        data: data module with ``dataset("train")`` and ``dataset("test")``, whose first score is the attribute, the
            others the auxiliary ones.
        loggers: opened; they get every epoch of every fold.
        make_callbacks: the run's callbacks, made anew; those for other models are left out.
        world: version of the embedded world that is learnt from, kept in the file.

    Raises:
        KeyboardInterrupt: after a signal; finished folds stay in the folder.
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
    fit = make_fit(cfg, plan, device, loggers, make_callbacks)
    labelled = filters.Labelled(name, train, train.scores, cfg.data.batch_size, cfg.data.num_workers)
    done = filters.run_folds(plan, labelled, fit, folder, settings_of(cfg))
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


def make_fit(
    cfg: DictConfig,
    plan: CrossValidation,
    device: Device,
    loggers: Sequence[Logger],
    make_callbacks: Callable[[], list[Callback]],
) -> Fit:
    """The function that trains one attempt at a fold."""
    start = cfg.checkpoint or cfg.model.default_checkpoint
    parents = [] if start == "scratch" else list(read_filters(start)[0].folds)

    def fit(stream: str, data: FoldData) -> FilterModule:
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
            callbacks = [c for c in make_callbacks() if isinstance(c, GracefulStop | TrainingProgress)]
            # not strict: a signal in the first epoch ends it without validation
            trainer: pl.Trainer = instantiate(
                cfg.trainer,
                callbacks=[*callbacks, EarlyStopping("val/loss", patience=plan.patience, strict=False)],
                logger=loggers,
                enable_checkpointing=False,
                **device.trainer_options(),
            )
            trainer.fit(module, datamodule=data)
        if was_stopped(callbacks):
            log.info("Stopped in %s; finished folds stay: go on with paths.output_dir=%s", stream, cfg.paths.output_dir)
            raise KeyboardInterrupt
        return module

    return fit


def check_resolution(cfg: DictConfig, module: FilterModule) -> None:
    """Raises ValueError where the network takes images of another size than the data's."""
    if (taken := module.net.resolution) != cfg.resolution:
        raise ValueError(
            f"model={cfg.model.name} takes {taken}x{taken} images, resolution is {cfg.resolution}: "
            f"give resolution={taken}"
        )
