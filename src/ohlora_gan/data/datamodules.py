"""Lightning data modules; batches are (images float32 [N, 3, R, R] in [-1, 1], scores float32 [N, A]).

The fields of a data module are the keys of its file in ``conf/data``, which says what they mean.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch.utils.data import DataLoader, Dataset, Sampler

from ohlora_gan import rng
from ohlora_gan.data.datasets import (
    FacesDataset,
    Mirrored,
    Normalization,
    ScoredDataset,
    ScoredPictures,
    fit_normalization,
    matching_indices,
    mirror_signs,
)
from ohlora_gan.data.labels import ChosenLabels, read_labels, read_partition
from ohlora_gan.data.pictures import Pictures, PictureSource, check_crop, write_skipped
from ohlora_gan.devices import Device
from ohlora_gan.files import write_json
from ohlora_gan.latents.bank import ImageBank, read_image
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.filters import Panel
from ohlora_gan.models.scorers import fitting
from ohlora_gan.models.zoo import open_filters, open_generator, open_scorer, shipped_filters, world_of
from ohlora_gan.names import PROPERTIES, REFERENCE, WORLD, Threshold, read_thresholds, within
from ohlora_gan.progress import Bar
from ohlora_gan.world.face import ATTRIBUTES

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
SPLIT_STARTS = {"train": 0, "val": 10_000_000, "test": 20_000_000}  # numbers of rendered faces
FEW_PICTURES = 200  # are read too fast for a progress bar
MAX_EVAL = 1_000  # pictures a split by default


class EpochSampler(Sampler[int]):
    """A fresh permutation an epoch, dealt out to processes sample by sample; every rank gets the same number."""

    def __init__(self, length: int, seed: int, rank: int = 0, world_size: int = 1, shuffle: bool = True):
        self.length, self.seed, self.rank, self.world_size, self.shuffle = length, seed, rank, world_size, shuffle
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch; another epoch than before starts at its beginning."""
        if epoch != self.epoch:
            self.epoch, self.skip = epoch, 0

    def __len__(self) -> int:
        return self.length // self.world_size

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            order = rng.stream(self.seed, "data/order", self.epoch).permutation(self.length)
        else:
            order = np.arange(self.length)
        mine = order[self.rank :: self.world_size][: len(self)]
        skip, self.skip = self.skip, 0
        yield from mine[skip:].tolist()


class ResumableLoader(DataLoader):
    """A DataLoader that knows, and can be told, where in its epoch it is (Lightning keeps this in checkpoints)."""

    sampler: EpochSampler

    def __init__(self, dataset: Dataset, batch_size: int, sampler: EpochSampler, **options: Any):
        if len(sampler) < batch_size:
            raise ValueError(
                f"the data set has {len(sampler)} images a process, fewer than one batch of {batch_size}: "
                f"add images or lower data.batch_size"
            )
        super().__init__(dataset, batch_size=batch_size, sampler=sampler, drop_last=True, **options)
        self._batches = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._batches = self.sampler.skip // self.batch_size if self.batch_size else 0
        for batch in super().__iter__():
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.sampler.epoch, "batches": self._batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.sampler.set_epoch(state["epoch"])
        self.sampler.skip = state["batches"] * int(self.batch_size or 1)


