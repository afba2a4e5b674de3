"""Pictures of one's own as a data set: any folder, any size; without labels."""

import logging
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from ohlora_gan.data.loader import ResumableLoader

log = logging.getLogger(__name__)

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def find_images(folder: str | Path) -> list[Path]:
    """The pictures in a folder and its sub-folders, sorted by path; what is no picture is counted in a warning.

    Raises:
        ValueError: if there is no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"data.folder={folder} is no folder: give one that holds pictures")
    good, bad = [], []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            with Image.open(path):
                good.append(path)
        except (UnidentifiedImageError, OSError):
            bad.append(path)
    if not good:
        raise ValueError(
            f"data.folder={folder} holds no pictures that can be read ({len(bad)} that cannot): "
            f"expected files ending in {', '.join(sorted(SUFFIXES))}"
        )
    if bad:
        log.warning("%d of %d files in %s are no pictures, such as %s", len(bad), len(bad) + len(good), folder, bad[0])
    return good


def load_image(path: Path, resolution: int) -> np.ndarray:
    """A picture as uint8 [R, R, 3]: turned upright, its largest central square, resized with anti-aliasing.

    Raises:
        ValueError: if it cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (resolution, resolution), Image.Resampling.LANCZOS))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"picture {path} cannot be decoded ({error}): remove it from data.folder") from error


class ImageFolderDataset(Dataset):
    """Item i is (image [3, R, R] in [-1, 1], zeros [8]); every second half of the items is mirrored if ``mirror``."""

    def __init__(self, folder: str | Path, resolution: int, mirror: bool):
        self.paths, self.resolution, self.mirror = find_images(folder), resolution, mirror

    def __len__(self) -> int:
        return len(self.paths) * (2 if self.mirror else 1)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        pixels = load_image(self.paths[i % len(self.paths)], self.resolution)
        if i >= len(self.paths):
            pixels = pixels[:, ::-1]
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
        return image.float() / 127.5 - 1.0, torch.zeros(8)


class ImageFolderDataModule(pl.LightningDataModule):
    """Training pictures from a folder, for models that need no labels (``pretrain``, ``finetune_v9``).

    Args:
        folder: where the pictures lie; sub-folders are searched too.
        resolution: image size.
        batch_size: images a batch and process.
        mirror: add every picture's mirror image.
        num_workers: processes that decode pictures.
        seed: seed of their order.
    """

    labelled = False

    def __init__(
        self,
        folder: str | Path,
        resolution: int = 64,
        batch_size: int = 32,
        mirror: bool = False,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.resolution, self.batch_size, self.num_workers, self.seed = resolution, batch_size, num_workers, seed
        self.data = ImageFolderDataset(folder, resolution, mirror)

    def train_dataloader(self) -> ResumableLoader:
        return ResumableLoader.deal(
            self.data, self.batch_size, self.seed, self.trainer, num_workers=self.num_workers
        )
