"""``ohlora join``: several property networks of the same attributes as one scorer, their mean."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ohlora_gan.errors import answer, parser_of
from ohlora_gan.models import checkpoint
from ohlora_gan.models.checkpoint import Checkpoint, CheckpointError
from ohlora_gan.models.combined import MeanScorer
from ohlora_gan.models.zoo import open_checkpoint, resolve
from ohlora_gan.world.same_world import check_same_world, networks


def run(scorers: Sequence[str], output: Path) -> str:
    """Writes the mean of property networks as a scorer; says in a line what it is.

    Scores are in the units of the first: where the files say by which mean and deviation their scores were
    normalised, the others' are converted.

    Args:
        scorers: shipped models' names or files.
        output: the ``.safetensors`` file.

    Raises:
        ValueError: for fewer than two, or for networks that score different attributes or have learnt from different
            versions of the embedded world.
    """
    if len(scorers) < 2:
        raise ValueError(f"{len(scorers)} scorer is given, expected two or more to take the mean of")
    world = check_same_world(*networks("scorer", scorers))
    opened = [open_checkpoint(name) for name in scorers]
    nets = [weights.build("scorer") for weights in opened]
    alone = MeanScorer.of(nets)  # what is wrong with them shows here
    scale, shift = to_first_units(opened, alone.property_names)
    parents = [checkpoint.file_hash(resolve(name)) for name in scorers]
    mean, data = MeanScorer.of(nets, scale, shift), opened[0].info.get("data")
    checkpoint.save(output, {"scorer": mean}, stage="joined", parents=parents, data=data, world=world)
    return f"the mean of {len(nets)} networks scores {', '.join(alone.property_names)}: {output}"


def to_first_units(opened: Sequence[Checkpoint], names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Scale and shift ``[len(opened), len(names)]`` by which scores come into the units of the first.

    Raises:
        CheckpointError: if some of them say what their units are, and others do not.
    """
    units = [statistics(weights, names) for weights in opened]
    if all(found is None for found in units):
        return torch.ones(len(units), len(names)), torch.zeros(len(units), len(names))
    if silent := [weights.source for weights, found in zip(opened, units, strict=True) if found is None]:
        raise CheckpointError(
            f"{silent[0]} does not say by what its scores were normalised, but others do: give scorers that were "
            f"trained on one kind of data"
        )
    mean, std = torch.stack([found for found in units if found is not None], dim=1)
    return std / std[0], (mean - mean[0]) / std[0]


def statistics(weights: Checkpoint, names: Sequence[str]) -> Tensor | None:
    """Mean and deviation ``[2, len(names)]`` by which a scorer's attributes were normalised; 0 and 1 of binary ones."""
    found: dict[str, Any] = (weights.info.get("data") or {}).get("normalization") or {}
    if not found.get("std"):
        return None
    return torch.tensor([[found["mean"].get(n, 0.0) for n in names], [found["std"].get(n, 1.0) for n in names]])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("join", __doc__)
    parser.add_argument("scorers", nargs="+", help="property networks: shipped models' names or files")
    parser.add_argument("--output", type=Path, required=True, help="the file of the scorer: NAME.safetensors")
    given = parser.parse_args(arguments)
    return answer(lambda: run(given.scorers, given.output))


if __name__ == "__main__":
    sys.exit(main())