class DealingDataModule(pl.LightningDataModule):
    """A data module that deals its data sets out to processes, and adds mirror images of the training pictures.

    Attributes:
        world: version of the embedded world that the pictures are of; None: of none, or it is not known.
        labelled: whether there is anything to learn scores from.
        attribute_names: what the scores are.
        mirror_signs: attribute -> what a mirror does to its score, see `datasets.mirror_signs`.
    """

    world: int | None = None
    labelled: bool = True
    attribute_names: tuple[str, ...]
    batch_size: int
    num_workers: int
    seed: int
    mirror: bool = False
    mirror_signs: Mapping[str, float] | None = None

    def dataset(self, split: str) -> ScoredDataset:
        """The data set of ``train``, ``val`` or ``test``; without mirror images."""
        raise NotImplementedError

    def training_data(self) -> ScoredDataset:
        """The training images, with their mirror images where asked for."""
        train = self.dataset("train")
        return Mirrored(train, mirror_signs(self.attribute_names, self.mirror_signs)) if self.mirror else train

    def evaluation(self, split: str) -> DataLoader | list[DataLoader]:
        """The batches of ``val`` or ``test``."""
        return self.deal(self.dataset(split))

    def train_dataloader(self) -> ResumableLoader:
        return self.deal(self.training_data(), shuffle=True)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.evaluation("val")

    def test_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.evaluation("test")

    def deal(self, dataset: Dataset, shuffle: bool = False) -> ResumableLoader:
        """This process's share of a data set; without a trainer all of it."""
        return ResumableLoader(dataset, self.batch_size, self.sampler(dataset, shuffle), num_workers=self.num_workers)

    def sampler(self, dataset: Dataset, shuffle: bool = False) -> EpochSampler:
        """The items of this process."""
        assert isinstance(dataset, Sized)
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return EpochSampler(len(dataset), self.seed, rank, world, shuffle)


@dataclass(eq=False, repr=False)
class FacesDataModule(DealingDataModule):
    """The embedded world: rendered faces with known attributes.

    Faces of different splits differ. What must hold of ``keep`` holds in all; ``thin`` is for training faces alone.

    Raises:
        ValueError: for an attribute that faces do not have.
    """

    world = WORLD

    resolution: int = 64
    num_images: int = 20_000
    num_val: int = 1_000
    num_test: int = 2_000
    batch_size: int = 32
    keep: Mapping[str, float] | None = None
    num_workers: int = 0  # 0 renders in the training process, where rendered faces are kept
    seed: int = 0
    attributes: Sequence[str] | None = None
    thin: Mapping[str, float] | None = None
    latents: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if self.latents is not None and self.latents < len(ATTRIBUTES):
            raise ValueError(f"data.latents={self.latents}, expected the generator's z_dim, at least {len(ATTRIBUTES)}")
        self.attribute_names = PROPERTIES if self.attributes is None else tuple(self.attributes)
        names = set(self.attribute_names)
        if not names or names - set(ATTRIBUTES) or len(names) < len(self.attribute_names):
            raise ValueError(
                f"data.attributes={list(self.attribute_names)}, expected different ones of {', '.join(ATTRIBUTES)}"
            )
        self._datasets: dict[str, FacesDataset] = {}

    def dataset(self, split: str) -> FacesDataset:
        if split not in self._datasets:
            num = {"train": self.num_images, "val": self.num_val, "test": self.num_test}[split]
            thin = self.thin if split == "train" else None
            indices = matching_indices(self.seed, SPLIT_STARTS[split], num, self.keep or {}, thin)
            self._datasets[split] = FacesDataset(
                self.seed, indices, self.resolution, self.attribute_names, self.latents, list(self.keep or ())
            )
        return self._datasets[split]


