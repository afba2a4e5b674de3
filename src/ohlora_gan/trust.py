"""What a config may start: classes of ours and of installed packages that offer theirs, whoever wrote the config.

A folder of configs may be anybody's, and a ``_target_`` is called with whatever stands beside it. So composed configs
are looked through before anything is made of them, and again what their references come to. Packages of one's own that
offer no entry point (see `registry`) are named on the command line, which no file can do: ``trust=my_package``.
"""

import functools
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import hydra.utils
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ohlora_gan.checked import is_list
from ohlora_gan.errors import UserError
from ohlora_gan.registry import FINDERS, LAYERS, NETWORKS, Registry

REGISTRIES: tuple[Registry, ...] = (NETWORKS, LAYERS, FINDERS)
TARGETS = frozenset(
    {
        *(f"data.datamodules.{name}DataModule" for name in ("Faces", "ImageFolder", "CelebA", "Generated")),
        *(f"training.callbacks.{name}" for name in ("LastCheckpoint", "GracefulStop", "TrainingProgress")),
        *(f"training.callbacks.{name}" for name in ("ExportWeights", "SampleGrid", "ScoreMeans", "StopDiverged")),
        *(f"training.scorers.{name}" for name in ("RegressorModule", "TruthModule")),
        *(f"training.filters.{name}" for name in ("CrossValidation", "FilterModule")),
        *("training.gan.GanModule", "training.gradient_net.NetTrainer"),
        *("training.loggers.WholeCSVLogger", "training.vitals.Vitals", "pipelines.shells.SweepEnd"),
        *(f"training.boards.{name}_logger" for name in ("wandb", "tensorboard", "mlflow")),
        *("devices.Device", "pipelines.find_vectors.Leaderboard"),
    }
)
"""What our configs start beside networks, layers and finders, by its place in this package."""
OTHERS = frozenset({"pytorch_lightning.Trainer"})
OF_HYDRA = ("hydra._internal.core_plugins.", "hydra_plugins.", "optuna.samplers.")
"""Launchers and sweepers: those of Hydra, and of plugins that are installed."""
LOGGING = frozenset({"logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "logging.Formatter"})
STREAMS = frozenset({"ext://sys.stdout", "ext://sys.stderr"})
PROGRAMS = re.compile(r"train\.py|find_vectors\.py|-m ohlora_gan [\w-]+")
"""What a stage of the chain may be."""
SECRET = re.compile(r"(?i)(api_?key|token|secret|password|passwd|credentials?)$")
SHORTEST_SECRET = 8


def ours(registry: Registry) -> Iterator[str]:
    """What configs call the classes of a registry."""
    yield from (f"ohlora_gan.{module}.{name}" for name, module in registry.ours.items())
    yield from registry.offered()


@functools.cache
def known() -> frozenset[str]:
    """All that any config may start."""
    return frozenset({*(f"ohlora_gan.{name}" for name in TARGETS), *OTHERS, *(n for r in REGISTRIES for n in ours(r))})


def trusted(overrides: Sequence[str]) -> tuple[str, ...]:
    """The packages that a command line trusts, by its words ``KEY=VALUE``."""
    said = [word.partition("=")[2] for word in overrides if re.match(r"\+*trust=", word)]
    return tuple(name for value in said for name in re.findall(r"[\w.]+", value) if name != "null")


def check_target(key: str, target: Any, packages: Collection[str]) -> None:
    """Raises UserError for a ``_target_`` that no config may name; ``packages`` are those that are trusted."""
    named = target if isinstance(target, str) else f"a {type(target).__name__}"
    if named in known() or any(named == package or named.startswith(f"{package}.") for package in packages):
        return
    if key.startswith("hydra.") and named.startswith(OF_HYDRA):
        return
    package = named.partition(".")[0]
    own = re.fullmatch(r"\w+", package) and package not in {"ohlora_gan", *sys.stdlib_module_names}
    remedy = (
        f"if you know that code, give trust={package}, or let its package offer it by an entry point "
        f"(docs/architecture.md)"
    )
    raise UserError(f"{key}._target_ is {named}, which no config may start: {remedy if own else 'leave it out'}")


def nodes(content: Any, key: str = "") -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Dotted name of each mapping in nested plain data, and the mapping."""
    if isinstance(content, Mapping):
        yield key, content
        for name, value in content.items():
            yield from nodes(value, f"{key}.{name}".lstrip("."))
    elif is_list(content):
        for i, value in enumerate(content):
            yield from nodes(value, f"{key}[{i}]")


def check_composed(cfg: DictConfig) -> None:
    """Raises UserError where a whole composed config would start what no config may, in Hydra's own part too."""
    content: Any = OmegaConf.to_container(cfg, resolve=False)
    hydra_part = content.get("hydra") or {}
    words = (hydra_part.get("overrides") or {}).get("task") or []
    packages = trusted(words)
    for key, node in nodes(content):
        if "_target_" in node:
            check_target(key, node["_target_"], packages)
        if key.startswith("hydra."):
            check_hydra_node(key, node)
    if (hydra_part.get("job") or {}).get("env_set") and not any("hydra.job.env_set" in word for word in words):
        raise UserError("hydra.job.env_set is given by a config, expected by the command line alone: leave it out")
    for name, stage in (content.get("stages") or {}).items() if content.get("task") == "chain" else ():
        if stage is not None:
            check_stage(name, stage)


def check_hydra_node(key: str, node: Mapping[Any, Any]) -> None:
    """Raises UserError for a part of Hydra's own config that makes objects in another way than by a plain target."""
    for name, value in node.items():
        makes = isinstance(value, str) and re.search(r"\$\{[^}]*oc\.(create|decode)", value)
        logs = key.startswith(("hydra.job_logging", "hydra.hydra_logging"))
        starts = logs and (
            name == "()"
            or (name == "class" and value not in LOGGING)
            or (isinstance(value, str) and value.startswith("ext://") and value not in STREAMS)
        )
        if makes or starts:
            raise UserError(f"{key}.{name} is {value!r}, which no config may start: leave it out")


def check_stage(name: str, stage: Mapping[str, Any]) -> None:
    """Raises UserError for a stage of the chain that is none of our programs, or that says whom to trust."""
    program, settings = stage.get("program"), stage.get("settings") or {}
    if not PROGRAMS.fullmatch(str(program)):
        raise UserError(
            f"stages.{name}.program is {program!r}, expected train.py, find_vectors.py or -m ohlora_gan COMMAND"
        )
    if "trust" in settings:
        raise UserError(f"stages.{name}.settings.trust: a config may not say whom to trust, leave it out")


def guard() -> None:
    """Has Hydra check each config that it composes before it makes anything of it, callbacks and loggers included."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl  # it has no public hook as early as this

    compose: Callable[..., DictConfig] = ConfigLoaderImpl.load_configuration
    if hasattr(compose, "__wrapped__"):
        return

    @functools.wraps(compose)
    def checked(*args: Any, **kwargs: Any) -> DictConfig:
        cfg = compose(*args, **kwargs)
        check_composed(cfg)
        return cfg

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]


def instantiate(node: Any, **given: Any) -> Any:
    """`hydra.utils.instantiate` of a part of a config, once all targets in it are known to be allowed.

    Raises:
        UserError: for one that is not; references to other parts are followed.
    """
    words = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    for key, inner in nodes(OmegaConf.to_container(node, resolve=True)):
        if "_target_" in inner:
            check_target(
                f"{node._get_full_key(None)}.{key}".strip(".") or "a reference's", inner["_target_"], trusted(words)
            )
    return hydra.utils.instantiate(node, **given)


# --- Tokens: they belong in the environment, since settings are kept in files ---


def check_words(words: Sequence[str]) -> None:
    """Raises UserError for a command line that gives a token, or has Hydra unpickle a job of before."""
    for word in words:
        key, equals, value = word.partition("=")
        name = key.rpartition(".")[2]
        if equals and value not in ("", "null") and SECRET.search(name):
            raise UserError(
                f"{key}= would be kept in the run's files for all to read: leave it out, and put it into the "
                f"environment, as in export WANDB_API_KEY=..."
            )
        if key == "--experimental-rerun":
            raise UserError(f"{key} unpickles a file, which could run code: give the settings of that run instead")


def check_secrets(text: str) -> None:
    """Raises UserError where settings, as text, hold a token of the environment."""
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= SHORTEST_SECRET and value in text:
            raise UserError(f"the settings hold the value of {name}, and are kept in files: leave it out of the config")
