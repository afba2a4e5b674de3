"""Lightning data modules; batches are (images float32 [N, 3, R, R] in [-1, 1], scores float32 [N, A])."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from ohlora_gan import rng
from ohlora_gan.data.datasets import (
    FacesDataset,
    Mirrored,
    Normalization,
    fit_normalization,
    matching_indices,
    mirror_signs,
    to_image,
)
from ohlora_gan.data.labels import Labels, choose, is_binary, match_rows, read_labels, read_partition
from ohlora_gan.data.pictures import Pictures, PictureSource, check_crop, write_skipped
from ohlora_gan.names import PROPERTIES
from ohlora_gan.world.versions import LATEST, SHIPPED, open_world

# --- Batches in an order that a resumed run continues exactly ---


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
        assert isinstance(dataset, Sized)
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
    """A data module that deals its data sets out to processes.

    Attributes:
        batch_size: images a batch and process.
        num_workers: worker processes.
        seed: seed of the order.
        world: version of the embedded world that the pictures are of; None: of none, or it is not known.
    """

    world: int | None = None
    batch_size: int
    num_workers: int
    seed: int

    def deal(self, dataset: Dataset, shuffle: bool = False) -> ResumableLoader:
        """This process's share of a data set; without a trainer all of it."""
        return ResumableLoader(dataset, self.batch_size, self.sampler(dataset, shuffle), num_workers=self.num_workers)

    def sampler(self, dataset: Dataset, shuffle: bool = False) -> EpochSampler:
        """The items of this process."""
        assert isinstance(dataset, Sized)
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return EpochSampler(len(dataset), self.seed, rank, world, shuffle)


# --- Rendered faces ---


SPLIT_STARTS = {"train": 0, "val": 10_000_000, "test": 20_000_000}


class FacesDataModule(DealingDataModule):
    """The embedded world: rendered faces with known attributes.

    Args:
        resolution: image size, 32 to 512.
        num_images, num_val, num_test: sizes of the splits, which share no face.
        batch_size: images a batch and process.
        keep: attribute values that training faces must have, e.g. ``{gender: 1, quality: 1}``; validation and
            test faces are kept by the same rule.
        thin: training faces near an attribute's mean of which only a share stays, see ``datasets.matching_indices``.
        num_workers: worker processes; 0 renders in the training process, where rendered faces are kept.
        seed: seed of the faces and of their order.
        attributes: what is scored: properties and others such as ``lips`` with mean 0 and standard deviation 1,
            ``gender``, ``age``, ``glass`` and ``quality`` as 0 or 1. None: the eight properties.
        world: version of the embedded world.

    Raises:
        ValueError: for a version that there is not, or an attribute that its faces do not have.
    """

    labelled = True

    def __init__(
        self,
        resolution: int = 64,
        num_images: int = 20_000,
        num_val: int = 1_000,
        num_test: int = 2_000,
        batch_size: int = 32,
        keep: Mapping[str, float] | None = None,
        num_workers: int = 0,
        seed: int = 0,
        attributes: Sequence[str] | None = None,
        thin: Mapping[str, float] | None = None,
        world: int = SHIPPED,
    ):
        super().__init__()
        self.faces, self.world = open_world(world), world
        known = self.faces.attributes
        self.attribute_names = PROPERTIES if attributes is None else tuple(attributes)
        unknown = [name for name in self.attribute_names if name not in known]
        if unknown and world != LATEST and set(unknown) <= set(open_world(LATEST).attributes):
            raise ValueError(
                f"data.attributes has {', '.join(unknown)}, which faces of world {world} do not have: give "
                f"data.world={LATEST}, or leave them out"
            )
        if unknown or not self.attribute_names or len(set(self.attribute_names)) < len(self.attribute_names):
            raise ValueError(
                f"data.attributes={list(self.attribute_names)}, expected different ones of {', '.join(known)}"
            )
        self.resolution, self.batch_size, self.num_workers, self.seed = resolution, batch_size, num_workers, seed
        self.sizes = {"train": num_images, "val": num_val, "test": num_test}
        self.keep, self.thin = dict(keep or {}), dict(thin or {})
        self._datasets: dict[str, FacesDataset] = {}

    def dataset(self, split: str) -> FacesDataset:
        """The data set of ``train``, ``val`` or ``test``, made at first use."""
        if split not in self._datasets:
            thin, start, world = self.thin if split == "train" else {}, SPLIT_STARTS[split], self.faces.version
            indices = matching_indices(self.seed, start, self.sizes[split], self.keep, thin, world)
            self._datasets[split] = FacesDataset(self.seed, indices, self.resolution, self.attribute_names, world)
        return self._datasets[split]

    def train_dataloader(self) -> ResumableLoader:
        return self.deal(self.dataset("train"), shuffle=True)

    def val_dataloader(self) -> ResumableLoader:
        return self.deal(self.dataset("val"))

    def test_dataloader(self) -> ResumableLoader:
        return self.deal(self.dataset("test"))


