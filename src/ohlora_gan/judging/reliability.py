"""How repeatable scores are, and what that allows: test-retest reliability and the ceiling on correlations.

The same picture is changed twice, as two photographs or two copies of one face differ: shifted by up to a 64th of
its side, resized by a percent or two, made noisy, stored as a JPEG. The correlation of the two scores over many
pictures is the score's reliability r_xx, the share of its variance that is not such noise. It puts a ceiling on
every correlation of the score: sqrt(r_xx) with what is free of noise, sqrt(r_xx r_yy) with another score (Spearman,
"The proof and measurement of association between two things", American Journal of Psychology 15, 1904, p. 72-101).

The ceiling is that of copies with independent noise. Errors that both copies share lower it further, unseen; pictures
as they were rendered hold less noise and can come above it, and so can two scorers of one picture, who share its noise.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from ohlora_gan import rng
from ohlora_gan.files import write_rows
from ohlora_gan.judging.figures import Interval, resamples
from ohlora_gan.judging.quality import Fresh
from ohlora_gan.models.filters import Panel
from ohlora_gan.models.gan import from_uint8
from ohlora_gan.models.zoo import open_scorer
from ohlora_gan.world.versions import check_same_world, network

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

MAX_SHIFT = 1 / 64  # of the side: one pixel of a 64x64 picture
MAX_ZOOM = 0.015  # a picture shows up to this share more or less of the scene
MAX_NOISE = 4.0  # standard deviation, in grey levels of 255
JPEG_QUALITY = (75, 95)
CHROMA_4_2_0 = 2  # Pillow's number for it

MIN_PICTURES = 10


def perturb(images: Bytes, seed: int, repeat: int, indices: Sequence[int] | None = None) -> Bytes:
    """Copies of pictures with the small changes that no score should follow.

    Args:
        images: uint8 ``[N, H, W, 3]``, square.
        seed: decides the changes, together with ``repeat`` and a picture's index.
        repeat: which copy; copies of different numbers are changed independently.
        indices: numbers of the pictures in their set, so that a part of a set is changed as the whole is; None:
            0 to N - 1.

    Returns:
        uint8 ``[N, H, W, 3]``.
    """
    numbers = range(len(images)) if indices is None else indices
    stream = f"reliability/copy{repeat}"
    copies = [_copy(image, rng.stream(seed, stream, int(i))) for image, i in zip(images, numbers, strict=True)]
    return np.stack(copies) if copies else images.copy()


def _copy(image: Bytes, draws: np.random.Generator) -> Bytes:
    side = len(image)
    left, top = side * draws.uniform(-MAX_SHIFT, MAX_SHIFT, 2)
    shown = side * (1 + draws.uniform(-MAX_ZOOM, MAX_ZOOM))
    noise = draws.uniform(0, MAX_NOISE) * draws.standard_normal(image.shape, dtype=np.float32)
    quality = int(draws.integers(JPEG_QUALITY[0], JPEG_QUALITY[1], endpoint=True))
    margin = 2 + side // 32  # what lies beyond the edge repeats it
    edge = margin + (side - shown) / 2
    padded = Image.fromarray(np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge"))
    box = (edge + left, edge + top, edge + left + shown, edge + top + shown)
    moved = np.asarray(padded.resize((side, side), Image.Resampling.BICUBIC, box=box))
    noisy = Image.fromarray(np.clip(np.rint(moved + noise), 0, 255).astype(np.uint8))
    file = io.BytesIO()
    noisy.save(file, "JPEG", quality=quality, subsampling=CHROMA_4_2_0)
    return np.asarray(Image.open(file))


def retest(
    scorer: nn.Module, images: Bytes, seed: int = 0, indices: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """Scores float32 ``[N, 2, P]`` of two changed copies of uint8 pictures ``[N, H, W, 3]``; indices as in `perturb`.

    The scorer, in its present mode and on its own device, takes ``[N, 3, H, W]`` in [-1, 1]; its scores are
    ``[N, P]``, or ``[N]`` for a single one.
    """
    device = next((p.device for p in scorer.parameters()), torch.device("cpu"))
    pair = []
    with torch.no_grad():
        for repeat in range(2):
            copies = from_uint8(torch.from_numpy(perturb(images, seed, repeat, indices))).to(device)
            pair.append(scorer(copies).float().reshape(len(images), -1).cpu().numpy())
    return np.stack(pair, axis=1)


def pearson(a: Floats, b: Floats, seed: int = 0) -> Interval:
    """Correlations ``[P]`` of the columns of ``[N, P]`` with those of another; NaN where a column is constant.

    Args:
        a, b: ``[N, P]``.
        seed: decides the resamples of rows that the intervals come from.
    """
    counts = resamples(len(a), seed, "reliability/bootstrap")
    return Interval.of_draws(_correlations(a, b, np.ones((1, len(a))))[0], _correlations(a, b, counts))


def _correlations(a: Floats, b: Floats, counts: Floats) -> Floats:
    """Correlations ``[R, P]`` of columns where row n counts ``counts[r, n]`` times."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)  # keeps the sums of squares exact
    total = counts.sum(axis=1, keepdims=True)
    mean_a, mean_b = counts @ a / total, counts @ b / total
    covariance = counts @ (a * b) / total - mean_a * mean_b
    variances = (counts @ a**2 / total - mean_a**2) * (counts @ b**2 / total - mean_b**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variances > 0, covariance / np.sqrt(variances), np.nan)


def ceiling(r_xx: Floats, r_yy: Floats | float = 1.0) -> Floats:
    """The highest correlation that two scores of these reliabilities can have: sqrt(r_xx r_yy) (Spearman 1904).

    Args:
        r_xx, r_yy: reliabilities; 1 is free of noise. A negative one, which chance alone can give, counts as 0.
    """
    return np.sqrt(np.clip(r_xx, 0, None) * np.clip(r_yy, 0, None))


