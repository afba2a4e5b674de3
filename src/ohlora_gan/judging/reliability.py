"""How far networks that read faces are to be trusted.

How repeatable scores are, and what that allows; how far two scorers agree; and how well a network of ``model=truth``
reads faces of the embedded world, and whether damage shows in what it reads.

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
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score
from torch import nn

from ohlora_gan import rng
from ohlora_gan.files import grid, write_rows
from ohlora_gan.judging.figures import Floats, Interval, markdown, resamples
from ohlora_gan.judging.quality import REFERENCE_START, Fresh, place_of
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.filters import Panel
from ohlora_gan.models.gan import from_uint8
from ohlora_gan.models.generator import GeneratorBase
from ohlora_gan.models.zoo import open_generator, open_scorer, open_truth
from ohlora_gan.progress import Bar
from ohlora_gan.reading import open_picture
from ohlora_gan.world.face import BINARY, CONTINUOUS, SPREADS, sample_attributes
from ohlora_gan.world.truth import ATTRIBUTES, KINDS, ROUNDS, Reading, Truth, render_faces, spoil, values_of, weathered

Bytes = NDArray[np.uint8]

MAX_SHIFT = 1 / 64  # of the side: one pixel of a 64x64 picture
MAX_ZOOM = 0.015  # a picture shows up to this share more or less of the scene
MAX_NOISE = 4.0  # standard deviation, in grey levels of 255
JPEG_QUALITY = (75, 95)
CHROMA_4_2_0 = 2  # Pillow's number for it

MIN_PICTURES = 10


def perturb(images: Bytes, seed: int, repeat: int, indices: Sequence[int] | None = None) -> Bytes:
    """Copies of square pictures, uint8 ``[N, H, W, 3]``, with the small changes that no score should follow.

    Args:
        seed: decides the changes, together with ``repeat``, which is the number of the copy, and a picture's index.
        indices: numbers of the pictures in their set, so that a part of a set is changed as the whole is; None:
            0 to N - 1.
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
    return np.asarray(open_picture(file))


