"""What a training starts from: a parent's weights, data that its model can learn from, one version of the world."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from ohlora_gan.data.datamodules import GeneratedDataModule
from ohlora_gan.models.checkpoint import Checkpoint, CheckpointError, file_hash, load_strictly
from ohlora_gan.models.gan import Discriminator, Generator
from ohlora_gan.models.zoo import open_checkpoint, resolve
from ohlora_gan.training.gan import GanModule
from ohlora_gan.training.scorers import RegressorModule
from ohlora_gan.world.versions import Member, check_same_world, network, networks, world_of


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
    hashes = [file_hash(resolve(name)) for name in listed]
    return merged, hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def start_gan(
    stage: str, generator: Generator, discriminator: Discriminator, parent: Checkpoint
) -> dict[str, list[str]]:
    """Loads a stage's start weights into its networks; returns the tensors of each that the parent did not have.

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
    return {
        name: load_strictly(network, parent.tensors[source], f"{parent.source} ({source})", fresh[name])
        for name, (network, source) in parts.items()
    }


def check_data(model: str, module: pl.LightningModule, data: Any) -> None:
    """Raises ValueError, with the remedy, if a model's module cannot learn from the scores of a data module."""
    if isinstance(module, RegressorModule):
        check_regression(model, module.property_names, module.binary_names, data)
    elif isinstance(module, GanModule) and module.settings.label_source == "data":
        names, dim = data.attribute_names, module.generator.label_dim
        if len(names) < dim:
            raise ValueError(
                f"model={model} takes the first {dim} scores of a picture for its label, but the data have "
                f"{len(names)} ({', '.join(names)}): name {dim} in data.attributes, or lower "
                f"model.module.generator.label_dim"
            )


def check_regression(model: str, outputs: list[str], logits: list[str], data: Any) -> None:
    """The scores must be the network's outputs, in their order, and yes or no where these are logits, only there."""
    names = list(data.attribute_names)
    if names != outputs:
        raise ValueError(
            f"model={model} scores {', '.join(outputs)}, but the data have {', '.join(names)}: "
            f"use model=attribute_cnn, which learns any attributes"
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


def check_worlds(data: Any, start: Sequence[Member], scoring: Sequence[Member] = ()) -> int | None:
    """The version of the embedded world that a model learns from: its data's, or else that of its start weights; None
    where neither is known to be of one. ValueError if these and what scores a GAN's faces are of several versions.
    """
    learning = [*data_members(data), *start]
    world = check_same_world(*learning)
    check_same_world(*learning, *scoring)
    return world


def data_members(data: Any) -> list[Member]:
    """What a data module's pictures and scores come from."""
    if not isinstance(data, GeneratedDataModule):
        return [Member(f"data.world={data.world} renders world {data.world}", data.world)]
    none = "filters=[] for none"
    makers = network("generator", data.checkpoint, called="data.checkpoint"), network("scorer", data.scorer)
    return [*makers, *networks("filter", data.filters or [], none)]


def start_member(name: str | Path, data: Any, resumed: bool = False) -> Member:
    """Weights that training on some data starts from, or the run that goes on."""
    world = world_of(name)
    if isinstance(data, GeneratedDataModule):
        remedies = [f"give a data.checkpoint of world {world}"]
    else:
        remedies = [] if data.world is None else [f"give data.world={world}"]
    remedies.append("resume another run" if resumed else "start from other weights (checkpoint=scratch: none)")
    key = "ckpt_path" if resumed else "checkpoint"
    return Member(f"{key} {name} has learnt from world {world}", world, otherwise=", or ".join(remedies))


def scoring_members(scorer: str | Path | None = None, filters: Sequence[str | Path] = ()) -> list[Member]:
    """What scores a GAN's faces while it trains."""
    scorers = [] if scorer is None else [network("scorer", scorer, "scorer=null filters=[] for none")]
    return [*scorers, *networks("filter", filters, "filters=[] for none")]
