"""How near generated faces come to real ones: spread of the scores, Fréchet and kernel distance.

Distances use the property CNN's features (Heusel et al. 2017 and Binkowski et al. 2018 define them on Inception's;
figures on other features compare with each other only).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from ohlora_gan import rng
from ohlora_gan.data.datamodules import ImageFolderDataModule
from ohlora_gan.data.datasets import matching_indices
from ohlora_gan.data.landmarks import measure as measure_landmarks
from ohlora_gan.devices import Device
from ohlora_gan.files import grid
from ohlora_gan.judging.figures import Interval, markdown, resamples
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.filters import Panel
from ohlora_gan.models.gan import from_uint8
from ohlora_gan.models.zoo import check_world, open_filters, open_generator, open_scorer
from ohlora_gan.names import REFERENCE, Threshold, read_thresholds, within
from ohlora_gan.options import Reference
from ohlora_gan.progress import Bar
from ohlora_gan.world.face import sample_attributes
from ohlora_gan.world.painter import render

REFERENCE_START = 30_000_000
"""Number of the first rendered face of comparisons: no training, validation or test split holds it."""
FACES_LOOKED_FOR = 1000


@dataclass(frozen=True)
class Fresh:
    """Which faces of a generator are looked at, at least one, and where they are made."""

    num: int
    seed: int = 0  # of the latents, and of the resamples that intervals come from
    psi: float = 1.0  # truncation of w toward its average; 1: none
    device: Device | None = None  # where networks run; None: the CPU

    def __post_init__(self) -> None:
        if self.num < 1:
            raise ValueError(f"n is {self.num}, expected at least 1")

    def scores(self, generator: str, scorer: nn.Module, stream: str) -> NDArray[np.float32]:
        """Scores ``[num, P]`` of 8-bit pictures that no training has seen; of the same latents for each generator."""
        space = FaceSpace(open_generator(generator), scorer, self.device, 50, self.seed, quantize=True)
        with Bar(desc=f"scoring {generator}", total=self.num) as bar:
            return space.score_codes(W(), space.w(stream, range(self.num), self.psi), bar)


class Features(nn.Module):
    """A scorer's penultimate activations of uint8 images [N, H, W, 3], as torchmetrics asks for them."""

    def __init__(self, scorer: nn.Module):
        super().__init__()
        self.scorer = scorer
        with torch.no_grad():
            size: Any = scorer.resolution
            blank = torch.zeros((1, size, size, 3), dtype=torch.uint8, device=place_of(scorer))
            self.num_features = int(self(blank).shape[1])

    def forward(self, images: Tensor) -> Tensor:
        return self.scorer.features(from_uint8(images))  # type: ignore[operator]


@dataclass
class Quality:
    """Intervals of a set of faces against a reference set."""

    # property -> (standard deviation of the score, the reference's, their ratio)
    spread: dict[str, tuple[float, float, float]]
    means: dict[str, tuple[float, float]]  # property -> (mean score, the reference's)
    frechet: float  # distance from the reference set
    kernel: float  # another one, times 1000
    frechet_floor: float  # the same between the reference set and a second set of its kind
    kernel_floor: float

    def table(self) -> str:
        """The figures as Markdown."""
        spread = [(name, *(f"{value:.2f}" for value in values)) for name, values in self.spread.items()]
        between = [("Fréchet", self.frechet, self.frechet_floor), ("kernel x 1000", self.kernel, self.kernel_floor)]
        far = [(name, f"{value:.3f}", f"{floor:.3f}") for name, value, floor in between]
        of_spread = markdown(("property", "spread, generated", "spread, reference", "ratio"), spread)
        return f"{of_spread}\n\n{markdown(('distance', 'generated to reference', 'reference to reference'), far)}"


def batches(images: np.ndarray, size: int = 250) -> Iterable[Tensor]:
    for i in range(0, len(images), size):
        yield torch.from_numpy(images[i : i + size])


def place_of(network: nn.Module) -> torch.device:
    """Where a network computes."""
    return next((value.device for value in network.parameters()), torch.device("cpu"))


def scores_of(scorer: nn.Module, images: np.ndarray) -> np.ndarray:
    """Scores [N, P] of uint8 images [N, H, W, 3]."""
    place = place_of(scorer)
    with torch.no_grad():
        return np.concatenate([scorer(from_uint8(batch.to(place))).cpu().numpy() for batch in batches(images)])


