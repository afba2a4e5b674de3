"""Which weights a training stage starts from, and which of its tensors are new."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ohlora_gan.checkpoint import Checkpoint, CheckpointError, file_hash, load_strictly
from ohlora_gan.models.discriminator import Discriminator
from ohlora_gan.models.generator import Generator
from ohlora_gan.pretrained import open_checkpoint, resolve


def fresh_generator_tensors(stage: str, generator: Generator) -> set[str]:
    """Tensors that the stage before lacks or has in another shape, by stage; they start as initialised."""
    names = set(generator.state_dict())
    if stage == "finetune_v1":  # the label joins z: dense0 grows from 512 to 528 inputs
        return names & {"mapping.label_weight", "mapping.dense0.weight"}
    if stage == "finetune_v9":  # the new branch of the mapping
        return {name for name in names if name.startswith("mapping.dense_new")}
    return set()


def fresh_discriminator_tensors(stage: str, discriminator: Discriminator) -> set[str]:
    """As ``fresh_generator_tensors``: in v1 the label joins the last layer's input."""
    last = discriminator.last_layer
    return {f"{last}.weight", f"{last}.bias"} if stage == "finetune_v1" else set()


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
    """Loads a stage's start weights into its networks.

    Returns:
        The tensors of each network that the parent did not have.

    Raises:
        CheckpointError: if a network is missing, or anything but the stage's new tensors does not fit.
    """
    source = parent.generator_name
    for name in (source, "discriminator"):
        if name not in parent.tensors:
            raise CheckpointError(
                f"{parent.source} holds {sorted(parent.tensors)} but no {name}, which {stage} starts from: "
                f"give both files, checkpoint=[generator.pth,discriminator.pth]"
            )
    return {
        "generator": load_strictly(
            generator, parent.tensors[source], f"{parent.source} ({source})", fresh_generator_tensors(stage, generator)
        ),
        "discriminator": load_strictly(
            discriminator,
            parent.tensors["discriminator"],
            f"{parent.source} (discriminator)",
            fresh_discriminator_tensors(stage, discriminator),
        ),
    }
