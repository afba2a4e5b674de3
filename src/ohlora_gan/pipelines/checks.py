"""Checks across fields of a composed config: each error names the value, what was expected and the remedy."""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ohlora_gan.directions.base import check_edited, check_group_by
from ohlora_gan.editing.moves import UNITS
from ohlora_gan.errors import near_file
from ohlora_gan.judging.figures import STRENGTHS, Plan, make_plan
from ohlora_gan.judging.judge import SHIPPED_JUDGES, called_judges
from ohlora_gan.latents.metric import PARTS
from ohlora_gan.models.checkpoint import Checkpoint, CheckpointError, check_finite, file_hash, load_strictly
from ohlora_gan.models.gan import Architecture, Discriminator, Generator
from ohlora_gan.models.wrapped import is_factory
from ohlora_gan.models.zoo import open_checkpoint, resolve, world_of
from ohlora_gan.names import EDITED_PROPERTIES, FILE_WORD, GROUP_PROPERTIES, WORLD, is_file_word
from ohlora_gan.pipelines.values import check_values
from ohlora_gan.settings import added_keys, did_you_mean, given_keys
from ohlora_gan.training.gan import GanModule
from ohlora_gan.training.scorers import RegressorModule
from ohlora_gan.world.face import ATTRIBUTES

MIN_SAMPLES = 10  # a group: fewer leave it without validation samples
TRUTH = "truth"


def check_train(cfg: DictConfig) -> None:
    """Raises ValueError for settings of train.py that cannot work together."""
    check_added(cfg)
    check_values(cfg, "train")
    if cfg.ckpt_path is not None and cfg.checkpoint is not None:
        raise ValueError(
            f"ckpt_path={cfg.ckpt_path} resumes a run and checkpoint={cfg.checkpoint} starts one from given weights: "
            f"give one of them"
        )
    resumed = None if cfg.ckpt_path is None else Path(cfg.ckpt_path)
    if resumed and resumed.is_file() and (resumed.suffix == ".safetensors" or not zipfile.is_zipfile(resumed)):
        raise ValueError(
            f"ckpt_path={cfg.ckpt_path} is no run's last.ckpt, or is cut off: give a whole last.ckpt; "
            f"weights alone are given with checkpoint="
        )
    check_used(cfg, TRAINING, [*given_keys(cfg), *(["attribute"] if cfg.attribute is not None else [])])
    size = cfg.model.get("image_size")
    if size is not None and size != cfg.resolution:
        raise ValueError(
            f"model={cfg.model.name} takes {size}x{size} images, resolution is {cfg.resolution}: give resolution={size}"
        )
    if several_devices(cfg) and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ValueError(
            f"device={cfg.device.name} is of several devices, whose processes would start the whole sweep anew: "
            f"give device.devices=1, or start the jobs one after another without -m"
        )
    if is_filter(cfg):
        check_filter(cfg)
    if resumed and not resumed.is_file():
        raise ValueError(
            f"ckpt_path={cfg.ckpt_path} does not exist: {near_file(cfg.ckpt_path)}"
            f"expected the last.ckpt of the run to resume"
        )


def several_devices(cfg: DictConfig) -> bool:
    """Whether the settings ask for more than one process."""
    return bool(cfg.device.devices != 1 or cfg.device.num_nodes != 1)


def check_filter(cfg: DictConfig) -> None:
    """Raises ValueError for settings that a filter cannot be trained with."""
    name = cfg.attribute
    if name is None:
        raise ValueError(
            f"model={cfg.model.name} learns one attribute: give attribute=gender, quality, age, glass or a column of "
            f"your labels"
        )
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(
            f"attribute={name}, expected gender, quality, age, glass or a column of your labels, its name without dots"
        )
    check_auxiliary(cfg)
    asked = cfg.data.get("attributes")
    if OmegaConf.is_list(asked) and asked != [name]:
        raise ValueError(f"data.attributes={list(asked)}, but a filter learns one attribute: give attribute= alone")
    if cfg.ckpt_path is not None:
        raise ValueError(
            f"ckpt_path={cfg.ckpt_path} resumes no filter: give paths.output_dir=, the folder that holds its folds"
        )
    if several_devices(cfg):
        raise ValueError(f"device={cfg.device.name} is of several devices, a filter trains on one: use another device=")
    if "thin" in cfg.data and name not in ATTRIBUTES:
        raise ValueError(f"attribute={name}, {did_you_mean(name, ATTRIBUTES)}expected one of {', '.join(ATTRIBUTES)}")