@dataclass(eq=False, repr=False)
class ImageFolderDataModule(DealingDataModule):
    """Pictures of one's own. Without labels they serve the models that need none (``pretrain``, ``finetune_v9``).

    Every picture is decoded once at the start. Those that cannot be used, and those without all asked attributes, are
    left out, counted and listed. Splits are picked by a hash of seed and name.

    Attributes:
        attribute_names: what the scores are; () without labels.
        normalization: mean and deviation, over the training split, of the attributes that are not binary; scores
            have mean 0 and deviation 1 by it. Binary ones (0 and 1, or -1 and 1) are 0 or 1.

    Raises:
        ValueError: if pictures, labels and settings do not fit together.
    """

    folder: str | Path
    resolution: int = 64
    batch_size: int = 32
    mirror: bool = False
    num_workers: int = 0
    seed: int = 0
    labels: str | Path | None = None
    attributes: Sequence[str] | Mapping[str, str] | None = None
    num_val: int | None = None
    num_test: int | None = None
    partition: str | Path | None = None
    crop: str | float = "center"
    mirror_signs: Mapping[str, float] | None = None
    min_size: int = 16
    strict: bool = False
    report: str | Path | None = None
    missing: Sequence[float] | None = ()

    def __post_init__(self) -> None:
        super().__init__()
        check_crop(self.crop)
        if self.labels is None and self.attributes is not None:
            raise ValueError(f"data.attributes={self.attributes} needs a file of labels: give data.labels=FILE.csv")
        source = PictureSource(self.folder)
        read = None if self.labels is None else read_labels(self.labels, self.missing)
        table = None if read is None else ChosenLabels(read, self.attributes, source.names)
        self.attribute_names = tuple(table.columns) if table else ()
        self.labelled = bool(self.attribute_names)
        names = table.names if table else source.names
        with Bar(desc="reading pictures", total=len(names), unit="", disable=len(names) <= FEW_PICTURES) as bar:
            self.pictures = Pictures(source, names, self.resolution, self.crop, self.min_size, self.strict, bar)
        report_skipped(self.pictures, self.report)
        tenth = len(self.pictures) // 10
        default = min(max(tenth, 2 * min(tenth, 1)), MAX_EVAL) if self.labelled else 0  # figures need two
        num_val, num_test = (default if num is None else num for num in (self.num_val, self.num_test))
        self._indices = split(self.pictures.names, self.seed, num_val, num_test, self.partition)
        self.normalization = Normalization({}, {})
        self._scores = self._normalized(table) if table else np.zeros((len(self.pictures), 0), np.float32)

    def _normalized(self, table: ChosenLabels) -> NDArray[np.float32]:
        """Scores ``[N, A]`` of the usable pictures; the statistics are those of the training set, mirrored or not."""
        columns = {name: column[table.rows(self.pictures.names)] for name, column in table.columns.items()}
        continuous = {name: column for name, column in columns.items() if name not in table.binary}
        seen = {name: column[self._indices["train"]] for name, column in continuous.items()}
        if self.mirror:
            names = self.attribute_names
            signs = dict(zip(names, mirror_signs(names, self.mirror_signs), strict=True))
            for name in table.binary:
                if signs[name] < 0:
                    raise ValueError(f"mirror_signs.{name}=-1, but {name} is binary: expected 1, or 0 for no mirroring")
            seen = {name: np.concatenate([column, column * signs[name]]) for name, column in seen.items()}
        self.normalization = fit_normalization(seen)
        columns |= self.normalization.apply(continuous)
        for name in continuous:
            mean, std = self.normalization.mean[name], self.normalization.std[name]
            log.info("%s: mean %.4g, standard deviation %.4g; scores are in standard deviations", name, mean, std)
        return np.stack(list(columns.values()), axis=1).astype(np.float32)

    def dataset(self, split: str) -> ScoredPictures:
        return ScoredPictures(self.pictures.__getitem__, self._indices[split], self._scores[self._indices[split]])

    def evaluation(self, split: str) -> list[DataLoader]:
        """All pictures of a split in order, the last batch a smaller one; no loader for a split without pictures."""
        data = self.dataset(split)
        loader = DataLoader(data, self.batch_size, sampler=self.sampler(data), num_workers=self.num_workers)
        return [loader] if len(data) else []


def split(
    names: Sequence[str], seed: int, num_val: int, num_test: int, partition: str | Path | None = None
) -> dict[str, NDArray[np.int64]]:
    """Numbers of the pictures of each split, in ascending order.

    A picture's place depends on a hash of seed and name, so most stay where they are when others are added.

    Raises:
        ValueError: if too few pictures are left to train on.
    """
    if partition is not None:
        kind = read_partition(partition, names)
        if not (kind == SPLITS.index("train")).any():
            raise ValueError(f"{partition} leaves no picture to train on: give data.partition=null")
    else:
        if num_val < 0 or num_test < 0 or num_val + num_test >= len(names):
            raise ValueError(
                f"data.num_val={num_val} and data.num_test={num_test} of {len(names)} pictures leave none to train on: "
                f"lower them, or add pictures"
            )
        order = sorted(range(len(names)), key=lambda i: rng.stream_key(seed, f"split/{names[i]}"))
        kind = np.zeros(len(names), dtype=np.int64)
        kind[order[:num_val]] = SPLITS.index("val")
        kind[order[num_val : num_val + num_test]] = SPLITS.index("test")
    return {name: np.flatnonzero(kind == number) for number, name in enumerate(SPLITS)}


