"""train(cfg) and find_vectors(cfg): instantiate in order, run, save; no maths."""

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, Checkpoint, ProgressBar
from pytorch_lightning.loggers import Logger
from tqdm import tqdm

from ohlora_gan import seeding
from ohlora_gan.checkpoint import CheckpointError, file_hash, load_strictly, weights_hash
from ohlora_gan.config import check_find_vectors, check_train
from ohlora_gan.devices import Device, keep_freed_memory
from ohlora_gan.directions.base import DirectionFinder
from ohlora_gan.directions.groups import group_names, medians
from ohlora_gan.directions.storage import DirectionSet, save_directions
from ohlora_gan.evaluation import tables
from ohlora_gan.evaluation.generation_test import PASS_THRESHOLDS, Case, run_generation_test, strength_grid, summary
from ohlora_gan.evaluation.pictures import save_strips
from ohlora_gan.evaluation.report import write_report
from ohlora_gan.evaluation.report_data import ReportData, Strip
from ohlora_gan.evaluation.training_report import read_training
from ohlora_gan.evaluation.vector_report import (
    accuracy_table,
    case_grid,
    headline,
    make_strips,
    response,
    strip_strengths,
)
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.generator import Generator
from ohlora_gan.pretrained import open_checkpoint, resolve
from ohlora_gan.training.gan_module import GanModule
from ohlora_gan.training.loggers import log_files, open_loggers
from ohlora_gan.training.stages import open_parents, start_gan
from ohlora_gan.vocabulary import EDITED_PROPERTIES, PROPERTIES

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
    data = instantiate(cfg.data)
    if cfg.model.needs_labels and not data.labelled:
        raise ValueError(f"model={cfg.model.name} learns from scores, which these pictures lack: use data=faces")
    module = build_module(cfg)
    if device.compile and isinstance(module, GanModule):
        module.compile_networks()
    save_config(cfg)
    callbacks = make_callbacks(cfg)
    with open_loggers(make_loggers(cfg)) as loggers:
        trainer: pl.Trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers, **device.trainer_options())
        for logger in loggers:
            logger.log_hyperparams(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
        trainer.fit(module, datamodule=data, ckpt_path=cfg.ckpt_path, weights_only=True)
        if cfg.model.test and not trainer.should_stop:
            trainer.test(module, datamodule=data, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if trainer.is_global_zero:
        write_json(Path(cfg.paths.output_dir) / "metrics.json", metrics)
    if cfg.metric is not None and cfg.metric not in metrics:
        raise ValueError(f"metric={cfg.metric} was not logged, expected one of {', '.join(sorted(metrics))}")
    return metrics.get(cfg.metric)


def build_module(cfg: DictConfig) -> pl.LightningModule:
    """The LightningModule with its start weights: a parent's, or fresh ones that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.stream_key(cfg.seed, "init") % 2**63)
        parent = start_name(cfg)
        if "discriminator" in cfg.model.module:
            networks = {name: instantiate(cfg.model.module[name]) for name in ("generator", "discriminator")}
        else:
            networks = {"net": instantiate(cfg.model.module.net)}
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
    finder: DirectionFinder = instantiate(cfg.method.finder)
    save_config(cfg)

    bank = ScoreBank(cfg.paths.bank_dir, space)
    stored = min(bank.num_stored(), cfg.n)
    log.info("bank %s holds %d of the %d samples", bank.folder, stored, cfg.n)
    with progress("sampling", cfg.n) as report:
        scores = bank.scores(cfg.n, report)
    codes = bank.codes(layer, cfg.n)
    cuts = dict(cfg.medians or medians(scores)) if cfg.groups == "medians" else {}
    groups = group_names(scores, cuts) if cuts else None
    with progress("finding", 1) as report:
        finder.fit(codes, scores, groups, progress=report)
    found = DirectionSet(
        finder.directions_, finder.group_names_, layer.name, cfg.method.name, cuts, provenance(cfg, space, finder)
    )
    save_directions(folder / "vectors.safetensors", found)
    tables.write_directions(folder / "vectors", found.directions, found.group_names, layer.name)

    test_codes, test_groups, cases = test_directions(cfg, space, layer, found)
    seconds = time.monotonic() - started
    results = summary(cases)
    slopes = response(strength_grid(cfg.test.strengths), cases)
    tables.write_cases(folder / f"test_result_{cfg.method.name}_{layer.name}.csv", cases)
    row = tables.sweep_row(cfg.n, seconds, finder.metrics_, results, k=int(0.2 * cfg.n))
    tables.append_sweep_row(folder / f"test_result_summary_{cfg.method.name}_{layer.name}.csv", row)
    few = slice(0, cfg.strips.num_faces)
    ranges = {
        name: strip_strengths(slopes[i, PROPERTIES.index(name)], cfg.strips.reach, cfg.strips.steps)
        for i, name in enumerate(EDITED_PROPERTIES)
    }
    strips = make_strips(space, layer, found, test_codes[few], test_groups[few].tolist(), ranges)
    save_strips(folder / "strips", strips)
    metrics = {"n": cfg.n, "seconds": round(seconds, 1), "test": results, "finder": finder.metrics_}
    write_json(folder / "metrics.json", metrics | {"response": slopes.tolist(), "bank_samples_reused": stored})
    page = vector_page(cfg, space, layer, found, finder, test_codes, cases, strips, slopes, seconds)
    write_report(folder / "report.html", page)
    with open_loggers(make_loggers(cfg)) as loggers:
        flat = {f"test/{k}": float(v) for k, v in results.items()}
        for logger in loggers:
            logger.log_metrics(flat)
        log_files(loggers, [folder / "vectors.safetensors", folder / "report.html"], "vectors")
    log.info("%s", describe_results(results))
    log.info("report: %s", folder / "report.html")
    return results["sum_mean_corr"]


def open_space(cfg: DictConfig) -> FaceSpace:
    """Generator, scorer and device of a composed config."""
    device, weights = open_device(cfg), open_checkpoint(cfg.checkpoint)
    generator = weights.build(weights.generator_name)
    assert isinstance(generator, Generator)
    return FaceSpace(generator, open_checkpoint(cfg.scorer).build("scorer"), device, cfg.batch_size, cfg.seed)


def test_directions(
    cfg: DictConfig, space: FaceSpace, layer: Layer, found: DirectionSet
) -> tuple[np.ndarray, np.ndarray, list[Case]]:
    """The image generation test on fresh latents: their codes, groups and results."""
    z, label = space.latents("test", range(cfg.test.num_latents))
    codes = space.codes(layer, z, label)
    base = space.score_codes(layer, codes)
    groups = group_names(base, found.medians) if found.medians else np.array(found.group_names * len(codes))
    with progress("testing", len(codes)) as report:
        cases = run_generation_test(
            codes,
            groups,
            found,
            lambda moved: space.score_codes(layer, moved),
            strength_grid(cfg.test.strengths),
            signed=cfg.test.signed,
            max_passes=cfg.test.max_passes,
            progress=report,
        )
    return codes, groups, cases


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


def vector_page(
    cfg: DictConfig,
    space: FaceSpace,
    layer: Layer,
    found: DirectionSet,
    finder: DirectionFinder,
    codes: np.ndarray,
    cases: Sequence[Case],
    strips: Sequence[Strip],
    slopes: np.ndarray,
    seconds: float,
) -> ReportData:
    """The report's content."""
    order = sorted(cases, key=lambda case: case.sum_abs_corr)
    picked = [(f"Best of {len(cases)}", order[-1]), (f"Worst of {len(cases)}", order[0])]
    sample_z, sample_label = space.latents("samples", range(100))
    notes = ["A strength is a length along a unit direction; it means different things in layers of different sizes."]
    if layer.equivalent_to_w:
        notes.append(f"{layer.name} edits are w edits: w = w1' + w2', so the edit (d1, d2) moves w by d1 + d2.")
    if not cfg.test.signed:
        notes.append("The published rule was used: a latent passes on the size of its correlations, not their sign.")
    return ReportData(
        title="Directions that open the eyes, open the mouth and turn the head",
        subtitle=f"{cfg.method.name} at {layer.name}, n = {cfg.n:,}",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        headline=headline(summary(cases), cfg.n, seconds),
        settings=page_settings(cfg, found),
        notes=notes,
        samples=space.images(layer, space.codes(layer, sample_z, sample_label)),
        strips=strips,
        accuracy=accuracy_table(finder.metrics_),
        correlations={name: [case.corrs[name] for case in cases] for name in PASS_THRESHOLDS},
        thresholds=PASS_THRESHOLDS,
        passed=np.array([case.passed for case in cases]),
        response=slopes,
        cases=[
            case_grid(title, case, space, layer, found, codes[case.index], cfg.test.strengths) for title, case in picked
        ],
        training=read_training(cfg.checkpoint),
    )


def page_settings(cfg: DictConfig, found: DirectionSet) -> dict[str, dict[str, str]]:
    finder = {k: str(v) for k, v in cfg.method.finder.items() if k != "_target_"}
    return {
        "Run": {"method": cfg.method.name, "layer": found.layer, "samples": f"{cfg.n:,}", "seed": str(cfg.seed)},
        "Models": {"generator": str(cfg.checkpoint), "scorer": str(cfg.scorer), "device": str(cfg.device.name)},
        "Finder": finder,
        "Groups": {name: f"{value:.3f}" for name, value in found.medians.items()} or {"groups": "none"},
        "Test": {"latents": str(cfg.test.num_latents), "strengths": cfg.test.strengths, "signed": str(cfg.test.signed)},
    }


def describe_results(results: dict[str, float]) -> str:
    means = ", ".join(f"{name} {results[f'{name}_mean_corr']:.3f}" for name in PASS_THRESHOLDS)
    return f"mean correlations: {means}; {results['num_passed']} of {results['num_cases']} latents pass"


# ---------------------------------------------------------------------- shared


class progress:
    """A progress bar as a callback ``(done, total)``."""

    def __init__(self, what: str, total: int):
        self.bar = tqdm(total=total, desc=what, file=sys.stderr)

    def __enter__(self) -> Callable[[int, int], None]:
        return self.update

    def update(self, done: int, total: int) -> None:
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def __exit__(self, *_: object) -> None:
        self.bar.close()


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