def check_auxiliary(cfg: DictConfig) -> None:
    """Raises ValueError for auxiliary attributes of a filter that are no list of other attributes' names."""
    names = cfg.model.auxiliary
    if not OmegaConf.is_list(names) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"model.auxiliary={names}, expected a list of attributes' names, such as [Smiling,Bangs]")
    if cfg.attribute in names:
        raise ValueError(
            f"model.auxiliary={list(names)} names the filter's own attribute={cfg.attribute}: name others only"
        )
    if repeated := sorted({name for name in names if list(names).count(name) > 1}):
        raise ValueError(f"model.auxiliary names {', '.join(repeated)} twice, expected each attribute once: remove one")


def filter_attributes(cfg: DictConfig) -> list[str] | dict[str, str]:
    """``data.attributes`` of a filter: its attribute, then the auxiliary ones, by the columns that a mapping gives."""
    asked, names = cfg.data.get("attributes"), [cfg.attribute, *cfg.model.auxiliary]
    return {name: asked.get(name, name) for name in names} if OmegaConf.is_dict(asked) else names


def check_find_vectors(cfg: DictConfig) -> None:
    """Raises ValueError for settings of find_vectors.py that cannot work together."""
    check_added(cfg)
    check_values(cfg, "find_vectors")
    if several_devices(cfg):
        raise ValueError(f"device={cfg.device.name} is of several devices, faces are sampled on one: take another")
    check_choice(cfg, "groups", ("medians", "none"))
    check_choice(cfg, "test.grid", UNITS)
    check_used(cfg, FINDING, [*given_keys(cfg), *(["medians"] if cfg.medians is not None else [])])
    check_name_list(cfg, "properties")
    if cfg.n < MIN_SAMPLES:
        raise ValueError(f"n={cfg.n} is too small to find directions, expected at least {MIN_SAMPLES}")
    if cfg.groups == "medians":
        check_groups(cfg)
    if cfg.metric.get("region") is not None:
        check_choice(cfg, "metric.region", PARTS)
    if cfg.num_calibration < 2:
        raise ValueError(f"num_calibration is {cfg.num_calibration}, expected a whole number of at least 2 latents")
    if is_closed_loop(cfg) and cfg.test.grid != "sigma":
        raise ValueError(f"test.grid={cfg.test.grid}, but a closed loop knows no lengths: give test.grid=sigma")
    generation_plan(cfg)


def chosen_judge(cfg: DictConfig) -> str | list[str] | None:
    """Who judges besides the finding scorer; ``auto``: the shipped judge of a shipped scorer, and the truth where the
    generator has learnt from the embedded world; nobody for other scorers."""
    if cfg.judge == "auto":
        judge = SHIPPED_JUDGES.get(str(cfg.scorer))
        return [judge, TRUTH] if judge and world_of(cfg.checkpoint, "generator") == WORLD else judge
    judges = called_judges(list(cfg.judge) if OmegaConf.is_list(cfg.judge) else cfg.judge, str(cfg.scorer))
    return judges if OmegaConf.is_list(cfg.judge) else next(iter(judges), None)