def report_skipped(pictures: Pictures, report: str | Path | None) -> None:
    """Says which pictures cannot be used, and lists them in a CSV file; ValueError if none can be used."""
    skipped, folder = pictures.skipped, pictures.source.folder
    total = len(pictures) + len(skipped)
    kinds = Counter(reason.partition(" (")[0].partition(":")[0] for reason in skipped.values())
    counts = "; ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    if skipped and report is not None:
        rank_zero_only(write_skipped)(Path(report), skipped)
    if not len(pictures):
        raise ValueError(f"data.folder={folder} holds no picture that can be used, of {total}: {counts}")
    if skipped:
        first = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
        where = "" if report is None else f"; all are listed in {report}"
        some = f"{len(skipped)} of {total} pictures in {folder}"
        log.warning("%s are left out (%s), such as %s%s", some, counts, first, where)


PICTURES = ("img_align_celeba", "img_align_celeba.zip", "Img/img_align_celeba", "Img/img_align_celeba.zip")
LABELS = ("list_attr_celeba.txt", "Anno/list_attr_celeba.txt", "list_attr_celeba.csv")
PARTITION = ("list_eval_partition.txt", "Eval/list_eval_partition.txt", "list_eval_partition.csv")


@dataclass(eq=False, repr=False)
class CelebADataModule(ImageFolderDataModule):
    """CelebA as it is distributed: aligned and cropped faces with 40 attributes.

    Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015. Where ``labels`` or ``partition`` is given, that
    file is used instead of the folder's own.

    Raises:
        ValueError: if the folder holds no pictures or no labels; see also `ImageFolderDataModule`.
    """

    official_split: bool = True

    def __post_init__(self) -> None:
        root = Path(self.folder)
        pictures, self.labels = first_of(root, PICTURES), self.labels or first_of(root, LABELS)
        if pictures is None or self.labels is None:
            missing = PICTURES[:2] if pictures is None else LABELS[:1]
            raise ValueError(f"data.folder={root} has no {' or '.join(missing)}: give the folder that CelebA lies in")
        if self.partition is None and self.official_split:
            self.partition = first_of(root, PARTITION)
        self.folder = pictures
        super().__post_init__()


def first_of(root: Path, names: tuple[str, ...]) -> Path | None:
    """The first of some paths in a folder that exists."""
    return next((root / name for name in names if (root / name).exists()), None)


# --- Faces of a generator: made once, scored, and filtered ---


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
    resize: bool = False
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
        if generator.resolution != self.resolution and not self.resize:
            raise ValueError(
                f"resolution is {self.resolution}, but data.checkpoint={self.checkpoint} makes images of "
                f"{generator.resolution} pixels: set resolution={generator.resolution}, or data.resize=true"
            )
        panel = Panel({**filters, "scorer": fitting(scorer, generator.resolution) if self.resize else scorer})
        space = FaceSpace(generator, panel, self.device, self.render_batch_size, self.seed, quantize=True)
        return ImageBank(Path(self.cache_dir), space, self.psi, self.resolution), list(filters)

    @cached_property
    def _selected(self) -> tuple[Path, dict[str, Any], dict[str, ScoredPictures]]:
        """The bank's folder, what the filters did, and the kept images by split; what is missing is made."""
        bank, filters = self.open_bank()
        published = {name: bound for name, bound in REFERENCE.items() if name in filters}
        bounds = published if self.require is None else dict(self.require)
        thresholds = read_thresholds(bounds, filters, "data.require")
        stored = min(bank.num_stored(), self.num_generated)
        log.info("%s holds %d of the %d generated images", bank.folder, stored, self.num_generated)
        with Bar(desc="generating", total=self.num_generated, disable=stored >= self.num_generated) as bar:
            scores = bank.scores(self.num_generated, bar)
        lost = np.isnan(scores).any(axis=1)
        kept = within(scores, filters, thresholds) & ~lost
        if lost.any():
            log.info("%d of %d images are left out: %s has nothing to say of them", lost.sum(), len(lost), self.scorer)
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
