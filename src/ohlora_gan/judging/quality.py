"""How near generated faces come to real ones: spread of the scores, Fréchet and kernel distance.

Distances use the property CNN's features (Heusel et al. 2017 and Binkowski et al. 2018 define them on Inception's;
figures on other features compare with each other only).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from ohlora_gan.judging.figures import resamples
from ohlora_gan.models.generator import from_uint8
from ohlora_gan.names import Threshold, within


class Features(nn.Module):
    """A scorer's penultimate activations of uint8 images [N, H, W, 3], as torchmetrics asks for them."""

    def __init__(self, scorer: nn.Module):
        super().__init__()
        self.scorer = scorer
        with torch.no_grad():
            size: Any = scorer.resolution
            blank = torch.zeros((1, size, size, 3), dtype=torch.uint8)
            self.num_features = int(self(blank).shape[1])

    def forward(self, images: Tensor) -> Tensor:
        return self.scorer.features(from_uint8(images))  # type: ignore[operator]


@dataclass
class Quality:
    """Figures of a set of faces against a reference set.

    Attributes:
        spread: property -> (standard deviation of the score, the reference's, their ratio).
        means: property -> (mean score, the reference's).
        frechet, kernel: distances from the reference set; ``kernel`` is multiplied by 1000.
        frechet_floor, kernel_floor: the same between the reference set and a second set of its kind.
    """

    spread: dict[str, tuple[float, float, float]]
    means: dict[str, tuple[float, float]]
    frechet: float
    kernel: float
    frechet_floor: float
    kernel_floor: float

    def table(self) -> str:
        """The figures as text, for a terminal or a README."""
        lines = ["| property | spread, generated | spread, reference | ratio |", "|---|---|---|---|"]
        lines += [f"| {name} | {s:.2f} | {r:.2f} | {ratio:.2f} |" for name, (s, r, ratio) in self.spread.items()]
        lines += ["", "| distance | generated to reference | reference to reference |", "|---|---|---|"]
        lines.append(f"| Fréchet | {self.frechet:.3f} | {self.frechet_floor:.3f} |")
        lines.append(f"| kernel x 1000 | {self.kernel:.3f} | {self.kernel_floor:.3f} |")
        return "\n".join(lines)


def batches(images: np.ndarray, size: int = 250) -> Iterable[Tensor]:
    for i in range(0, len(images), size):
        yield torch.from_numpy(images[i : i + size])


def scores_of(scorer: nn.Module, images: np.ndarray) -> np.ndarray:
    """Scores [N, P] of uint8 images [N, H, W, 3]."""
    with torch.no_grad():
        return np.concatenate([scorer(from_uint8(batch)).numpy() for batch in batches(images)])


def distances(features: Features, images: np.ndarray, reference: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Fréchet distance, and kernel distance times 1000, between two sets of uint8 images [N, H, W, 3].

    Raises:
        ValueError: for sets smaller than 100 images.
    """
    smaller = min(len(images), len(reference))
    if smaller < 100:
        raise ValueError(f"distances need at least 100 images a set, got {smaller}: raise n")
    frechet = FrechetInceptionDistance(feature=features)
    kernel = KernelInceptionDistance(feature=features, subsets=20, subset_size=min(1000, smaller))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the kernel distance draws subsets
        for is_reference, set_of_images in ((False, images), (True, reference)):
            for batch in batches(set_of_images):
                frechet.update(batch, real=is_reference)
                kernel.update(batch, real=is_reference)
        return float(frechet.compute()), 1000.0 * float(kernel.compute()[0])


def measure(scorer: nn.Module, images: np.ndarray, reference: np.ndarray, second: np.ndarray) -> Quality:
    """Compares uint8 images [N, H, W, 3] with a reference set and a second set of the reference's kind."""
    scorer = scorer.eval().requires_grad_(False)
    mine, theirs = scores_of(scorer, images), scores_of(scorer, reference)
    spread, means = {}, {}
    for i, name in enumerate(scorer.property_names):  # type: ignore[arg-type]
        a, b = float(mine[:, i].std()), float(theirs[:, i].std())
        spread[name] = (a, b, a / b)
        means[name] = (float(mine[:, i].mean()), float(theirs[:, i].mean()))
    features = Features(scorer)
    return Quality(spread, means, *distances(features, images, reference), *distances(features, second, reference))


# --- What filters say of many images: means and shares within bounds, with bootstrap intervals ---


ALL = "all"


@dataclass(frozen=True)
class Figure:
    """A mean over images and its bootstrap 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_figures(values: NDArray[Any], seed: int = 0) -> list[Figure]:
    """The mean of every column of ``[N, P]`` with the percentile interval of resampled rows."""
    values = np.asarray(values, dtype=np.float64)
    counts = resamples(len(values), seed, "filter_figures/bootstrap")
    low, high = np.quantile(counts @ values / len(values), [0.025, 0.975], axis=0)
    return [Figure(*map(float, row)) for row in zip(values.mean(axis=0), low, high, strict=True)]


@dataclass(frozen=True)
class FilterFigures:
    """What filters say of a generator's images.

    Attributes:
        means: filter -> mean probability.
        shares: filter -> share of images within its bound, for filters that have one; ``"all"``: within all bounds.
        bounds: filter -> its bound as text.
        num: number of images.
    """

    means: dict[str, Figure]
    shares: dict[str, Figure]
    bounds: dict[str, str]
    num: int

    @classmethod
    def of(
        cls, scores: NDArray[Any], names: Sequence[str], thresholds: Mapping[str, Threshold], seed: int = 0
    ) -> "FilterFigures":
        """From probabilities ``[N, len(names)]``; ``seed`` decides the resamples."""
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
                values = ("", "", "") if found is None else (found.value, found.low, found.high)
                row |= dict(zip((kind, f"{kind}_low", f"{kind}_high"), values, strict=True))
            rows.append({key: f"{x:.6f}" if isinstance(x, float) else x for key, x in row.items()})
        return rows


def filter_table(figures: Mapping[str, FilterFigures]) -> str:
    """Generators side by side, as text for a terminal or a README: means, then shares within the bounds."""
    one = next(iter(figures.values()))
    heads = [f"{name} (n = {found.num:,})" for name, found in figures.items()]
    lines = [f"| filter: mean | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    lines += [f"| {name} | {' | '.join(str(f.means[name]) for f in figures.values())} |" for name in one.means]
    lines += ["", f"| share within | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for name in one.shares:
        title = f"{name} {one.bounds.get(name, '')}".strip()
        lines.append(f"| {title} | {' | '.join(str(f.shares[name]) for f in figures.values())} |")
    return "\n".join(lines)