def check_groups(cfg: DictConfig) -> None:
    """Raises ValueError for groups that cannot be made."""
    check_name_list(cfg, "group_by")
    group_by = cfg.group_by or GROUP_PROPERTIES
    num_groups = 2 ** len(group_by)
    if cfg.n < MIN_SAMPLES * num_groups:
        raise ValueError(
            f"n={cfg.n} is too small for {num_groups} groups, expected at least {MIN_SAMPLES * num_groups} (some "
            f"thousands for good directions): raise n, or give groups=none"
        )
    missing = [name for name in group_by if cfg.medians is not None and name not in cfg.medians]
    if missing:
        raise ValueError(f"medians lack {', '.join(missing)}: give one for each of group_by, or medians=null")


def check_name_list(cfg: DictConfig, key: str) -> None:
    """Raises ValueError unless a key is null or holds different names that can be part of a file's name."""
    names = cfg[key]
    if names is None:
        return
    if not OmegaConf.is_list(names) or not names or len({*names}) < len(names):
        raise ValueError(f"{key} is {names}, expected a list of different names such as [eyes,mouth]")
    if bad := [name for name in names if not is_file_word(name)]:
        raise ValueError(f"{key} names {bad[0]!r}, expected {FILE_WORD}")


def check_names(cfg: DictConfig, property_names: Sequence[str]) -> None:
    """Raises ValueError where a config of find_vectors.py asks for what its scorer does not measure."""
    for name in cfg.properties:
        if name not in property_names and (guess := did_you_mean(name, property_names)):
            names = ", ".join(property_names)
            raise ValueError(f"properties names {name}, {guess}expected some of what the scorer measures: {names}")
    check_edited(cfg.properties, property_names)
    finders = cfg.method.finder.get("finders") if "finder" in cfg.method else None
    missing = [] if finders is None else [name for name in cfg.properties if name not in finders]
    if missing:
        raise ValueError(
            f"method {cfg.method.name} has no finder for {missing[0]}: give one with "
            f"'+method.finder.finders.{missing[0]}=${{method.parts.svm.finder}}', or edit other properties"
        )
    if cfg.groups == "medians":
        check_group_by(cfg.group_by, property_names)


def generation_plan(cfg: DictConfig) -> Plan:
    """The image generation test of a composed config.

    ``test.strengths`` is a published set's name or property -> strengths. Properties that it leaves out, or all where
    it is null, have the published ones: in sigmas one set for all methods, as lengths that of the method.
    """
    strengths, thresholds = cfg.test.strengths, cfg.test.thresholds
    if strengths is not None and not OmegaConf.is_dict(strengths) and strengths not in STRENGTHS:
        options = ", ".join(STRENGTHS)
        raise ValueError(f"test.strengths is {strengths!r}, expected one of {options}, or {{property: [-1,0,1]}}")
    if thresholds is not None and not OmegaConf.is_dict(thresholds):
        raise ValueError(f"test.thresholds is {thresholds!r}, expected {{property: correlation}} or null")
    published, own = "svm" if cfg.test.grid == "sigma" else cfg.method.strengths, strengths
    if isinstance(strengths, str):
        published, own = strengths, None
    plan = make_plan(cfg.properties or EDITED_PROPERTIES, published, own, thresholds)
    return replace(plan, unit=cfg.test.grid, signed=cfg.test.signed)


def check_added(cfg: DictConfig) -> None:
    """Raises ValueError for a key that ``+KEY=`` adds at the top, where nothing reads it."""
    for key in added_keys(cfg):
        guess = did_you_mean(key, [str(known) for known in cfg if known != key], "{}=")
        raise ValueError(f"+{key}= adds a key that nothing reads: {guess}leave it out")


def check_choice(cfg: DictConfig, key: str, options: Sequence[str]) -> None:
    """Raises ValueError for a value that is none of those that a key can have."""
    value = OmegaConf.select(cfg, key)
    if value not in options:
        raise ValueError(f"{key} is {value!r}, {did_you_mean(str(value), options)}expected one of {', '.join(options)}")


