"""``ohlora truth``: how well faces of the embedded world are read off pictures, and whether damage shows.

On fresh rendered faces: what is read, as R^2 of each continuous attribute and share of right answers for each binary
one. On rendered, generated and spoilt pictures: how far each is from the rendering of what was read off it, and how
well that tells spoilt pictures from whole ones.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from ohlora_gan.commands.quality import REFERENCE_START
from ohlora_gan.devices import keep_freed_memory
from ohlora_gan.errors import answer, parser_of
from ohlora_gan.files import write_json
from ohlora_gan.images import grid, save_png
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.combined import Panel
from ohlora_gan.models.zoo import open_generator, open_truth
from ohlora_gan.world.face import BINARY, CONTINUOUS, SPREADS, sample_attributes
from ohlora_gan.world.same_world import Member, check_same_world, network
from ohlora_gan.world.spoilt import KINDS, spoil, weathered
from ohlora_gan.world.truth import NAMES, ROUNDS, Reading, Residuals, Truth, render_faces, values_of
from ohlora_gan.world.versions import LATEST

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


def run(
    name: str,
    generator: str | None = None,
    n: int = 2000,
    seed: int = 0,
    psi: float = 1.0,
    rounds: int = ROUNDS,
    output: Path | None = None,
) -> str:
    """Measures a network of ``model=truth``; returns the tables, and writes ``truth.json`` and ``sheet.png``.

    Args:
        name: the network: a shipped model's name or a file.
        generator: whose pictures are read and spoilt, too; None: blurred, warped and noisy rendered faces are spoilt.
        n: pictures of each kind, at least 10; a kind of damage has a fifth of it.
        seed: of the generator's latents and of the damage.
        psi: truncation of w.
        rounds: of refinement, see `Truth`.
        output: a folder.

    Raises:
        ValueError: for too few pictures, or networks that cannot be used.
    """
    if n < 10:
        raise ValueError(f"--n is {n}, expected 10 or more")
    if rounds < 1:
        raise ValueError(f"--rounds is {rounds}, expected 1 or more")
    rendered = Member(f"it renders world {LATEST}", LATEST)
    check_same_world(rendered, network("truth", name), *([network("generator", generator)] if generator else []))
    net = open_truth(name)
    first, refined = Truth(net, 0), Truth(net, rounds)
    truth = np.array([values_of(sample_attributes(0, REFERENCE_START + i)) for i in range(n)])
    pictures, codes = render_faces(truth, refined.resolution)
    fidelity = Fidelity.of(first.read(pictures), read(refined, "rendered", pictures), truth)

    clean = truth[:, NAMES.index("quality")] == 1  # the others are spoilt as rendered
    whole = {"rendered": read(refined, "whole rendered", pictures[clean])}
    worn = np.stack([weathered(picture, seed, i) for i, picture in enumerate(pictures[clean])])
    whole["weathered"] = read(refined, "weathered", worn)
    base, maps = "weathered", codes[clean]
    if generator:
        space = FaceSpace(open_generator(generator), Panel({"truth": net}), batch_size=100, seed=seed)
        whole["generated"] = read(refined, "generated", space.images(W(), space.w(STREAM, range(n), psi)))
        base, maps = "generated", whole["generated"].codes
    spoilt = {}
    for kind in KINDS:
        few = range(min(len(maps), max(10, n // len(KINDS))))
        made = [spoil(whole[base].images[i], maps[i], kind, seed, i) for i in few]
        spoilt[kind] = read(refined, kind.replace("_", " "), np.stack(made))
    damage = Damage(residuals_of(whole), residuals_of(spoilt), base)
    if output:
        settings = {"network": name, "generator": generator, "n": n, "seed": seed, "psi": psi, "rounds": rounds}
        kinds = {kind: damage.row(kind) for kind in (*whole, *spoilt)}
        figures = {**settings, **dataclasses.asdict(fidelity), "residuals": kinds, "auroc": damage.auroc()}
        save_png(output / "sheet.png", sheet(whole | spoilt))
        write_json(output / "truth.json", figures)
    return f"{fidelity.table()}\n\n{damage.table()}"


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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("truth", __doc__)
    parser.add_argument(
        "name", metavar="MODEL", nargs="?", default="truth", help="a network of model=truth: its name or a file"
    )
    parser.add_argument("--generator", help="whose pictures are read, too: a shipped model's name or a file")
    parser.add_argument("--n", type=int, default=2000, help="pictures of each kind (default 2000)")
    parser.add_argument("--psi", type=float, default=1.0, help="truncation of w (default 1: none)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of refinement (default {ROUNDS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="folder for truth.json and sheet.png")
    given = vars(parser.parse_args(arguments))
    keep_freed_memory()
    return answer(lambda: run(**given))


if __name__ == "__main__":
    sys.exit(main())
