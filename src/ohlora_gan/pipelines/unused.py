"""Settings that the chosen model, method, metric or data would ignore: each is refused, and told what would use it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

METRIC_SETTINGS: dict[str, tuple[str, ...]] = {
    "euclid": (),
    "cloud": ("num_latents", "shrinkage"),
    "image": ("num_latents", "num_probes", "shrinkage", "cloud", "region"),
}
"""What measures each metric: its settings in ``conf/metric``."""


@dataclass(frozen=True)
class Use:
    """What uses some settings.

    Attributes:
        keys: the settings, each with all that lies below it.
        used: whether a composed config uses them.
        by: what uses them, and how to have it.
        ignorant: what does not, in the form of a setting whose parts are looked up, such as ``model={model.name}``.
    """

    keys: tuple[str, ...]
    used: Callable[[DictConfig], bool]
    by: str
    ignorant: str

    def refusal(self, cfg: DictConfig, key: str) -> str:
        """The sentence about a key that is given and ignored."""
        shown = self.ignorant
        for part in ("model.name", "method.name", "metric.name", "groups", "judge", "test.grid", "data._target_"):
            shown = shown.replace("{" + part + "}", str(OmegaConf.select(cfg, part)).rpartition(".")[2])
        return f"{key}= is ignored by {shown}: {self.by}; leave it out"


def is_filter(cfg: DictConfig) -> bool:
    """Whether train.py trains a filter: folds instead of one network."""
    return "folds" in cfg.model


def is_gan(cfg: DictConfig) -> bool:
    """Whether train.py trains a generator and its discriminator."""
    return "discriminator" in cfg.model.module


def is_closed_loop(cfg: DictConfig) -> bool:
    """Whether find_vectors.py moves faces by feedback instead of along directions."""
    return "loop" in cfg.method


def uses_metric(cfg: DictConfig) -> bool:
    """Whether the method asks what a step costs: not where it follows planes' normals or a network's gradient."""
    if is_closed_loop(cfg):
        return True
    planes = {"svm": "method.finder", "mixed": "method.parts.svm.finder"}
    if place := planes.get(cfg.method.name):
        return bool(OmegaConf.select(cfg, f"{place}.decorrelate") != "none")
    return bool(cfg.method.name != "gradient")


TRAINING = (
    Use(("attribute",), is_filter, "it is what a filter learns (model=filter_cnn)", "model={model.name}"),
    Use(
        ("scorer", "filters"),
        lambda cfg: is_gan(cfg) or "num_generated" in cfg.data,
        "it scores a generator's faces (model=finetune_v9, or data=generated)",
        "model={model.name}",
    ),
    Use(
        ("callbacks.samples", "callbacks.scores"),
        is_gan,
        "it looks at a generator's faces (model=finetune_v9)",
        "model={model.name}",
    ),
    Use(
        ("callbacks.checkpoint", "callbacks.export"),
        lambda cfg: not is_filter(cfg),
        "a filter's folds are kept one by one",
        "model={model.name}",
    ),
    Use(
        ("device.compile",),
        lambda cfg: is_gan(cfg) or not cfg.device.compile,
        "a generator and its discriminator are compiled (model=finetune_v9)",
        "model={model.name}",
    ),
    Use(
        ("model.keep", "model.thin", "model.num_images"),
        lambda cfg: "thin" in cfg.data,
        "it chooses among rendered faces (data=faces)",
        "data that are not rendered",
    ),
)
FINDING = (
    Use(
        ("medians", "group_by"),
        lambda cfg: cfg.groups != "none",
        "it makes groups of faces (groups=medians)",
        "groups={groups}",
    ),
    Use(
        ("n", "num_calibration"),
        lambda cfg: not is_closed_loop(cfg),
        "it is for methods that find directions (method=mean_jacobian)",
        "method={method.name}",
    ),
    Use(
        ("groups", "correct"),
        lambda cfg: not is_closed_loop(cfg) or (cfg.groups == "none" and not cfg.correct),
        "it is for methods that find directions (method=mean_jacobian)",
        "method={method.name}",
    ),
    Use(
        ("metric",),
        uses_metric,
        "it says what a step costs (method=ridge, mean_jacobian, local_jacobian, closed_loop, or svm with "
        "method.finder.decorrelate=all)",
        "method={method.name}",
    ),
    Use(
        ("method.metric",),
        lambda cfg: OmegaConf.is_interpolation(cfg.metric, "name"),
        "it is the metric of metric=auto",
        "metric={metric.name}",
    ),
    *(
        Use(
            (f"metric.{key}",),
            lambda cfg, key=key: key in METRIC_SETTINGS[cfg.metric.name],  # type: ignore[misc]
            "it is a setting of "
            + " and ".join(f"metric={name}" for name in METRIC_SETTINGS if key in METRIC_SETTINGS[name]),
            "metric={metric.name}",
        )
        for key in METRIC_SETTINGS["image"]
    ),
    Use(
        ("method.loop.own", "method.loop.num_own"),
        lambda cfg: cfg.metric.name == "image",
        "it is about the face's own picture (metric=image)",
        "metric={metric.name}",
    ),
    Use(
        ("method.strengths",),
        lambda cfg: cfg.test.grid == "reference",
        "it names published lengths (test.grid=reference); test.strengths= says what is tested",
        "test.grid={test.grid}",
    ),
    Use(
        ("test.landmarks_pose",),
        lambda cfg: "landmarks" in (cfg.judge if OmegaConf.is_list(cfg.judge) else [cfg.judge]),
        "it is about landmarks (judge=landmarks)",
        "judge={judge}",
    ),
)
"""What uses the settings of train.py, and of find_vectors.py; settings that are not named here are always used."""


def check_used(cfg: DictConfig, uses: Sequence[Use], given: Sequence[str]) -> None:
    """Raises ValueError for the first setting that is given and would be ignored.

    Args:
        cfg: a composed config.
        uses: `TRAINING` or `FINDING`.
        given: dotted keys and groups that the user gave.
    """
    for key in given:
        for use in uses:
            if any(f"{key}.".startswith(f"{of}.") for of in use.keys) and not use.used(cfg):
                raise ValueError(use.refusal(cfg, key))