# --- Pictures of one's own as a data set: a folder or a zip file, with or without labels ---


log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
FEW_PICTURES = 200  # are read too fast for a progress bar
MAX_EVAL = 1_000  # pictures a split by default


class PictureDataset(Dataset):
    """Item i is picture ``indices[i]`` with its scores, float32 ``[A]``."""

    def __init__(self, pictures: Pictures, indices: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        self.pictures, self.indices = pictures, indices
        self.scores = scores[indices]

    @property
    def names(self) -> list[str]:
        """The pictures' paths from the folder."""
        return [self.pictures.names[i] for i in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return to_image(self.pictures[int(self.indices[i])]), torch.from_numpy(self.scores[i])


class ImageFolderDataModule(DealingDataModule):
    """Pictures of one's own. Without labels they serve the models that need none (``pretrain``, ``finetune_v9``).

    Every picture is decoded once at the start. Those that cannot be used are left out, counted and listed.

    Args:
        folder: a folder, sub-folders included, or a ``.zip`` file.
        resolution: image size.
        batch_size: images a batch and process.
        mirror: add every training picture's mirror image.
        num_workers: processes that prepare batches.
        seed: seed of the pictures' order and of the splits.
        labels: a CSV file (header; first column the file's path or base name; an empty cell is unknown), or a file
            like CelebA's ``list_attr_celeba.txt``. Pictures without all asked attributes are left out and counted.
        attributes: what is learnt: names of columns, or own name -> column or ``not COLUMN``. None: all columns of
            numbers.
        num_val, num_test: pictures of these splits, picked by a hash of seed and name. None: a tenth each, at most
            1,000, where there are labels; none where there are not.
        partition: a file like CelebA's ``list_eval_partition.txt`` that decides the splits instead.
        crop: ``center``: the largest central square; a number, above 0 and up to 1: a central square of so much of
            its side; ``none``: the whole picture, squeezed.
        mirror_signs: attribute -> -1 if a mirror turns its sign round (``pose``, ``turn`` and ``tilt`` by default,
            which 0 must mean straight ahead for), 1 if not, 0 if it must not be mirrored.
        min_size: pictures with a smaller side are not used.
        strict: the first unusable picture is an error.
        report: CSV file that lists the unusable pictures.

    Attributes:
        attribute_names: what the scores are; () without labels.
        normalization: mean and deviation, over the training split, of the attributes that are not binary; scores
            have mean 0 and deviation 1 by it. Binary ones (0 and 1, or -1 and 1) are 0 or 1.

    Raises:
        ValueError: if pictures, labels and settings do not fit together.
    """

    def __init__(
        self,
        folder: str | Path,
        resolution: int = 64,
        batch_size: int = 32,
        mirror: bool = False,
        num_workers: int = 0,
        seed: int = 0,
        labels: str | Path | None = None,
        attributes: Sequence[str] | Mapping[str, str] | None = None,
        num_val: int | None = None,
        num_test: int | None = None,
        partition: str | Path | None = None,
        crop: str | float = "center",
        mirror_signs: Mapping[str, float] | None = None,
        min_size: int = 16,
        strict: bool = False,
        report: str | Path | None = None,
    ):
        super().__init__()
        check_crop(crop)
        if labels is None and attributes is not None:
            raise ValueError(f"data.attributes={attributes} needs a file of labels: give data.labels=FILE.csv")
        self.resolution, self.batch_size, self.num_workers, self.seed = resolution, batch_size, num_workers, seed
        self.mirror, self._signs = mirror, dict(mirror_signs or {})
        source = PictureSource(folder)
        table = None if labels is None else Table(read_labels(labels), attributes, source.names)
        self.attribute_names: tuple[str, ...] = tuple(table.columns) if table else ()
        names = table.names if table else source.names
        with tqdm(desc="reading pictures", total=len(names), unit="", disable=len(names) <= FEW_PICTURES) as bar:
            self.pictures = Pictures(source, names, resolution, crop, min_size, strict, bar)
        report_skipped(self.pictures, report)
        self._indices = split(self.pictures.names, seed, *self._sizes(num_val, num_test), partition)
        self.normalization = Normalization({}, {})
        self._scores = self._normalized(table) if table else np.zeros((len(self.pictures), 0), np.float32)

    @property
    def labelled(self) -> bool:
        """Whether there is anything to learn scores from."""
        return bool(self.attribute_names)

    @property
    def signs(self) -> NDArray[np.float32]:
        """What a mirror does to the scores, ``[A]``: all 1 where nothing is mirrored."""
        names = self.attribute_names
        return mirror_signs(names, self._signs) if self.mirror else np.ones(len(names), np.float32)

    def _sizes(self, num_val: int | None, num_test: int | None) -> tuple[int, int]:
        default = min(len(self.pictures) // 10, MAX_EVAL) if self.labelled else 0
        return (default if num_val is None else num_val), (default if num_test is None else num_test)

    def _normalized(self, table: "Table") -> NDArray[np.float32]:
        """Scores ``[N, A]`` of the usable pictures; the statistics are those of the training set, mirrored or not."""
        columns = {name: column[table.rows(self.pictures.names)] for name, column in table.columns.items()}
        train, signs = self._indices["train"], dict(zip(columns, self.signs, strict=True))
        for name in table.binary:
            if signs[name] < 0:
                raise ValueError(f"mirror_signs.{name}=-1, but {name} is binary: expected 1, or 0 for no mirroring")
        continuous = {name: column for name, column in columns.items() if name not in table.binary}
        seen = {name: column[train] for name, column in continuous.items()}
        if self.mirror:
            seen = {name: np.concatenate([column, column * signs[name]]) for name, column in seen.items()}
        self.normalization = fit_normalization(seen)
        columns |= self.normalization.apply(continuous)
        for name in continuous:
            mean, std = self.normalization.mean[name], self.normalization.std[name]
            log.info("%s: mean %.4g, standard deviation %.4g; scores are in standard deviations", name, mean, std)
        return np.stack(list(columns.values()), axis=1).astype(np.float32)

    def dataset(self, split: str) -> PictureDataset:
        """The data set of ``train``, ``val`` or ``test``; without mirror images."""
        return PictureDataset(self.pictures, self._indices[split], self._scores)

    def train_dataloader(self) -> ResumableLoader:
        data = self.dataset("train")
        items = Mirrored(data, self.signs) if self.mirror else data
        return self.deal(items, shuffle=True)

    def val_dataloader(self) -> list[DataLoader]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> list[DataLoader]:
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str) -> list[DataLoader]:
        """All pictures of a split in order, the last batch a smaller one; no loader for a split without pictures."""
        data = self.dataset(split)
        loader = DataLoader(data, self.batch_size, sampler=self.sampler(data), num_workers=self.num_workers)
        return [loader] if len(data) else []


class Table:
    """The asked labels of those pictures that have them all.

    Attributes:
        columns: attribute -> values of all rows.
        binary: the attributes that are 0 or 1.
        names: the pictures whose row has a value for every attribute, in order.
    """

    def __init__(self, labels: Labels, attributes: Sequence[str] | Mapping[str, str] | None, names: list[str]) -> None:
        self.columns = choose(labels, attributes)
        self.binary = {name for name, column in self.columns.items() if is_binary(column)}
        self._row = match_rows(labels, names)
        complete = np.logical_and.reduce([~np.isnan(column) for column in self.columns.values()])
        self.names = [name for name in names if name in self._row and complete[self._row[name]]]
        if not self.names:
            raise ValueError(f"no picture has a value for all of {', '.join(self.columns)} in labels {labels.path}")
        if len(self.names) < len(names):
            no_row = len(names) - len(self._row)
            log.warning(
                "%d of %d pictures are left out: %d without a row in %s, %d with an empty cell among %s",
                *(len(names) - len(self.names), len(names), no_row, labels.path.name),
                *(len(self._row) - len(self.names), ", ".join(self.columns)),
            )

    def rows(self, names: Sequence[str]) -> list[int]:
        return [self._row[name] for name in names]


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
    """Says which pictures cannot be used, and lists them in a CSV file.

    Raises:
        ValueError: if none can be used.
    """
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


# --- CelebA as it is distributed (Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015) ---


PICTURES = ("img_align_celeba", "img_align_celeba.zip", "Img/img_align_celeba", "Img/img_align_celeba.zip")
LABELS = ("list_attr_celeba.txt", "Anno/list_attr_celeba.txt", "list_attr_celeba.csv")
PARTITION = ("list_eval_partition.txt", "Eval/list_eval_partition.txt", "list_eval_partition.csv")


class CelebADataModule(ImageFolderDataModule):
    """The aligned and cropped faces with their 40 attributes.

    Args:
        folder: the folder that holds ``img_align_celeba`` (a folder or a ``.zip``) and ``list_attr_celeba.txt``.
        labels, partition: files to use instead of those of the folder.
        official_split: use ``list_eval_partition.txt`` for the splits where it is there.
        options: those of `ImageFolderDataModule`.

    Raises:
        ValueError: if one of the two is missing; see also `ImageFolderDataModule`.
    """

    def __init__(
        self,
        folder: str | Path,
        labels: str | Path | None = None,
        partition: str | Path | None = None,
        official_split: bool = True,
        **options: Any,
    ):
        root = Path(folder)
        pictures, labels = first_of(root, PICTURES), labels or first_of(root, LABELS)
        if pictures is None or labels is None:
            missing = PICTURES[:2] if pictures is None else LABELS[:1]
            raise ValueError(f"data.folder={folder} has no {' or '.join(missing)}: give the folder that CelebA lies in")
        if partition is None and official_split:
            partition = first_of(root, PARTITION)
        super().__init__(pictures, labels=labels, partition=partition, **options)


def first_of(root: Path, names: tuple[str, ...]) -> Path | None:
    """The first of some paths in a folder that exists."""
    return next((root / name for name in names if (root / name).exists()), None)
