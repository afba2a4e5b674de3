"""How well faces of the embedded world are read off pictures, and whether damage shows.

On fresh rendered faces: what is read, as R^2 of each continuous attribute and share of right answers for each binary
one. On rendered, generated and spoilt pictures: how far each is from the rendering of what was read off it, and how
well that tells spoilt pictures from whole ones.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from ohlora_gan.images import grid
from ohlora_gan.judging.quality import REFERENCE_START, Fresh
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.gan import Generator
from ohlora_gan.models.zoo import open_generator, open_truth
from ohlora_gan.world.face import BINARY, CONTINUOUS, SPREADS, sample_attributes
from ohlora_gan.world.truth import (
    KINDS,
    NAMES,
    ROUNDS,
    Reading,
    Residuals,
    Truth,
    render_faces,
    spoil,
    values_of,
    weathered,
)
from ohlora_gan.world.versions import LATEST, Member, check_same_world, network

STREAM = "truth"
SHOWN = 12  # pictures a kind on the sheet
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Fidelity:
    """How well attributes are read.

    Attributes:
        r2: continuous attribute -> share of its variance that is read.
        r2_first: the same before the first round of refinement.
        right: binary attribute -> share of right answers.
    """

    r2: dict[str, float]
    r2_first: dict[str, float]
    right: dict[str, float]

    @classmethod
    def of(cls, first: Reading, refined: Reading, truth: NDArray[np.float64]) -> "Fidelity":
        """Of readings of N pictures whose attributes ``[N, A]`` are known."""
        spread = np.array([SPREADS[name].deviation for name in CONTINUOUS])
        numbers = len(CONTINUOUS)

        def r2(reading: Reading) -> dict[str, float]:
            errors = (reading.values - truth)[:, :numbers] / spread
            return dict(zip(CONTINUOUS, (1 - np.square(errors).mean(axis=0)).tolist(), strict=True))

        right = (refined.values == truth)[:, numbers:].mean(axis=0).tolist()
        return cls(r2(refined), r2(first), dict(zip(BINARY, right, strict=True)))

    def table(self) -> str:
        """As Markdown."""
        rows = ["| attribute | R² as read | R² refined |", "|---|---:|---:|"]
        rows += [f"| {name} | {self.r2_first[name]:.3f} | {self.r2[name]:.3f} |" for name in CONTINUOUS]
        rows += ["", "| attribute | right |", "|---|---:|"]
        return "\n".join([*rows, *(f"| {name} | {share:.4f} |" for name, share in self.right.items())])


@dataclass(frozen=True)
class Damage:
    """How well residuals tell spoilt pictures from whole ones.

    Attributes:
        whole: kind of whole pictures -> their residuals.
        spoilt: kind of damage -> those of the pictures that have it.
        base: the whole pictures that were spoilt.
    """

    whole: dict[str, Residuals]
    spoilt: dict[str, Residuals]
    base: str

    def auroc(self, kind: str | None = None) -> float:
        """Of the worst patch, spoilt against whole pictures; of all kinds of damage where none is named."""
        spoilt = [self.spoilt[kind].worst] if kind else [found.worst for found in self.spoilt.values()]
        whole = self.whole[self.base].worst
        values = np.concatenate([whole, *spoilt])
        return float(roc_auc_score(np.arange(len(values)) >= len(whole), values))

    def row(self, kind: str) -> dict[str, float]:
        """Figures of a kind of pictures: means, the worst patch's 95th percentile, and the share above the 99th
        percentile of rendered pictures."""
        found = (self.whole | self.spoilt)[kind]
        limit = np.percentile(self.whole["rendered"].worst, 99)
        figures = {f"{part.name}_mean": getattr(found, part.name).mean() for part in dataclasses.fields(found)}
        figures |= {"worst_p95": np.percentile(found.worst, 95), "share_above_p99": (found.worst > limit).mean()}
        if kind in self.spoilt:
            figures["auroc"] = self.auroc(kind)
        return {name: float(value) for name, value in figures.items()}

    def table(self) -> str:
        """As Markdown."""
        rows = [
            "| pictures | whole | head | worst patch | its 95th percentile | above rendered 99th percentile | AUROC |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for kind in (*self.whole, *self.spoilt):
            figures = self.row(kind)
            residual = " | ".join(
                f"{figures[key]:.2f}" for key in ("whole_mean", "head_mean", "worst_mean", "worst_p95")
            )
            auroc = f"{figures['auroc']:.3f}" if "auroc" in figures else ""
            rows.append(f"| {kind} | {residual} | {figures['share_above_p99']:.3f} | {auroc} |")
        rows.append(f"\nAUROC of all kinds of damage against {self.base} pictures: {self.auroc():.4f}")
        return "\n".join(rows)


@dataclass(frozen=True)
class TruthFigures:
    """What is known of a network that reads faces.

    Attributes:
        fidelity: how well it reads.
        damage: how well what it reads tells spoilt pictures from whole ones.
        readings: kind of pictures -> what was read off them, whole ones first.
    """

    fidelity: Fidelity
    damage: Damage
    readings: dict[str, Reading]

    def table(self) -> str:
        """As Markdown."""
        return f"{self.fidelity.table()}\n\n{self.damage.table()}"

    def figures(self) -> dict[str, Any]:
        """As plain data."""
        kinds = {kind: self.damage.row(kind) for kind in self.readings}
        return {**dataclasses.asdict(self.fidelity), "residuals": kinds, "auroc": self.damage.auroc()}


def measure_truth(name: str, generator: str | None, fresh: Fresh, rounds: int = ROUNDS) -> TruthFigures:
    """Measures a network of ``model=truth``.

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
    faces = Member(f"it renders world {LATEST}", LATEST)
    check_same_world(faces, network("truth", name), *([network("generator", generator)] if generator else []))
    net, maker = open_truth(name), open_generator(generator) if generator else None
    if maker and maker.resolution != net.resolution:
        raise ValueError(
            f"{name} reads pictures of {net.resolution} pixels, {generator} makes {maker.resolution}: give a generator "
            f"of that size"
        )
    first, refined = Truth(net, 0), Truth(net, rounds)
    truth = np.array([values_of(sample_attributes(0, REFERENCE_START + i)) for i in range(fresh.num)])
    pictures, codes = render_faces(truth, refined.resolution)
    rendered = read(refined, "rendered", pictures)
    fidelity = Fidelity.of(first.read(pictures), rendered, truth)
    clean = truth[:, NAMES.index("quality")] == 1  # the others are spoilt as rendered
    whole = read_whole(refined, rendered[clean], maker, fresh)
    base = "generated" if generator else "weathered"
    spoilt = read_spoilt(refined, whole[base].images, whole[base].codes if generator else codes[clean], fresh)
    damage = Damage(residuals_of(whole), residuals_of(spoilt), base)
    return TruthFigures(fidelity, damage, whole | spoilt)


def read_whole(truth: Truth, rendered: Reading, generator: Generator | None, fresh: Fresh) -> dict[str, Reading]:
    """What whole pictures show: rendered ones, these drawn as a good generator draws, generated ones."""
    worn = np.stack([weathered(picture, fresh.seed, i) for i, picture in enumerate(rendered.images)])
    whole = {"rendered": rendered, "weathered": read(truth, "weathered", worn)}
    if generator:
        space = FaceSpace(generator, None, fresh.device, batch_size=100, seed=fresh.seed)
        made = space.images(W(), space.w(STREAM, range(fresh.num), fresh.psi))
        whole["generated"] = read(truth, "generated", made)
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
    with tqdm(desc=f"reading {what}", total=len(pictures)) as bar:
        return truth.read(pictures, bar)


def residuals_of(readings: Mapping[str, Reading]) -> dict[str, Residuals]:
    return {kind: reading.residuals for kind, reading in readings.items()}


def sheet(readings: Mapping[str, Reading]) -> Bytes:
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