@dataclass(frozen=True)
class Reliability:
    """Test-retest reliability of each score, in the order of ``names``; arrays are float64 ``[P]``.

    Attributes:
        names: what is scored.
        r_xx: reliability, -1 to 1; NaN where all scores of a copy are equal.
        num: pictures it was measured on.
    """

    names: tuple[str, ...]
    r_xx: Interval
    num: int

    @classmethod
    def of(cls, scores: NDArray[Any], names: Sequence[str], seed: int = 0) -> "Reliability":
        """From the two scores of every picture, ``[N, 2, P]``, as `retest` gives them.

        All is NaN for fewer than 10 pictures, too few to tell. Raises ValueError if the names do not fit.
        """
        if scores.ndim != 3 or scores.shape[1:] != (2, len(names)):
            raise ValueError(f"scores are {list(scores.shape)}, expected [N, 2, {len(names)}]: a name for each score")
        if len(scores) < MIN_PICTURES:
            unknown = np.full(len(names), np.nan)
            return cls(tuple(names), Interval(unknown, unknown, unknown), len(scores))
        first, second = scores.astype(np.float64).swapaxes(0, 1)
        return cls(tuple(names), pearson(first, second, seed), len(scores))

    @property
    def ceiling(self) -> Floats:
        """The highest correlation of each score with anything that is free of noise."""
        return ceiling(self.r_xx.value)

    def columns(self) -> dict[str, Floats]:
        """Columns of a table, a value a score."""
        return {
            "reliability": self.r_xx.value,
            "reliability_low": self.r_xx.low,
            "reliability_high": self.r_xx.high,
            "ceiling": self.ceiling,
        }


def write_scorer_table(path: Path | str, names: Sequence[str], columns: Mapping[str, Any]) -> None:
    """Writes a CSV table, a row a property; ``columns`` maps a column's name to ``[P]`` values, array or tensor."""
    rows = [[name, *(f"{float(values[i]):.6f}" for values in columns.values())] for i, name in enumerate(names)]
    write_rows(path, [["property", *columns], *rows])


# --- How far two scorers agree on the same images ---


@dataclass(frozen=True)
class Agreement:
    """Agreement of two scorers, a value a property; arrays are float64 ``[P]``.

    Attributes:
        names: the properties that both score.
        pearson: correlation of the two scores, NaN where one of them is constant.
        slope, offset: the straight line that foretells the second score best from the first.
        r2: share of the second score's variance that the line explains.
        num: number of images.
    """

    names: tuple[str, ...]
    pearson: Interval
    slope: Floats
    offset: Floats
    r2: Floats
    num: int

    @classmethod
    def of(cls, first: NDArray, second: NDArray, names: Sequence[str], seed: int = 0) -> "Agreement":
        """From scores ``[N, P]`` of the same N images; ``seed`` decides the resamples.

        Raises:
            ValueError: for fewer than 10 images.
        """
        if len(first) < 10:
            raise ValueError(f"agreement of scorers needs at least 10 images, got {len(first)}: raise n")
        x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
        correlation = pearson(x, y, seed)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = correlation.value * y.std(axis=0) / x.std(axis=0)
        offset = y.mean(axis=0) - slope * x.mean(axis=0)
        r2 = 1 - np.square(y - slope * x - offset).sum(axis=0) / np.square(y - y.mean(axis=0)).sum(axis=0)
        return cls(tuple(names), correlation, slope, offset, r2, len(x))

    def columns(self) -> dict[str, list[float]]:
        """Columns of a table, a value a property."""
        arrays = {
            "pearson": self.pearson.value,
            "pearson_low": self.pearson.low,
            "pearson_high": self.pearson.high,
            "r2_after_line": self.r2,
            "slope": self.slope,
            "offset": self.offset,
        }
        return {name: array.tolist() for name, array in arrays.items()}

    def table(self) -> str:
        """The figures as text, for a terminal or a README."""
        lines = ["| property | Pearson, 95 % interval | R² after the best line | the line |", "|---|---|---|---|"]
        for i, name in enumerate(self.names):
            interval = Interval(*(bound[i] for bound in self.pearson))
            lines.append(f"| {name} | {interval} | {self.r2[i]:.3f} | {self.slope[i]:.2f} x {self.offset[i]:+.2f} |")
        return "\n".join(lines)


def agreement(first: str, second: str, generator: str, fresh: Fresh) -> Agreement:
    """Scores fresh images of a generator by two scorers and compares the properties that both know.

    Args:
        first, second: property networks: shipped models' names or files.
        generator: a shipped model's name or a file.
        fresh: which images, at least 10.

    Raises:
        ValueError: for too few images, scorers that share no property or not the generator's resolution, or networks
            of different versions of the embedded world.
    """
    check_same_world(network("scorer", first), network("scorer", second), network("generator", generator))
    scorers = {"first": open_scorer(first), "second": open_scorer(second)}
    names = [tuple(net.property_names) for net in scorers.values()]  # type: ignore[arg-type]
    common = [name for name in names[0] if name in names[1]]
    if not common:
        known = [", ".join(found) for found in names]
        raise ValueError(f"{first} scores {known[0]}, {second} scores {known[1]}: give scorers with a common property")
    scores = fresh.scores(generator, Panel(scorers), "scorers")
    both = scores[:, : len(names[0])], scores[:, len(names[0]) :]
    shared = [of[:, [known.index(name) for name in common]] for of, known in zip(both, names, strict=True)]
    return Agreement.of(shared[0], shared[1], common, fresh.seed)
