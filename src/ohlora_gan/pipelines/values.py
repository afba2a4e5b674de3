"""The types of the settings of train.py and find_vectors.py: no value of another one passes in silence.

Most are said by the annotations of what a ``_target_`` takes; those that no class takes are listed here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from ohlora_gan.checked import check_ranges, check_settings, fits, words
from ohlora_gan.errors import UserError
from ohlora_gan.trust import nodes

Names = Sequence[str] | None
COMMON: Mapping[str, Any] = {"seed": int, "paths.output_dir": str}
TRAIN: Mapping[str, Any] = {
    "resolution": int,
    "checkpoint": str | Sequence[str] | None,
    "attribute": str | None,
    "ckpt_path": str | None,
    "scorer": str | None,
    "filters": Names,
    "optimized_metric": str | None,
    "command": str | None,
    "model.name": str,
    "model.seed": int,
    "model.test": bool,
    "model.needs_labels": bool,
    "model.batch_size": int,
    "model.num_images": int,
    "model.max_epochs": int,
    "model.keep": Mapping[str, float] | None,
    "model.thin": Mapping[str, float] | None,
    "model.default_checkpoint": str,
    "model.auxiliary": Names,
    "model.image_size": int,
}
FIND_VECTORS: Mapping[str, Any] = {
    "n": int,
    "checkpoint": str,
    "scorer": str,
    "judge": str | Sequence[str] | None,
    "batch_size": int,
    "truncation_psi": float,
    "properties": Names,
    "groups": str,
    "group_by": Names,
    "medians": Mapping[str, float] | None,
    "num_calibration": int,
    "correct": bool,
    "distill.n": int,
    "distill.epochs": int,
    "distill.output": str,
    "test.num_latents": int,
    "test.max_passes": int | None,
    "test.grid": str,
    "test.strengths": str | Mapping[str, Sequence[float]] | None,
    "test.thresholds": Mapping[str, float] | None,
    "test.signed": bool,
    "test.retest": bool,
    "test.num_saturation": int,
    "test.region": Mapping[Literal["top", "bottom", "left", "right"], float] | None,
    "test.landmarks_pose": Literal["turn", "tilt"],
    "strips.num_faces": int,
    "strips.reach": float,
    "strips.steps": int,
    "paths.bank_dir": str,
    "method.loop.hold": str | Sequence[str],
    "method.loop.targets": Literal["change", "score"],
    "method.loop.beyond": Literal["clip", "refuse", "allow"],
    "method.loop.damping": float,
    "method.loop.steps": int,
    "method.loop.longest": float,
    "method.loop.refresh": int,
    "metric.num_latents": int | None,
    "metric.num_probes": int | None,
    "metric.shrinkage": float | None,
    "metric.cloud": float | None,
    "metric.region": str | None,
}
TYPES: Mapping[str, Mapping[str, Any]] = {"train": {**COMMON, **TRAIN}, "find_vectors": {**COMMON, **FIND_VECTORS}}
"""Task -> setting -> what its value may be."""


def check_values(cfg: DictConfig, task: str) -> None:
    """Raises UserError for a value of another type than its setting's, or a number out of its name's range.

    ``task`` is one of `TYPES`. Settings that the config does not have are left out.
    """
    for key, hint in TYPES[task].items():
        value: Any = OmegaConf.select(cfg, key, default=MISSING)
        if value is not MISSING:
            value = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            check_value(key, value, hint)
    content: Any = OmegaConf.to_container(cfg, resolve=True)
    content = {key: value for key, value in content.items() if key != "hydra"}
    for key, node in nodes(content):
        if isinstance(target := node.get("_target_"), str):
            given = {name: value for name, value in node.items() if not str(name).startswith("_")}
            check_settings(get_object(target), given, f"{key}.")
    check_ranges(content)


MISSING = object()


def check_value(key: str, value: Any, hint: Any) -> None:
    """Raises UserError for a value that is not of an annotated type, or a number out of its name's range."""
    if not fits(value, hint):
        raise UserError(f"{key} is {value!r}, expected {words(hint)}")
    check_ranges({key: value})
