"""Faces from a generator as a data set: made once, scored, and filtered down to those worth training on."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from tqdm import tqdm

from ohlora_gan.data.datamodules import DealingDataModule
from ohlora_gan.data.datasets import ScoredPictures
from ohlora_gan.devices import Device
from ohlora_gan.files import write_json
from ohlora_gan.latents.bank import ImageBank, read_image
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.filters import Panel
from ohlora_gan.models.zoo import open_filters, open_generator, open_scorer, shipped_filters
from ohlora_gan.names import REFERENCE, Threshold, read_thresholds, within
from ohlora_gan.world.versions import world_of

log = logging.getLogger(__name__)


@dataclass(eq=False, repr=False)
class GeneratedDataModule(DealingDataModule):
    """Images from a generator, from random z and labels, of which those within thresholds are kept.

    Images and scores are made at first use, or by Lightning's ``prepare_data``, and kept in ``cache_dir`` under the
    hash of what determines them: the weights, ``seed``, ``psi`` and the precision. ``require`` and ``num_generated``
    choose among them and cost nothing to change; more images begin with those that are there. The first ``num_val`` and
    the next ``num_test`` of those that are kept are not trained on.

    Raises:
        ValueError: if the generator's file is missing or damaged.
    """

    checkpoint: str | Path
    num_generated: int = 15_000
    scorer: str | Path = "property_cnn"
    filters: Sequence[str | Path] | None = None
    require: Mapping[str, str | None] | None = None
    resolution: int = 64
    num_val: int = 0
    num_test: int = 0
    batch_size: int = 8
    mirror: bool = False
    mirror_signs: Mapping[str, float] | None = None
    psi: float = 1.0
    device: Device | None = None
    render_batch_size: int = 50
    cache_dir: str | Path = "runs/generated"
    summary: str | Path | None = None
    num_workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        if self.scorer is None:
            raise ValueError(
                "data.scorer is null, expected a property network's name or file, which scores the generated faces: "
                "give data.scorer=property_cnn (scorer=null is for what is drawn while a GAN trains)"
            )
        self.world = world_of(self.checkpoint)
        self.filters = list(shipped_filters() if self.filters is None else self.filters)

    @cached_property
    def attribute_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The scorer's properties."""
        with torch.random.fork_rng(devices=[]):  # a network draws its first weights, which are then replaced
            return tuple(open_scorer(self.scorer).property_names)  # type: ignore[arg-type]

    def prepare_data(self) -> None:
        """Makes what is missing of the images, and says what is kept; Lightning calls it on rank zero alone."""
        folder, found, _ = self._selected
        log.info("%s", describe(found))
        path = Path(self.summary or folder / "generated.json")
        write_json(path, {"checkpoint": str(self.checkpoint), **found})

    def dataset(self, split: str) -> ScoredPictures:
        """The data set of ``train``, ``val`` or ``test``; ValueError if too few images are within the thresholds."""
        return self._selected[2][split]

    def open_bank(self) -> tuple[ImageBank, list[str]]:
        """The bank of this configuration, and the names of its filters."""
        with torch.random.fork_rng(devices=[]):
            generator, scorer = open_generator(self.checkpoint), open_scorer(self.scorer)
            filters = open_filters(self.filters or [])
        if generator.resolution != self.resolution:
            raise ValueError(
                f"resolution is {self.resolution}, but data.checkpoint={self.checkpoint} makes images of "
                f"{generator.resolution} pixels: set resolution={generator.resolution}, or give another generator"
            )
        panel = Panel({**filters, "scorer": scorer})
        space = FaceSpace(generator, panel, self.device, self.render_batch_size, self.seed, quantize=True)
        return ImageBank(Path(self.cache_dir), space, self.psi), list(filters)

    @cached_property
    def _selected(self) -> tuple[Path, dict[str, Any], dict[str, ScoredPictures]]:
        """The bank's folder, what the filters did, and the kept images by split; what is missing is made."""
        bank, filters = self.open_bank()
        published = {name: bound for name, bound in REFERENCE.items() if name in filters}
        bounds = published if self.require is None else dict(self.require)
        thresholds = read_thresholds(bounds, filters, "data.require")
        stored = min(bank.num_stored(), self.num_generated)
        log.info("%s holds %d of the %d generated images", bank.folder, stored, self.num_generated)
        with tqdm(desc="generating", total=self.num_generated, disable=stored >= self.num_generated) as bar:
            scores = bank.scores(self.num_generated, bar)
        kept = within(scores, filters, thresholds)
        found = summarize(scores, kept, filters, thresholds)
        indices, scores = np.flatnonzero(kept), scores[kept, len(filters) :]
        first = self.num_val + self.num_test
        if len(indices) <= first:
            raise ValueError(
                f"{describe(found)}; expected more than data.num_val + data.num_test = {first}: "
                f"loosen data.require or raise data.num_generated"
            )
        parts = {"val": slice(self.num_val), "test": slice(self.num_val, first), "train": slice(first, None)}
        read = partial(read_image, bank.folder)
        return bank.folder, found, {name: ScoredPictures(read, indices[p], scores[p]) for name, p in parts.items()}

    def evaluation(self, split: str) -> DataLoader | list[DataLoader]:
        num = {"val": self.num_val, "test": self.num_test}[split]
        if num < self.batch_size:
            raise ValueError(
                f"data.num_{split} is {num}, but this model takes images for that split in batches of "
                f"{self.batch_size}: set data.num_{split} to at least that"
            )
        return super().evaluation(split)


def summarize(
    scores: NDArray[np.float32],
    kept: NDArray[np.bool_],
    filters: Sequence[str],
    thresholds: Mapping[str, Threshold],
) -> dict[str, Any]:
    """What the filters did: numbers, and of each filter its bound, the share within it, its means before and after.

    Columns of ``scores`` ``[N, columns]`` are the filters', then others; ``kept`` is bool ``[N]``.
    """
    of_filters: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(filters):
        column, bound = scores[:, i], thresholds.get(name)
        of_filters[name] = {
            "bound": None if bound is None else str(bound),
            "share_within": 1.0 if bound is None else float(bound.passes(column).mean()),
            "mean_before": float(column.mean(dtype=np.float64)),
            "mean_after": float(column[kept].mean(dtype=np.float64)) if kept.any() else None,
        }
    return {"generated": len(kept), "kept": int(kept.sum()), "share": float(kept.mean()), "filters": of_filters}


def describe(found: Mapping[str, Any]) -> str:
    """A summary as a sentence."""
    text = f"{found['kept']:,} of {found['generated']:,} generated images are kept ({found['share']:.1%})"
    parts = []
    for name, figures in found["filters"].items():
        bound = f", {figures['share_within']:.1%} are {figures['bound']}" if figures["bound"] else ""
        after = "" if figures["mean_after"] is None else f" to {figures['mean_after']:.3f}"
        parts.append(f"{name} mean {figures['mean_before']:.3f}{after}{bound}")
    return "; ".join([text, *parts])
