"""What a run is continued from: a whole ``last.ckpt`` of the same networks, and settings that have changed since."""

import logging
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from ohlora_gan.errors import UserError
from ohlora_gan.models.formats import read_torch
from ohlora_gan.pipelines.runs import known_settings

log = logging.getLogger(__name__)

STATE = ("state_dict", "optimizer_states", "loops", "callbacks")
"""What Lightning's checkpoints hold, and weights alone do not."""
DECIDING = ("seed", "resolution", "data", "model", "device.devices", "device.num_nodes", "device.precision")
"""Settings that decide what a training does; of `UNIMPORTANT` ones only where files lie, and how fast it goes."""
UNIMPORTANT = ("num_workers", "device", "report", "summary", "cache_dir", "render_batch_size", "max_epochs")
SHOWN = 6


def check_resumed(cfg: DictConfig, module: pl.LightningModule) -> None:
    """Checks that ``cfg.ckpt_path`` continues a run of this module; says which settings differ from that run's.

    Raises:
        UserError: for a file that is damaged, holds more than data, or is of another model.
    """
    path, remedy = Path(cfg.ckpt_path), "give the last.ckpt of a run of this model, with that run's settings"
    check_whole(path)
    content = read_torch(path)
    if not isinstance(content, Mapping) or not all(key in content for key in STATE):
        raise UserError(f"ckpt_path={path} holds no state of a training: {remedy}; weights are given with checkpoint=")
    own, kept = module.state_dict(), content["state_dict"]
    wrong = [f"{key} is missing" for key in own if key not in kept]
    wrong += [f"{key} is left over" for key in kept if key not in own]
    wrong += [
        f"{key} {list(kept[key].shape)} instead of {list(value.shape)}"
        for key, value in own.items()
        if key in kept and kept[key].shape != value.shape
    ]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UserError(
            f"ckpt_path={path} is of another model than model={cfg.model.name} with these settings "
            f"({', '.join(wrong[:SHOWN])}{more}): {remedy}"
        )
    stage, before = module.hparams.get("stage"), content.get("hyper_parameters", {}).get("stage")
    if stage != before:
        raise UserError(f"ckpt_path={path} is of model={before}, not of model={stage}: {remedy}")
    if changed := list(differences(known_settings(path.parent), cfg)):
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        log.warning(
            "other settings than those of the run in %s, which goes on with them: %s%s",
            path.parent, ", ".join(changed[:SHOWN]), more,
        )  # fmt: skip


def check_whole(path: Path) -> None:
    """Raises UserError where a part of a file of ``torch.save`` is not what its checksum says."""
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        damaged = str(error)
    if damaged is not None:
        raise UserError(f"ckpt_path={path} is damaged ({damaged}): give a whole copy, or start the run anew")


def differences(before: Mapping[str, Any], cfg: DictConfig) -> Iterator[str]:
    """Settings of a run that decide what it does, where they are others now."""
    old, new = (
        {key: value for name in DECIDING for key, value in leaves(name, OmegaConf.select(of, name))}
        for of in (OmegaConf.create(dict(before)), cfg)
    )
    for key in new:
        if key in old and old[key] != new[key] and not set(key.split(".")) & set(UNIMPORTANT):
            yield f"{key}={new[key]} (it had {old[key]})"


def leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every setting at and below a key."""
    plain: Any = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    if isinstance(plain, dict):
        for key, item in plain.items():
            yield from leaves(f"{name}.{key}", item)
    else:
        yield name, plain
