"""Which version of the embedded world a model learns from, and whether all that has a part in it is of that version."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ohlora_gan.data.generated import GeneratedDataModule
from ohlora_gan.same_world import Member, check_same_world, network, networks, world_of
from ohlora_gan.training.sampling_callbacks import filters_for


def check_worlds(data: Any, start: Sequence[Member], scoring: Sequence[Member] = ()) -> int | None:
    """The version of the embedded world that a model learns from: its data's, or else that of its start weights; None
    where neither is known to be of one.

    Args:
        data: the data module.
        start: weights that training starts from, or the run that goes on, see `start_member`.
        scoring: what scores a GAN's faces while it trains, see `scoring_members`.

    Raises:
        ValueError: if they are of several versions.
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
    return [*makers, *networks("filter", data.filters, none)]


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


def scoring_members(scorer: str | Path | None, filters: Sequence[str | Path] | None, resolution: int) -> list[Member]:
    """What scores a GAN's faces while it trains; arguments as those of `sampling_callbacks.open_panel`."""
    scorers = [] if scorer is None else [network("scorer", scorer, "scorer=null filters=[] for none")]
    chosen = filters_for(resolution) if filters is None else filters
    return [*scorers, *networks("filter", chosen, "filters=[] for none")]