# --- Settings that the chosen model, method, metric or data would ignore: each is refused with a remedy ---

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
        ignorant: the key of the choice that decides, such as ``model.name``, or in words what does not use them.
    """

    keys: tuple[str, ...]
    used: Callable[[DictConfig], bool]
    by: str
    ignorant: str

    def refusal(self, cfg: DictConfig, key: str) -> str:
        """The sentence about a key that is given and ignored."""
        choice = OmegaConf.select(cfg, self.ignorant)
        shown = self.ignorant if " " in self.ignorant else f"{self.ignorant.removesuffix('.name')}={choice}"
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


A_GAN = "(model=finetune_v9)"
FINDERS = "it is for methods that find directions (method=mean_jacobian)"
TRAINING = (
    Use(("attribute",), is_filter, "it is what a filter learns (model=filter_cnn)", "model.name"),
    Use(
        ("scorer", "filters"),
        lambda cfg: is_gan(cfg) or "num_generated" in cfg.data,
        "it scores a generator's faces (model=finetune_v9, or data=generated)",
        "model.name",
    ),
    Use(("callbacks.samples", "callbacks.scores"), is_gan, f"it looks at a generator's faces {A_GAN}", "model.name"),
    Use(
        ("callbacks.checkpoint", "callbacks.export"),
        lambda cfg: not is_filter(cfg),
        "a filter's folds are kept one by one",
        "model.name",
    ),
    Use(
        ("device.compile",),
        lambda cfg: is_gan(cfg) or not cfg.device.compile,
        f"a generator and its discriminator are compiled {A_GAN}",
        "model.name",
    ),
    Use(
        ("model.keep", "model.thin", "model.num_images"),
        lambda cfg: "thin" in cfg.data,
        "it chooses among rendered faces (data=faces)",
        "data that are not rendered",
    ),
    Use(
        ("data.attributes",),
        lambda cfg: not is_gan(cfg) or cfg.model.needs_labels or "thin" not in cfg.data,
        "it says what is learnt of rendered faces (model=property_cnn, or finetune_v1)",
        "model.name",
    ),
)
FINDING = (
    Use(
        ("medians", "group_by"),
        lambda cfg: cfg.groups != "none",
        "it makes groups of faces (groups=medians)",
        "groups",
    ),
    Use(("n", "num_calibration"), lambda cfg: not is_closed_loop(cfg), FINDERS, "method.name"),
    Use(
        ("groups", "correct"),
        lambda cfg: not is_closed_loop(cfg) or (cfg.groups == "none" and not cfg.correct),
        FINDERS,
        "method.name",
    ),
    Use(
        ("metric",),
        uses_metric,
        "it says what a step costs (method=ridge, mean_jacobian, local_jacobian, closed_loop, or svm with "
        "method.finder.decorrelate=all)",
        "method.name",
    ),
    Use(
        ("method.metric",),
        lambda cfg: OmegaConf.is_interpolation(cfg.metric, "name"),
        "it is the metric of metric=auto",
        "metric.name",
    ),
    *(
        Use(
            (f"metric.{key}",),
            lambda cfg, key=key: key in METRIC_SETTINGS[cfg.metric.name],  # type: ignore[misc]
            "it is a setting of "
            + " and ".join(f"metric={name}" for name in METRIC_SETTINGS if key in METRIC_SETTINGS[name]),
            "metric.name",
        )
        for key in METRIC_SETTINGS["image"]
    ),
    Use(
        ("method.strengths",),
        lambda cfg: cfg.test.grid == "reference",
        "it names published lengths (test.grid=reference); test.strengths= says what is tested",
        "test.grid",
    ),
    Use(
        ("test.landmarks_pose",),
        lambda cfg: "landmarks" in (cfg.judge if OmegaConf.is_list(cfg.judge) else [cfg.judge]),
        "it is about landmarks (judge=landmarks)",
        "judge",
    ),
    Use(("distill",), lambda cfg: is_factory(cfg.scorer), "it is for scorers that are code (landmarks)", "scorer"),
)
"""What uses the settings of train.py, and of find_vectors.py; settings that are not named here are always used."""


def check_used(cfg: DictConfig, uses: Sequence[Use], given: Sequence[str]) -> None:
    """Raises ValueError for the first of the given keys and groups that none of `TRAINING` or `FINDING` uses."""
    for key in given:
        for use in uses:
            if any(f"{key}.".startswith(f"{of}.") for of in use.keys) and not use.used(cfg):
                raise ValueError(use.refusal(cfg, key))


# --- What a training starts from: a parent's weights, data that its model can learn from ---


def fresh_tensors(stage: str, generator: Generator, discriminator: Discriminator) -> dict[str, set[str]]:
    """Tensors of a stage's networks that the stage before lacks or has in another shape; they start as initialised."""
    names, last = set(generator.state_dict()), discriminator.last_layer
    if stage == "finetune_v1":  # the label joins z (dense0 grows from 512 to 528 inputs) and the last layer's input
        joined = names & {"mapping.label_weight", "mapping.dense0.weight"}
        return {"generator": joined, "discriminator": {f"{last}.weight", f"{last}.bias"}}
    branch = {name for name in names if name.startswith("mapping.dense_new")} if stage == "finetune_v9" else set()
    return {"generator": branch, "discriminator": set()}


