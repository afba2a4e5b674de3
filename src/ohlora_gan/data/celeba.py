"""CelebA as it is distributed (Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015)."""

from pathlib import Path
from typing import Any

from ohlora_gan.data.image_folder import ImageFolderDataModule

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