def retest(
    scorer: nn.Module, images: Bytes, seed: int = 0, indices: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """Scores float32 ``[N, 2, P]`` of two changed copies of pictures, see `perturb`.

    The scorer, in its present mode and on its own device, takes ``[N, 3, H, W]`` in [-1, 1]; its scores are
    ``[N, P]``, or ``[N]`` for a single one.
    """
    pair = []
    with torch.no_grad():
        for repeat in range(2):
            copies = from_uint8(torch.from_numpy(perturb(images, seed, repeat, indices))).to(place_of(scorer))
            pair.append(scorer(copies).float().reshape(len(images), -1).cpu().numpy())
    return np.stack(pair, axis=1)


def pearson(a: Floats, b: Floats, seed: int = 0) -> Interval:
    """Correlations ``[P]`` of the columns of ``[N, P]`` with those of another, over resamples of the rows that the seed
    decides; NaN where a column is constant."""
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


def reliability(scores: NDArray[Any], seed: int = 0) -> dict[str, Floats]:
    """Test-retest reliability of the two scores of every picture, ``[N, 2, P]``, as columns ``[P]`` of a table.

    ``reliability``, -1 to 1, with the bounds ``reliability_low`` and ``_high``; NaN where all scores of a copy are
    equal, and for fewer than 10 pictures, too few to tell. ``ceiling``: the highest correlation with anything that is
    free of noise, sqrt(r_xx); a negative reliability, which chance alone can give, counts as 0.
    """
    first, second = scores.astype(np.float64).swapaxes(0, 1)
    known = len(scores) >= MIN_PICTURES
    r_xx, low, high = pearson(first, second, seed) if known else np.full((3, scores.shape[2]), np.nan)
    ceiling = np.sqrt(np.clip(r_xx, 0, None))
    return {"reliability": r_xx, "reliability_low": low, "reliability_high": high, "ceiling": ceiling}


def write_scorer_table(path: Path | str, names: Sequence[str], columns: Mapping[str, Any]) -> None:
    """Writes a CSV table, a row a property; ``columns`` maps a column's name to ``[P]`` values, array or tensor."""
    rows = [[name, *(f"{float(values[i]):.6f}" for values in columns.values())] for i, name in enumerate(names)]
    write_rows(path, [["property", *columns], *rows])


@dataclass(frozen=True)
class Agreement:
    """Agreement of two scorers on the properties ``names`` that both score.

    Attributes:
        columns: of a table, float64 ``[P]``: ``pearson`` with its bounds, NaN where a score is constant; ``slope`` and
            ``offset`` of the straight line that foretells the second score best from the first, and
            ``r2_after_line``, the share of the second score's variance that it explains.
    """

    names: tuple[str, ...]
    columns: dict[str, Floats]

    @classmethod
    def of(cls, first: NDArray, second: NDArray, names: Sequence[str], seed: int = 0) -> "Agreement":
        """From scores ``[N, P]`` of the same N images, at least 10."""
        if len(first) < MIN_PICTURES:
            raise ValueError(f"agreement of scorers needs at least 10 images, got {len(first)}: raise n")
        x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
        correlation, low, high = pearson(x, y, seed)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = correlation * y.std(axis=0) / x.std(axis=0)
        offset = y.mean(axis=0) - slope * x.mean(axis=0)
        r2 = 1 - np.square(y - slope * x - offset).sum(axis=0) / np.square(y - y.mean(axis=0)).sum(axis=0)
        columns = {"pearson": correlation, "pearson_low": low, "pearson_high": high}
        return cls(tuple(names), columns | {"r2_after_line": r2, "slope": slope, "offset": offset})

    def table(self) -> str:
        """The figures as Markdown."""
        rows = []
        for name, *values in zip(self.names, *self.columns.values(), strict=True):
            interval, (r2, slope, offset) = Interval(*values[:3]), values[3:]
            rows.append((name, str(interval), f"{r2:.3f}", f"{slope:.2f} x {offset:+.2f}"))
        return markdown(("property", "Pearson, 95 % interval", "R² after the best line", "the line"), rows)


def agreement(first: str, second: str, generator: str, fresh: Fresh) -> Agreement:
    """Scores fresh images of a generator, at least 10, by two scorers and compares the properties that both know; all
    three are shipped models' names or files.

    Raises:
        ValueError: for too few images, scorers that share no property or not the generator's resolution, or networks
            that cannot be used.
    """
    scorers = {"first": open_scorer(first), "second": open_scorer(second)}
    ours, theirs = (tuple(net.property_names) for net in scorers.values())  # type: ignore[arg-type]
    common = [name for name in ours if name in theirs]
    if not common:
        raise ValueError(
            f"{first} scores {', '.join(ours)}, {second} scores {', '.join(theirs)}: give scorers with a common "
            f"property"
        )
    scores = fresh.scores(generator, Panel(scorers), "scorers")
    scores = scores[~np.isnan(scores).any(axis=1)]  # what both have something to say of
    first_scores = scores[:, [ours.index(name) for name in common]]
    second_scores = scores[:, [len(ours) + theirs.index(name) for name in common]]
    return Agreement.of(first_scores, second_scores, common, fresh.seed)


# --- How well faces of the embedded world are read off pictures, and whether damage shows ---


STREAM = "truth"
SHOWN = 12  # pictures a kind on the sheet


@dataclass(frozen=True)
class TruthFigures:
    """What is known of a network that reads faces."""

    # ``r2``: continuous attribute -> share of its variance that is read; ``r2_first``: the same before the first round
    # of refinement; ``right``: binary attribute -> share of right answers
    fidelity: dict[str, dict[str, float]]
    whole: dict[str, Reading]  # kind of whole pictures -> what was read off them
    spoilt: dict[str, Reading]  # kind of damage -> what was read off pictures that have it
    base: str  # the whole pictures that were spoilt

    def auroc(self, kind: str | None = None) -> float:
        """How well the worst patch tells a kind of damage, or all where none is named, from whole pictures."""
        spoilt = [self.spoilt[kind]] if kind else list(self.spoilt.values())
        whole = self.whole[self.base].residuals.worst
        values = np.concatenate([whole, *(reading.residuals.worst for reading in spoilt)])
        return float(roc_auc_score(np.arange(len(values)) >= len(whole), values))

    def row(self, kind: str) -> dict[str, float]:
        """Figures of a kind of pictures: means, the worst patch's 95th percentile, and the share above the 99th
        percentile of rendered pictures."""
        found = (self.whole | self.spoilt)[kind].residuals
        limit = np.percentile(self.whole["rendered"].residuals.worst, 99)
        figures = {f"{part.name}_mean": getattr(found, part.name).mean() for part in fields(found)}
        figures |= {"worst_p95": np.percentile(found.worst, 95), "share_above_p99": (found.worst > limit).mean()}
        if kind in self.spoilt:
            figures["auroc"] = self.auroc(kind)
        return {name: float(value) for name, value in figures.items()}

    def figures(self) -> dict[str, Any]:
        """As plain data."""
        kinds = {kind: self.row(kind) for kind in self.whole | self.spoilt}
        return {**self.fidelity, "residuals": kinds, "auroc": self.auroc()}

    def table(self) -> str:
        """As Markdown."""
        first, refined = self.fidelity["r2_first"], self.fidelity["r2"]
        read = [(name, f"{first[name]:.3f}", f"{refined[name]:.3f}") for name in CONTINUOUS]
        right = [(name, f"{share:.4f}") for name, share in self.fidelity["right"].items()]
        rows = []
        for kind in self.whole | self.spoilt:
            row = self.row(kind)
            residual = [
                f"{row[key]:.2f}" for key in ("whole_mean", "head_mean", "apart_mean", "worst_mean", "worst_p95")
            ]
            auroc = f"{row['auroc']:.3f}" if "auroc" in row else ""
            rows.append((kind, *residual, f"{row['share_above_p99']:.3f}", auroc))
        heads = (
            "whole",
            "head",
            "apart",
            "worst patch",
            "its 95th percentile",
            "above rendered 99th percentile",
            "AUROC",
        )
        tables = [
            markdown(("attribute", "R² as read", "R² refined"), read, right=True),
            markdown(("attribute", "right"), right, right=True),
            markdown(("pictures", *heads), rows, right=True),
        ]
        return "\n\n".join([*tables, f"AUROC of all kinds of damage against {self.base} pictures: {self.auroc():.4f}"])


def measure_truth(name: str, generator: str | None, fresh: Fresh, rounds: int = ROUNDS) -> TruthFigures:
    """Measures a network of ``model=truth`` on fresh pictures.

    Args:
        name: the network: a shipped model's name or a file.
        generator: whose pictures are read and spoilt, too; None: blurred, warped and noisy rendered faces are spoilt.
        fresh: pictures of each kind, at least 10; a kind of damage has a fifth of it.
        rounds: of refinement, see `Truth`.

    Raises:
        ValueError: for too few pictures, or networks that cannot be used.
    """
    if fresh.num < 10:
        raise ValueError(f"--n is {fresh.num}, expected 10 or more")
    if rounds < 1:
        raise ValueError(f"--rounds is {rounds}, expected 1 or more")
    net, maker = open_truth(name), open_generator(generator) if generator else None
    if maker and maker.resolution != net.resolution:
        raise ValueError(
            f"{name} reads pictures of {net.resolution} pixels, {generator} makes {maker.resolution}: give a generator "
            f"of that size"
        )
    refined = Truth(net, rounds)
    truth = np.array([values_of(sample_attributes(0, REFERENCE_START + i)) for i in range(fresh.num)])
    pictures, codes = render_faces(truth, refined.resolution)
    rendered = read(refined, "rendered", pictures)
    clean = truth[:, ATTRIBUTES.index("quality")] == 1  # the others are spoilt as rendered
    whole = read_whole(refined, rendered[clean], maker, fresh)
    base = "generated" if generator else "weathered"
    spoilt = read_spoilt(refined, whole[base].images, whole[base].codes if generator else codes[clean], fresh)
    return TruthFigures(fidelity(Truth(net, 0).read(pictures), rendered, truth), whole, spoilt, base)


def fidelity(first: Reading, refined: Reading, truth: Floats) -> dict[str, dict[str, float]]:
    """How well attributes are read off N pictures whose true ones ``[N, A]`` are known, see `TruthFigures`."""
    numbers, spread = len(CONTINUOUS), np.array([SPREADS[name].deviation for name in CONTINUOUS])

    def r2(reading: Reading) -> dict[str, float]:
        errors = (reading.values - truth)[:, :numbers] / spread
        return dict(zip(CONTINUOUS, (1 - np.square(errors).mean(axis=0)).tolist(), strict=True))

    right = (refined.values == truth)[:, numbers:].mean(axis=0).tolist()
    return {"r2": r2(refined), "r2_first": r2(first), "right": dict(zip(BINARY, right, strict=True))}


def read_whole(truth: Truth, rendered: Reading, generator: GeneratorBase | None, fresh: Fresh) -> dict[str, Reading]:
    """What whole pictures show: rendered ones, these drawn as a good generator draws, generated ones."""
    worn = np.stack([weathered(picture, fresh.seed, i) for i, picture in enumerate(rendered.images)])
    whole = {"rendered": rendered, "weathered": read(truth, "weathered", worn)}
    if generator:
        space = FaceSpace(generator, None, fresh.device, batch_size=100, seed=fresh.seed)
        made = space.images(W(), space.w(STREAM, range(fresh.num), fresh.psi))
        generated = read(truth, "generated", made)
        whole["generated"] = generated[generated.values[:, ATTRIBUTES.index("quality")] == 1]
    return whole


def read_spoilt(truth: Truth, pictures: Bytes, codes: Bytes, fresh: Fresh) -> dict[str, Reading]:
    """What pictures uint8 ``[N, R, R, 3]`` with parse maps ``[N, R, R]`` show when spoilt, a kind of damage each."""
    few = range(min(len(codes), max(10, fresh.num // len(KINDS))))
    spoilt = {}
    for kind in KINDS:
        made = [spoil(pictures[i], codes[i], kind, fresh.seed, i) for i in few]
        spoilt[kind] = read(truth, kind.replace("_", " "), np.stack(made))
    return spoilt


def read(truth: Truth, what: str, pictures: Bytes) -> Reading:
    """What pictures show, with a bar."""
    with Bar(desc=f"reading {what}", total=len(pictures)) as bar:
        return truth.read(pictures, bar)


def truth_sheet(readings: Mapping[str, Reading]) -> Bytes:
    """A band a kind of pictures: its name, some of them, and below each the face that was read off it."""
    bands = []
    for kind, reading in readings.items():
        both = np.concatenate([reading.images[:SHOWN], reading.rendered[:SHOWN]])
        pictures = grid(both, columns=min(SHOWN, len(reading.images)))
        label = Image.new("RGB", (130, len(pictures)), "white")
        ImageDraw.Draw(label).text((4, 4), f"{kind.replace('_', ' ')},\nread as", fill="black", font_size=16)
        bands += [np.concatenate([np.asarray(label), pictures], axis=1), np.full((10, 0, 3), 255, dtype=np.uint8)]
    width = max(band.shape[1] for band in bands)
    filled = [np.pad(band, ((0, 0), (0, width - band.shape[1]), (0, 0)), constant_values=255) for band in bands]
    return np.concatenate(filled[:-1])