def distances(features: Features, images: np.ndarray, reference: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Fréchet distance, and kernel distance times 1000, between two sets of at least 100 uint8 images [N, H, W, 3]."""
    smaller = min(len(images), len(reference))
    if smaller < 100:
        raise ValueError(f"distances need at least 100 images a set, got {smaller}: raise n")
    place = place_of(features)
    frechet = FrechetInceptionDistance(feature=features).to(place)
    kernel = KernelInceptionDistance(feature=features, subsets=20, subset_size=min(1000, smaller)).to(place)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the kernel distance draws subsets
        for is_reference, set_of_images in ((False, images), (True, reference)):
            for batch in batches(set_of_images):
                frechet.update(batch.to(place), real=is_reference)
                kernel.update(batch.to(place), real=is_reference)
        return float(frechet.compute()), 1000.0 * float(kernel.compute()[0])


def measure(scorer: nn.Module, images: np.ndarray, reference: np.ndarray, second: np.ndarray) -> Quality:
    """Compares uint8 images [N, H, W, 3] with a reference set and a second set of the reference's kind."""
    scorer = scorer.eval().requires_grad_(False)
    mine, theirs = scores_of(scorer, images), scores_of(scorer, reference)
    spread, means = {}, {}
    for name, a, b in zip(scorer.property_names, mine.T, theirs.T, strict=True):  # type: ignore[arg-type]
        spread[name] = (float(a.std()), float(b.std()), float(a.std()) / float(b.std()))
        means[name] = (float(a.mean()), float(b.mean()))
    features = Features(scorer)
    return Quality(spread, means, *distances(features, images, reference), *distances(features, second, reference))


# --- What a generator's faces are compared with: rendered faces, or photographs ---


def rendered(num: int, start: int, resolution: int, keep: Mapping[str, float]) -> np.ndarray:
    """uint8 faces [num, R, R, 3] of the embedded world."""
    faces = [sample_attributes(0, i) for i in matching_indices(0, start, num, keep)]
    return np.stack([render(face, resolution) for face in Bar(faces, desc="rendering")])


def photographs(folder: Path, num: int, resolution: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of uint8 pictures [num, R, R, 3] of a folder or zip, which share none; ValueError for too few."""
    found = ImageFolderDataModule(folder, resolution).pictures
    if len(found) < 2 * num:
        raise ValueError(f"--n {num} takes {2 * num} pictures, {folder} holds {len(found)}: give a smaller --n")
    order = rng.stream(seed, "quality/photographs", 0).permutation(len(found))
    pictures = np.stack([found[int(i)] for i in order[: 2 * num]])
    return pictures[:num], pictures[num:]


@dataclass(frozen=True)
class Comparison:
    """A generator's faces beside a reference."""

    quality: Quality
    images: np.ndarray  # uint8 ``[N, R, R, 3]``
    reference: np.ndarray
    found: dict[str, float]  # share of faces that the face mesh finds; empty where nobody asked

    def figures(self) -> dict[str, Any]:
        """As plain data."""
        return {**self.found, **asdict(self.quality)}

    def table(self) -> str:
        """As text."""
        return "\n".join([self.quality.table(), *(f"{name}: {share:.3f}" for name, share in self.found.items())])


def compare_faces(checkpoint: str, scorer: str, reference: Reference, fresh: Fresh) -> Comparison:
    """Measures faces of a generator, by a scorer, against a reference; both are shipped models' names or files.

    Raises:
        ValueError: for networks that cannot be used, or too few photographs.
    """
    generator = open_generator(checkpoint)
    space = FaceSpace(generator, open_scorer(scorer), fresh.device, batch_size=100, seed=fresh.seed)
    if not hasattr(space.scorer, "features"):
        raise ValueError(
            f"scorer {scorer} tells no activations, by which pictures are compared: give a network, such as "
            f"property_cnn or one that `ohlora distill` makes"
        )
    side, found = generator.resolution, {}
    if reference.pictures:
        first, second = photographs(reference.pictures, fresh.num, side, fresh.seed)
    else:
        starts = (REFERENCE_START, 2 * REFERENCE_START)
        first, second = (rendered(fresh.num, start, side, reference.keep) for start in starts)
    images = space.images(W(), space.w("quality", range(fresh.num), fresh.psi))
    if reference.landmarks:
        shown = {"faces_found": images[:FACES_LOOKED_FOR], "faces_found_reference": first[:FACES_LOOKED_FOR]}
        found = {name: float(measure_landmarks(faces)["found"].mean()) for name, faces in shown.items()}
    return Comparison(measure(space.scorer, images, first, second), images, first, found)


def sheet(reference: np.ndarray, images: np.ndarray) -> np.ndarray:
    """A hundred uint8 pictures of the reference beside a hundred faces, ``[H, W, 3]``."""
    sheets = [grid(which[:100], columns=10) for which in (reference, images)]
    gap = np.full((sheets[0].shape[0], 24, 3), 255, dtype=np.uint8)
    return np.concatenate([sheets[0], gap, sheets[1]], axis=1)


# --- What filters say of many images: means and shares within bounds, with bootstrap intervals ---


ALL = "all"


def mean_figures(values: NDArray[Any], seed: int = 0) -> list[Interval]:
    """The mean of every column of ``[N, P]`` with the percentile interval of resampled rows."""
    found = Interval.of_means(values, resamples(len(values), seed, "filter_figures/bootstrap"))
    return [Interval(*map(float, row)) for row in zip(*found, strict=True)]


@dataclass(frozen=True)
class FilterFigures:
    """What filters say of a generator's images."""

    means: dict[str, Interval]  # filter -> mean probability
    # filter -> share of images within its bound, for filters that have one; ``"all"``: within all bounds
    shares: dict[str, Interval]
    bounds: dict[str, str]  # filter -> its bound as text
    num: int  # number of images

    @classmethod
    def of(
        cls, scores: NDArray[Any], names: Sequence[str], thresholds: Mapping[str, Threshold], seed: int = 0
    ) -> "FilterFigures":
        """From probabilities ``[N, len(names)]``."""
        passing = {name: bound.passes(scores[:, names.index(name)]) for name, bound in thresholds.items()}
        passing[ALL] = within(scores, names, thresholds)
        shares = mean_figures(np.stack(list(passing.values()), axis=1), seed)
        return cls(
            dict(zip(names, mean_figures(scores, seed), strict=True)),
            dict(zip(passing, shares, strict=True)),
            {name: str(bound) for name, bound in thresholds.items()},
            len(scores),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Rows of a CSV table, one a filter and one for all of them; what there is not is empty."""
        rows = []
        for name in (*self.means, ALL):
            row: dict[str, Any] = {"filter": name, "n": self.num, "bound": self.bounds.get(name, "")}
            for kind, figures in (("mean", self.means), ("share_within", self.shares)):
                found = figures.get(name)
                values = found or ("", "", "")
                row |= dict(zip((kind, f"{kind}_low", f"{kind}_high"), values, strict=True))
            rows.append({key: f"{x:.6f}" if isinstance(x, float) else x for key, x in row.items()})
        return rows


def filter_means(
    generators: Sequence[str], filters: Sequence[str], require: Mapping[str, str] | None, fresh: Fresh
) -> dict[str, FilterFigures]:
    """Generator -> what filters say of fresh images of it; both are shipped models' names or files.

    Args:
        require: filter -> bound; None: the reference system's, of those filters that are given.

    Raises:
        ValueError: for no filters, bounds that do not fit them, or networks that cannot be used.
    """
    for name in generators:
        check_world(name, "generator", "generator")
    panel = Panel(open_filters(filters))
    names = panel.property_names
    bounds = {name: text for name, text in REFERENCE.items() if name in names} if require is None else require
    thresholds = read_thresholds(bounds, names, "--require")
    found = {}
    for generator in generators:
        scores = fresh.scores(generator, panel, "filter_means")
        found[generator] = FilterFigures.of(scores, names, thresholds, fresh.seed)
    return found


def filter_table(figures: Mapping[str, FilterFigures]) -> str:
    """Generators side by side, as Markdown: means, then shares within the bounds."""
    one = next(iter(figures.values()))
    heads = [f"{name} (n = {found.num:,})" for name, found in figures.items()]
    means = [(name, *(str(found.means[name]) for found in figures.values())) for name in one.means]
    titles = {name: f"{name} {one.bounds.get(name, '')}".strip() for name in one.shares}
    shares = [(title, *(str(found.shares[name]) for found in figures.values())) for name, title in titles.items()]
    return f"{markdown(('filter: mean', *heads), means)}\n\n{markdown(('share within', *heads), shares)}"
