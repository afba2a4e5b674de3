"""Lightning data modules; batches are (images float32 [N, 3, R, R] in [-1, 1], scores float32 [N, A])."""

from collections.abc import Mapping, Sequence

from ohlora_gan.data.datasets import FacesDataset, matching_indices
from ohlora_gan.data.loader import DealingDataModule, ResumableLoader
from ohlora_gan.vocabulary import PROPERTIES
from ohlora_gan.world.versions import SHIPPED, open_world

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