def open_parents(names: str | Path | Sequence[str | Path]) -> tuple[Checkpoint, str]:
    """One checkpoint, or several files (a generator's and a discriminator's) as one, and the hash of what was read."""
    listed = [names] if isinstance(names, str | Path) else list(names)
    parts = [open_checkpoint(name) for name in listed]
    merged = Checkpoint({}, {}, dict(parts[0].info), " and ".join(p.source for p in parts))
    for part in parts:
        merged.tensors.update(part.tensors)
        merged.networks.update(part.networks)
        merged.file_keys.update(part.file_keys)
    hashes = [file_hash(resolve(name)) for name in listed]
    return merged, hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def start_gan(
    stage: str, generator: Generator, discriminator: Discriminator, parent: Checkpoint
) -> dict[str, list[str]]:
    """Loads a stage's start weights into its networks; returns the tensors of each that the parent did not have so.

    Raises:
        CheckpointError: if a network is missing, or anything but the stage's new tensors does not fit.
    """
    fresh = fresh_tensors(stage, generator, discriminator)
    parts = {"generator": (generator, parent.generator_name), "discriminator": (discriminator, "discriminator")}
    for _, source in parts.values():
        if source not in parent.tensors:
            raise CheckpointError(
                f"{parent.source} holds {sorted(parent.tensors)} but no {source}, which {stage} starts from: "
                f"give both files, checkpoint=[generator.pth,discriminator.pth]"
            )
    for trained, source in parts.values():
        held = type_name(parent, source)
        if held not in (None, type(trained).__name__):
            raise CheckpointError(
                f"{parent.source} holds a {held}, but {stage} trains StyleGAN-1's {type(trained).__name__}: give its "
                f"weights; directions of any generator are found by python find_vectors.py checkpoint="
            )
    check_same_maths(generator, parent)
    found = {}
    for name, (net, source) in parts.items():
        where, called = f"{parent.source} ({source})", parent.file_keys.get(source)
        check_finite(parent.tensors[source], where, called)
        found[name] = load_strictly(net, parent.tensors[source], where, fresh[name], called)
        for key in found[name]:
            if key in parent.tensors[source] and key.endswith(".weight"):
                widen(net.state_dict()[key], parent.tensors[source][key], scaled=name == "discriminator")
    return found


