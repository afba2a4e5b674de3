"""Faces from a generator as a data set: made once, scored, and filtered down to those worth training on."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from ohlora_gan.data.datamodules import DealingDataModule, ResumableLoader
from ohlora_gan.data.datasets import Mirrored, mirror_signs, to_image
from ohlora_gan.devices import Device
from ohlora_gan.files import write_json
from ohlora_gan.latents.bank import ImageBank, read_image
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.filters import Panel
from ohlora_gan.models.zoo import open_filters, open_generator, open_scorer, shipped_filters
from ohlora_gan.names import REFERENCE, Threshold, read_thresholds, within
from ohlora_gan.world.versions import world_of

log = logging.getLogger(__name__)


class GeneratedDataset(Dataset):
    """Images of a bank: item i is (image float32 [3, R, R] in [-1, 1], scores float32 [A]).

    Args:
        folder: of the bank that holds the images.
        indices: the samples' numbers, int [N].
        scores: float32 [N, A].
    """

    def __init__(self, folder: Path, indices: NDArray[np.int64], scores: NDArray[np.float32]):
        self.folder, self.indices, self.scores = folder, indices, scores

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return to_image(read_image(self.folder, int(self.indices[i]))), torch.from_numpy(self.scores[i])


class GeneratedDataModule(DealingDataModule):
    """Images from a generator, from random z and labels, of which those within thresholds are kept.

    Images and scores are made at first use, or by Lightning's ``prepare_data``, and kept in ``cache_dir`` under the
    hash of what determines them: the weights, ``seed``, ``psi`` and the precision. ``require`` and ``num_generated``
    choose among them and cost nothing to change; more images begin with those that are there.

    Args:
        checkpoint: the generator: a shipped model's name or a file.
        num_generated: images that are made, at least 1.
        scorer: the property network that gives the scores, in standard deviations.
        filters: filter ensembles: shipped models' names or files. None: the four shipped ones; an empty list: none.
        require: filter -> bound such as ``">=0.92"``, or None for no bound. None: the published bounds, see
            ``names.REFERENCE``, of those filters that are given.
        resolution: image size, that of the generator.
        num_val, num_test: of the images that are kept, the first ``num_val`` and the next ``num_test`` are not
            trained on. A GAN needs none.
        batch_size: images a batch and process.
        mirror: add the mirror image of every training image.
        mirror_signs: property -> -1 where a mirror turns its score round (``pose``, ``turn`` and ``tilt`` by default),
            1 where it does not, 0 where it must not be mirrored.
        psi: truncation of w toward its average, in all layers; 1 is none.
        device: where images are made, and in which precision.
        render_batch_size: images made at a time.
        cache_dir: where images are kept.
        summary: where ``generated.json`` is written; None: beside the images.
        num_workers: processes that read images.
        seed: seed of the latents and of the images' order.

    Raises:
        ValueError: if the generator's file is missing or damaged.
    """

    labelled = True

    def __init__(
        self,
        checkpoint: str | Path,
        num_generated: int = 15_000,
        scorer: str | Path = "property_cnn",
        filters: Sequence[str | Path] | None = None,
        require: Mapping[str, str | None] | None = None,
        resolution: int = 64,
        num_val: int = 0,
        num_test: int = 0,
        batch_size: int = 8,
        mirror: bool = False,
        mirror_signs: Mapping[str, float] | None = None,
        psi: float = 1.0,
        device: Device | None = None,
        render_batch_size: int = 50,
        cache_dir: str | Path = "runs/generated",
        summary: str | Path | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.world = world_of(checkpoint)
        self.checkpoint, self.num_generated, self.scorer = checkpoint, num_generated, scorer
        self.filters = list(shipped_filters() if filters is None else filters)
        self.require = None if require is None else dict(require)
        self.resolution, self.psi = resolution, psi
        self.num_val, self.num_test = num_val, num_test
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.mirror, self.mirror_signs = mirror, dict(mirror_signs or {})
        self.device, self.render_batch_size = device, render_batch_size
        self.cache_dir, self.summary = Path(cache_dir), None if summary is None else Path(summary)
        self._attribute_names: tuple[str, ...] | None = None
        self.found: dict[str, Any] = {}
        self._datasets: dict[str, GeneratedDataset] = {}

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The scorer's properties."""
        if self._attribute_names is None:
            with torch.random.fork_rng(devices=[]):  # a network draws its first weights, which are then replaced
                self._attribute_names = tuple(open_scorer(self.scorer).property_names)  # type: ignore[arg-type]
        return self._attribute_names

    def prepare_data(self) -> None:
        """Makes what is missing of the images, and says what is kept; Lightning calls it on rank zero alone."""
        self.select()
        log.info("%s", describe(self.found))
        path = self.summary or self.folder / "generated.json"
        write_json(path, {"checkpoint": str(self.checkpoint), **self.found})

    def dataset(self, split: str) -> GeneratedDataset:
        """The data set of ``train``, ``val`` or ``test``.

        Raises:
            ValueError: if too few images are within the thresholds, or images cannot be made or kept.
        """
        self.select()
        return self._datasets[split]

    def open_bank(self) -> tuple[ImageBank, list[str]]:
        """The bank of this configuration, and the names of its filters."""
        with torch.random.fork_rng(devices=[]):
            generator, scorer = open_generator(self.checkpoint), open_scorer(self.scorer)
            filters = open_filters(self.filters)
        if generator.resolution != self.resolution:
            raise ValueError(
                f"resolution is {self.resolution}, but data.checkpoint={self.checkpoint} makes images of "
                f"{generator.resolution} pixels: set resolution={generator.resolution}, or give another generator"
            )
        panel = Panel({**filters, "scorer": scorer})
        space = FaceSpace(generator, panel, self.device, self.render_batch_size, self.seed, quantize=True)
        return ImageBank(self.cache_dir, space, self.psi), list(filters)

    def select(self) -> None:
        """Makes or reads the images' scores, once, and deals those that are kept to the splits."""
        if self._datasets:
            return
        bank, filters = self.open_bank()
        published = {name: bound for name, bound in REFERENCE.items() if name in filters}
        thresholds = read_thresholds(published if self.require is None else self.require, filters, "data.require")
        stored = min(bank.num_stored(), self.num_generated)
        log.info("%s holds %d of the %d generated images", bank.folder, stored, self.num_generated)
        with tqdm(desc="generating", total=self.num_generated, disable=stored >= self.num_generated) as bar:
            scores = bank.scores(self.num_generated, bar)
        kept = within(scores, filters, thresholds)
        self.folder, self.found = bank.folder, summarize(scores, kept, filters, thresholds)
        indices, scores = np.flatnonzero(kept), scores[kept, len(filters) :]
        first = self.num_val + self.num_test
        if len(indices) <= first:
            raise ValueError(
                f"{describe(self.found)}; expected more than data.num_val + data.num_test = {first}: "
                f"loosen data.require or raise data.num_generated"
            )
        parts = {"val": slice(self.num_val), "test": slice(self.num_val, first), "train": slice(first, None)}
        self._datasets = {name: GeneratedDataset(bank.folder, indices[p], scores[p]) for name, p in parts.items()}

    def training_data(self) -> GeneratedDataset | Mirrored:
        """The training images, with their mirror images where asked for."""
        train = self.dataset("train")
        if not self.mirror:
            return train
        return Mirrored(train, mirror_signs(self.attribute_names, self.mirror_signs))

    def train_dataloader(self) -> ResumableLoader:
        return self.deal(self.training_data(), shuffle=True)

    def val_dataloader(self) -> ResumableLoader:
        return self.deal(self.held_out("val", self.num_val))

    def test_dataloader(self) -> ResumableLoader:
        return self.deal(self.held_out("test", self.num_test))

    def held_out(self, split: str, num: int) -> GeneratedDataset:
        if num < self.batch_size:
            raise ValueError(
                f"data.num_{split} is {num}, but this model takes images for that split in batches of "
                f"{self.batch_size}: set data.num_{split} to at least that"
            )
        return self.dataset(split)


def summarize(
    scores: NDArray[np.float32],
    kept: NDArray[np.bool_],
    filters: Sequence[str],
    thresholds: Mapping[str, Threshold],
) -> dict[str, Any]:
    """What the filters did: numbers, and of each filter its bound, the share within it, its means before and after.

    Args:
        scores: [N, columns], the filters' first.
        kept: bool [N].
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
