"""Checks across fields of a composed config: each error names the value, what was expected and the remedy."""

import zipfile
from pathlib import Path

from omegaconf import DictConfig

from ohlora_gan.evaluation.generation_test import STRENGTHS

MIN_GROUPED = 160  # 16 groups of 10 samples: fewer leave a group without validation samples


def check_train(cfg: DictConfig) -> None:
    """Raises ValueError for settings of train.py that cannot work together."""
    if cfg.ckpt_path is not None and cfg.checkpoint is not None:
        raise ValueError(
            f"ckpt_path={cfg.ckpt_path} resumes a run and checkpoint={cfg.checkpoint} starts one from given weights: "
            f"give one of them"
        )
    if cfg.ckpt_path is not None and Path(cfg.ckpt_path).is_file() and not is_run_checkpoint(Path(cfg.ckpt_path)):
        raise ValueError(
            f"ckpt_path={cfg.ckpt_path} is no run's last.ckpt, or is cut off: give a whole last.ckpt; "
            f"weights alone are given with checkpoint="
        )
    for flag in ("max_epochs", "max_steps"):
        value = cfg.trainer[flag]
        if value is not None and not isinstance(value, int):
            raise ValueError(f"trainer.{flag} is {value!r}, expected a whole number (-1: no limit)")
    check_seed(cfg.seed)


def is_run_checkpoint(path: Path) -> bool:
    """Whether a file is a whole torch archive, as Lightning's checkpoints are."""
    return path.suffix != ".safetensors" and zipfile.is_zipfile(path)


def check_find_vectors(cfg: DictConfig) -> None:
    """Raises ValueError for settings of find_vectors.py that cannot work together."""
    check_seed(cfg.seed)
    if cfg.groups not in ("medians", "none"):
        raise ValueError(f"groups is {cfg.groups!r}, expected 'medians' (16 groups) or 'none'")
    if cfg.groups == "medians" and cfg.n < MIN_GROUPED:
        raise ValueError(
            f"n={cfg.n} is too small for 16 groups, expected at least {MIN_GROUPED} (some thousands for good "
            f"directions): raise n, or give groups=none"
        )
    if cfg.n < 10:
        raise ValueError(f"n={cfg.n} is too small to find directions, expected at least 10")
    if cfg.test.num_latents < 1:
        raise ValueError(f"test.num_latents={cfg.test.num_latents}, expected at least 1")
    if cfg.strips.num_faces < 1 or cfg.strips.num_faces > cfg.test.num_latents:
        raise ValueError(
            f"strips.num_faces={cfg.strips.num_faces}, expected 1 to test.num_latents ({cfg.test.num_latents})"
        )
    if cfg.test.strengths not in STRENGTHS:
        raise ValueError(f"test.strengths is {cfg.test.strengths!r}, expected one of {', '.join(STRENGTHS)}")


def check_seed(seed: object) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"seed is {seed!r}, expected a whole number")
