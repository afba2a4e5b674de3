"""A scorer that has no derivatives, or that is slow, as a small network: trained on a generator's own pictures.

The pictures are labelled by the scorer and kept; ``train.py model=attribute_cnn_photo data=generated`` learns from
them, as a stage that goes on where it was interrupted, see `chain`. What the network cannot tell is left out.
"""

import csv
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ohlora_gan.files import locked
from ohlora_gan.judging.figures import markdown
from ohlora_gan.models import checkpoint
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.models.scorers import PhotoCNN
from ohlora_gan.models.zoo import open_generator, open_scorer
from ohlora_gan.options import Distilling
from ohlora_gan.pipelines.chain import Stage, run_stage
from ohlora_gan.pipelines.shells import environment

log = logging.getLogger(__name__)

LEAST_R2 = 0.3
"""Of a property on held-out pictures; with less the network hardly tells one picture from another."""
LEAST_PICTURES = 500
SCORER, TABLE = "scorer.safetensors", "scorer_table.csv"


@dataclass(frozen=True)
class Distilled:
    """A distilled scorer: its file, and how well each property of the scorer that it learnt from is told."""

    path: Path
    figures: dict[str, dict[str, float]]  # property -> r2, reliability, ... on held-out pictures

    @property
    def left_out(self) -> list[str]:
        """Properties that could not be learnt."""
        return [name for name, of in self.figures.items() if not of["r2"] >= LEAST_R2]

    def table(self) -> str:
        """The figures as Markdown, and a word on what is left out."""
        heads, rows = ("r2", "pearson", "reliability"), []
        for name, of in self.figures.items():
            word = "cannot be learnt: left out" if name in self.left_out else ""
            rows.append((name, *(f"{of[head]:.3f}" for head in heads), word))
        return markdown(("property", "R²", *heads[1:], ""), rows)


def distil(generator: str, scorer: str, how: Distilling) -> Distilled:
    """Distils a scorer on pictures of a generator; both are names, files or factories. One that was distilled before in
    the same way is read.

    Raises:
        ValueError: for too few pictures, or where no property can be learnt.
    """
    if how.n < LEAST_PICTURES or how.epochs < 1:
        raise ValueError(f"n is {how.n}, epochs {how.epochs}, expected at least {LEAST_PICTURES} pictures and 1 epoch")
    made, told = open_generator(generator), open_scorer(scorer)
    known = [weights_hash(made), weights_hash(told), how.n, how.epochs, how.seed, how.device]
    folder = how.output / hashlib.sha256(repr(known).encode()).hexdigest()[:16]
    if (folder / SCORER).is_file():
        log.info("%s is distilled already: %s", scorer, folder / SCORER)
        return Distilled(folder / SCORER, read_figures(folder))
    log.info("%s is distilled on %d pictures of %s, once, to %s", scorer, how.n, generator, folder / SCORER)
    stage = training(generator, scorer, how, folder, 64 if made.resolution >= 64 else 32)
    with locked(folder) as lock:
        if not stage.is_done(key := stage.key()):
            run_stage(stage, key, Path.cwd(), lock, environment())
        found = Distilled(folder / SCORER, read_figures(folder))
        if len(found.left_out) == len(found.figures):
            told_of = ", ".join(f"{name} {of['r2']:.2f}" for name, of in found.figures.items())
            raise ValueError(
                f"nothing of {scorer} can be learnt from {how.n} pictures of {generator} (R²: {told_of}): give more"
            )
        save(found, stage.folder / stage.output, scorer)
    return found


def training(generator: str, scorer: str, how: Distilling, folder: Path, side: int) -> Stage:
    """The training of the network as a stage; its pictures, of this side, are made, labelled and kept at first."""
    num_test = min(how.n // 10, 2000)
    settings: dict[str, Any] = {"model": "attribute_cnn_photo", "data": "generated", "device": how.device}
    settings |= {"data.checkpoint": generator, "scorer": scorer, "filters": [], "data.num_generated": how.n}
    settings |= {"resolution": side, "data.resize": True, "data.cache_dir": str(folder.parent / "pictures")}
    settings |= {"data.num_val": max(num_test // 4, 64), "data.num_test": max(num_test, 64), "seed": how.seed}
    return Stage("network", "-m ohlora_gan train", folder / "network", settings | {"trainer.max_epochs": how.epochs})


def read_figures(folder: Path) -> dict[str, dict[str, float]]:
    """The held-out figures of a trained network, a property each."""
    with open(folder / "network" / TABLE, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row.pop("property"): {name: float(value) for name, value in row.items()} for row in rows}


def save(found: Distilled, trained: Path, scorer: str) -> None:
    """Writes the network with the outputs that it has learnt."""
    weights = checkpoint.load(trained)
    net = weights.build("scorer")
    assert isinstance(net, PhotoCNN)
    info = weights.info | {"distilled_from": scorer, "figures": found.figures, "left_out": found.left_out}
    checkpoint.save(found.path, {"scorer": without_outputs(net, found.left_out)}, **info)


def without_outputs(net: PhotoCNN, left_out: Sequence[str]) -> PhotoCNN:
    """The same network without some of its outputs."""
    rows = [i for i, name in enumerate(net.property_names) if name not in left_out]
    fewer = PhotoCNN(**{**net.config, "names": [net.property_names[i] for i in rows]})
    state = {key: value[rows] if key.startswith("last.") else value for key, value in net.state_dict().items()}
    fewer.load_state_dict(state)
    return fewer