@torch.no_grad()
def widen(weight: torch.Tensor, old: torch.Tensor, scaled: bool) -> None:
    """Makes of a dense layer's weight ``[F, D]`` one that takes a label too and ignores it, ``[F, D + label_dim]``.

    With a label of zeros the network is then what it was. The layer divides its weight by the root of its inputs'
    number. In the mapping the norm of its input makes up for that; where nothing does, the old weight is ``scaled``.
    """
    joined, before = weight.shape[1], old.shape[1]
    weight.zero_()
    weight[:, :before] = old * ((joined / before) ** 0.5 if scaled else 1.0)


def check_same_maths(generator: Generator, parent: Checkpoint) -> None:
    """CheckpointError where the start weights belong to a generator that computes otherwise with the same tensors."""
    told = parent.networks.get(parent.generator_name, {}).get("config", {})
    for name in ("fused_from", "norm_epsilon", "bias_before_blur", "final_tanh"):
        here = generator.config[name]
        if (theirs := told.get(name, getattr(Architecture, name))) != here:
            raise CheckpointError(
                f"{parent.source} is of a generator with {name} {theirs}, the one to train has {here}: give "
                f"+model.module.generator.{name}={str(theirs).lower()}"
            )


def type_name(weights: Checkpoint, name: str) -> str | None:
    """The class of a network of a file, without its module; None where the file does not say."""
    described = weights.networks.get(name)
    return str(described["class"]).rpartition(".")[2] if described else None


def check_data(model: str, module: pl.LightningModule, data: Any) -> None:
    """Raises ValueError, with the remedy, if a model's module cannot learn from the scores of a data module."""
    if isinstance(module, RegressorModule):
        check_regression(model, module.property_names, module.binary_names, data)
        return
    if not isinstance(module, GanModule):
        return
    names, dim = data.attribute_names, module.generator.label_dim
    if module.settings.label_source == "data" and len(names) < dim:
        raise ValueError(
            f"model={model} takes the first {dim} scores of a picture for its label, but the data have "
            f"{len(names)} ({', '.join(names)}): name {dim} in data.attributes, or lower "
            f"model.module.generator.label_dim"
        )
    check_latents(module, getattr(data, "latents", None))


def check_latents(module: GanModule, latents: int | None) -> None:
    """Pictures come with latents, of the generator's length, where the module learns from their pixels, and only there;
    ValueError."""
    pixels, z_dim = bool(module.settings.pixel_weight), module.generator.z_dim
    if latents is not None and not pixels:
        raise ValueError(
            f"data.latents={latents} has no effect without model.module.pixel_weight: give it, such as 50, or leave "
            f"data.latents out"
        )
    if pixels and latents != z_dim:
        raise ValueError(
            f"model.module.pixel_weight is for pictures that come with the latents they stand for, {z_dim} numbers by "
            f"this generator, and data.latents is {latents}: give data=faces data.latents={z_dim}, or "
            f"model.module.pixel_weight=0"
        )


def check_regression(model: str, outputs: list[str], logits: list[str], data: Any) -> None:
    """The scores must be the network's outputs, in their order, and yes or no where these are logits, only there."""
    names = list(data.attribute_names)
    if names != outputs:
        raise ValueError(
            f"model={model} scores {', '.join(outputs)}, but the data have {', '.join(names)}: "
            f"use model=attribute_cnn, which learns any attributes"
        )
    for split in ("val", "test"):
        if len(data.dataset(split)) == 1:
            raise ValueError(
                f"the data have one picture for {split}, where figures of {names[0]} need two: give "
                f"data.num_{split}=0, or 2 or more"
            )
    scores = data.dataset("train").scores
    binary = [name for name, column in zip(names, scores.T, strict=True) if np.isin(column, (0, 1)).all()]
    if wrong := [name for name in binary if name not in logits]:
        raise ValueError(
            f"{wrong[0]} is binary, which model={model} cannot learn: use model=filter_cnn attribute={wrong[0]}"
        )
    if wrong := [name for name in logits if name not in binary]:
        raise ValueError(
            f"{wrong[0]} has other values than 0 and 1, but model={model} takes it for yes or no: "
            f"leave it out of model.module.net.binary"
        )
