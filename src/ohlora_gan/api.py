"""The front door: load a generator, sample faces, find directions, edit, judge. Pipelines use the same parts."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs
from numpy.typing import NDArray
from torch import nn

from ohlora_gan.data.alignment import Crop
from ohlora_gan.devices import Device
from ohlora_gan.directions.base import DirectionFinder
from ohlora_gan.directions.derivatives import GradientFinder, LocalJacobianFinder, MeanJacobianFinder
from ohlora_gan.directions.files import DirectionSet, fitted, load_directions, open_directions, save_directions
from ohlora_gan.directions.linear import RidgeFinder, SvmFinder
from ohlora_gan.editing.closed_loop import METRIC, ClosedLoop, ClosedLoopMover
from ohlora_gan.editing.invert import Inverter, anchored
from ohlora_gan.editing.moves import Mover, StraightMover, groups_of
from ohlora_gan.editing.photos import Photos, take_photos
from ohlora_gan.editing.search import Wanted, find_directions, made_ready, recalibrated
from ohlora_gan.files import encoded, grid
from ohlora_gan.judging.figures import make_plan
from ohlora_gan.judging.judge import SHIPPED_JUDGES, Extent, Judgement, judge_vectors, open_judges
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer, W, Z, layer_named
from ohlora_gan.latents.metric import SETTINGS, Measured, Region, make_metric, stored_metric
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.generator import GeneratorBase
from ohlora_gan.models.zoo import open_generator, open_scorer, shipped
from ohlora_gan.names import EDITED_PROPERTIES, published_or
from ohlora_gan.progress import Bar
from ohlora_gan.reports.report import VectorSearch, draw_strips, vector_page, write_report
from ohlora_gan.training.gradient_net import NetTrainer

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

log = logging.getLogger(__name__)

STREAM = "sample"  # directions are neither found nor judged on its faces
SCORER = "property_cnn"
SHOWN = 32  # faces at most in a notebook's picture

METHODS: dict[str, type[DirectionFinder]] = {
    "svm": SvmFinder,
    "ridge": RidgeFinder,
    "gradient": GradientFinder,
    "mean_jacobian": MeanJacobianFinder,
    "local_jacobian": LocalJacobianFinder,
}
"""Method -> its finder, whose arguments ``Gan.find`` takes, too."""


def load(
    generator: str | Path | GeneratorBase,
    scorer: str | Path | nn.Module | None = "auto",
    device: str | Device = "cpu",
    truncation_psi: float = 1.0,
) -> Gan:
    """A generator, and what scores its faces.

    Args:
        generator: a shipped model's name (``og.shipped()`` lists them), a file of weights, or a `Generator`.
        scorer: the same of a network that scores attributes; ``"landmarks"``, or ``"package.module:factory"`` for any
            callable of your own, see `WrappedScorer`; ``"auto"``: ``property_cnn`` for shipped generators, none for
            others; None: faces are not scored.
        device: ``cpu``, ``cuda``, ``mps``, ``auto``, or a `Device`.
        truncation_psi: how far every w is from its average, above 0 and at most 1 (Karras et al. 2019, section B).

    Raises:
        ValueError: where a file, the device or a setting cannot be used.
    """
    if scorer == "auto":
        scorer = SCORER if isinstance(generator, (str, Path)) and str(generator) in shipped() else None
    name, scorer_name = type(generator).__name__, ""
    if isinstance(generator, (str, Path)):
        name, generator = str(generator), open_generator(generator)
    if isinstance(scorer, (str, Path)):
        scorer_name, scorer = str(scorer), open_scorer(scorer)
    if isinstance(device, str):
        device = Device(device, device, "auto" if device == "auto" else "32-true")
    return Gan(FaceSpace(generator, scorer, device.check(), truncation_psi=truncation_psi), name, scorer_name)


@dataclass(frozen=True)
class Gan:
    """A generator on its device, and what scores its faces; see `load`.

    Attributes:
        space: both as functions: latents to codes, codes to images, images to scores.
        name: what the generator was called.
        scorer_name: what the scorer was called; empty where it has no name, or there is none.
    """

    space: FaceSpace
    name: str
    scorer_name: str = ""

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.space.generator.resolution

    @property
    def properties(self) -> tuple[str, ...]:
        """What the scorer scores; empty where there is none."""
        return self.space.property_names

    def __repr__(self) -> str:
        scored = f"scores {', '.join(self.properties)}" if self.properties else "no scorer"
        return f"Gan({self.name!r}, {self.resolution}x{self.resolution}, {scored})"

    @cached_property
    def step_costs(self) -> NDArray[np.float64]:
        """What the steps of a closed loop at z cost, float64 ``[D, D]``, see ``latents.metric``; measured at first use,
        which takes a while."""
        how = Measured(**{key: value for key, value in METRIC.items() if key != "region"})
        metric = make_metric(self.space, Z(), how)
        assert metric is not None
        return metric

    def sample(self, num: int, seed: int = 0) -> Faces:
        """Fresh faces, at least one; face i of a seed is the same whatever ``num`` is."""
        if num < 1:
            raise ValueError(f"num is {num}, expected at least 1")
        return Faces(self, seed, np.arange(num))

    def find(
        self,
        method: str | DirectionFinder = "svm",
        layer: str | Layer = "mapping_split2",
        n: int = 4000,
        properties: Sequence[str] | None = None,
        cache: str | Path | None = None,
        **settings: Any,
    ) -> Directions:
        """Directions that raise scores, found on ``n`` samples and measured on others.

        Args:
            method: one of `METHODS`, or a finder of your own (``ohlora_gan.testing`` has its contract).
            layer: ``z``, ``w``, ``wplus``, ``mapping_split1``, ``mapping_split2``, or a layer of your own.
            n: samples, at least 10; their scores are kept on disk and used again.
            properties: what to change; some of the scorer's. None: eyes, mouth and pose, or all if it lacks one.
            cache: where scores are kept; None: the user's cache folder.
            settings: the finder's arguments, such as ``ratio=0.1`` for ``svm``.

        Raises:
            ValueError: for a method or layer that there is not, properties that are not scored, or no scorer.
        """
        if not self.properties:
            raise ValueError(f"{self.name} has no scorer, so there is nothing to find: load(..., scorer=NAME or FILE)")
        if properties is None:
            properties = published_or(EDITED_PROPERTIES, self.properties, self.properties)
        if unknown := [name for name in properties if name not in self.properties]:
            raise ValueError(f"properties has {unknown[0]!r}, expected some of {', '.join(self.properties)}")
        where = layer_named(layer) if isinstance(layer, str) else layer
        bank = ScoreBank(cache or Path(platformdirs.user_cache_dir("ohlora_gan")) / "banks", self.space)
        finder = make_finder(method, settings) if isinstance(method, str) else method
        is_mean = isinstance(finder, (MeanJacobianFinder, LocalJacobianFinder))
        wanted = Wanted(
            tuple(properties),
            n,
            metric=stored_metric(bank, where, {"name": "image", **SETTINGS["image"]}, Region()) if is_mean else None,
            correct=isinstance(finder, MeanJacobianFinder),
            method=method if isinstance(method, str) else type(method).__name__,
        )
        return Directions(self, where, find_directions(bank, where, finder, wanted).directions)

    def invert(
        self, *pictures: str | Path | Image | NDArray[np.uint8], crop: Crop = "auto", cache: str | Path | None = None
    ) -> Inverted:
        """Faces of photographs, which are edited as sampled ones are.

        What helps to find them is learnt of the generator's own faces at the first call, in a minute or two.

        Args:
            pictures: files, Pillow images, or arrays uint8 ``[H, W, 3]`` of RGB.
            crop: ``landmarks``: the face as the generator has its faces, by eyes and mouth; ``center``: the largest
                central square; ``none``: all of the picture; ``auto``: by landmarks where they are installed and found.
            cache: where what was learnt is kept; None: the user's cache folder.

        Raises:
            ValueError: for a picture that cannot be read, or shows no face to take.
        """
        if not pictures:
            raise ValueError("there is no picture to invert: give a file, a Pillow image, or an array uint8 [H, W, 3]")
        inverter = Inverter(self.space, Path(cache or Path(platformdirs.user_cache_dir("ohlora_gan")) / "banks"))
        photos = take_photos(inverter, pictures, crop)
        for note in photos.notes:
            log.warning("%s", note)
        return Inverted(self, 0, np.arange(len(photos)), photos)

    def open(self, path: str | Path) -> Directions:
        """Directions of a file, or of the folder of a run of find_vectors.py; strengths that it lacks are measured.

        Raises:
            ValueError: where it is missing, damaged, or does not fit the generator.
        """
        path = Path(path) / "vectors.safetensors" if Path(path).is_dir() else Path(path)
        layer = layer_named(load_directions(path).layer)
        found = open_directions(path, self.space, layer)
        if found.slopes is None:
            found, notes = made_ready(self.space, layer, found)
            for note in notes:
                log.warning("%s: %s", path, note)
        return Directions(self, layer, found)


def make_finder(method: str, settings: Mapping[str, Any]) -> DirectionFinder:
    """A finder of `METHODS`; raises ValueError for another name, or arguments that it does not take."""
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, expected one of {', '.join(METHODS)}, or a finder")
    if method == "gradient":
        settings = {"train": NetTrainer(), **settings}
    try:
        return METHODS[method](**settings)
    except TypeError as error:
        raise ValueError(f"method {method!r} does not take these settings: {error}") from error


@dataclass(frozen=True)
class Faces:
    """Faces of a generator: N numbers of a seed. What is asked of them is made at first use and kept.

    Attributes:
        gan: the generator.
        seed: of their latents.
        numbers: which faces of it, ``[N]``.
    """

    gan: Gan
    seed: int
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, which: int | slice | Sequence[int]) -> Faces:
        return Faces(self.gan, self.seed, np.atleast_1d(self.numbers[which]))

    @cached_property
    def space(self) -> FaceSpace:
        """The generator's space with this seed."""
        return self.gan.space.seeded(self.seed)

    def codes(self, layer: str | Layer = "w") -> NDArray[np.float32]:
        """Vectors at a layer, float32 ``[N, D]``."""
        where = layer_named(layer) if isinstance(layer, str) else layer
        return self.space.codes(where, *self.space.latents(STREAM, self.numbers.tolist()))

    def at(self, layer: Layer) -> tuple[Layer, NDArray[np.float32]]:
        """The layer at which edits of ``layer`` move these faces, and their vectors there."""
        return layer, self.codes(layer)

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """uint8 ``[N, R, R, 3]``."""
        return self.space.images(*self.at(W()))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row a face, a column a property, in standard deviations of the scorer's training faces; ValueError where
        there is no scorer."""
        return table(self.space.score_codes(*self.at(W())), self.gan.properties, self.numbers)

    def __repr__(self) -> str:
        side = self.gan.resolution
        return f"Faces({len(self)} of {self.gan.name}, seed {self.seed}: images uint8 [{len(self)}, {side}, {side}, 3])"

    def _repr_png_(self) -> bytes:
        return encoded(grid(self[:SHOWN].images, columns=min(8, len(self))))


@dataclass(frozen=True)
class Inverted(Faces):
    """Faces that a generator makes of photographs, see `Gan.invert`.

    Attributes:
        photos: the photographs, what was cut out of them, and how near what was found comes.
    """

    photos: Photos

    def __getitem__(self, which: int | slice | Sequence[int]) -> Inverted:
        chosen = np.atleast_1d(np.arange(len(self))[which])
        return Inverted(self.gan, self.seed, self.numbers[chosen], self.photos[chosen.tolist()])

    @property
    def w(self) -> NDArray[np.float32]:
        """One w a synthesis layer, ``[N, L, w_dim]``."""
        return self.photos.found.w

    def codes(self, layer: str | Layer = "w") -> NDArray[np.float32]:
        """Vectors at a layer, float32 ``[N, D]``, as near as one w for all layers comes; ``w`` is exact."""
        where = layer_named(layer) if isinstance(layer, str) else layer
        return self.at(where)[1][:, : where.size(self.space.generator)]

    def at(self, layer: Layer) -> tuple[Layer, NDArray[np.float32]]:
        return anchored(self.space, layer, self.w)

    @property
    def agreement(self) -> pd.DataFrame:
        """How near what was found comes: ``residual``, the mean difference of a pixel from 0 to 1, ``scores_off``, the
        mean one of a score in sigmas, and ``distance``, 1 being as far out as the outermost sampled faces."""
        found = self.photos.found
        values = np.stack([found.residual, self.photos.scores_off, found.distance], axis=1)
        return table(values, ["residual", "scores_off", "distance"], self.photos.names)

    def paste(self, edit: Edit) -> list[NDArray[np.uint8]]:
        """The whole photographs, uint8 ``[H, W, 3]``, with what an edit changed in their faces."""
        return self.photos.pasted(edit.images)

    def __repr__(self) -> str:
        return f"Inverted({', '.join(self.photos.names)} by {self.gan.name})\n{self.agreement.round(3)}"


@dataclass(frozen=True)
class Directions:
    """Directions at a layer that raise scores, a property and a group of faces.

    Attributes:
        gan: the generator and scorer that they were found with.
        layer: where they move codes.
        found: the directions as files hold them.
    """

    gan: Gan
    layer: Layer
    found: DirectionSet

    @property
    def properties(self) -> tuple[str, ...]:
        """What they change, k of them."""
        return self.found.properties

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Unit vectors ``[k, G, D]``, of G groups of faces."""
        return self.found.directions

    @property
    def slopes(self) -> pd.DataFrame:
        """What a unit of length brings, in sigmas of the score: a row a property, a column a group."""
        slopes = np.full(self.vectors.shape[:2], np.nan) if self.found.slopes is None else self.found.slopes
        return table(slopes, self.found.group_names, self.properties)

    def save(self, path: str | Path) -> Path:
        """Writes a ``.safetensors`` file, which ``Gan.open``, ``ohlora edit`` and ``ohlora rescore`` read."""
        return save_directions(path, self.found)

    def edit(
        self, faces: Faces, closed_loop: bool = False, hold: str | Sequence[str] = "rest", **changes: float
    ) -> Edit:
        """Changes scores of faces.

        Args:
            faces: of the same generator.
            closed_loop: move by feedback until the scores are what was asked for, instead of straight on; at z,
                where every code is a face that the generator knows.
            hold: with ``closed_loop``, what is to stay: ``rest``, ``none``, or names.
            changes: property -> change in sigmas, such as ``eyes=1.0``; of what the scorer does not measure, in
                standard deviations of the codes along its direction.

        Raises:
            ValueError: for no change, or for a property that has no direction.
        """
        known = self.gan.properties if closed_loop else self.properties
        if not changes or (unknown := [name for name in changes if name not in known]):
            given = f"there is no direction for {unknown[0]!r}" if changes else "no change is given"
            raise ValueError(f"{given}: give some of {', '.join(known)}, such as {known[0]}=1.0")
        space, (layer, codes) = faces.space, faces.at(Z() if closed_loop else self.layer)
        mover: Mover = StraightMover(self.found)
        if closed_loop:
            mover = ClosedLoopMover(ClosedLoop(space, layer, self.gan.step_costs), hold)
        groups = groups_of(space, layer, codes, mover.medians)
        moved = mover(codes, groups, {name: [float(value)] for name, value in changes.items()}).codes[:, 0]
        return Edit(faces, layer, moved, dict(changes))

    def transfer(self, to: Gan, samples: int = 200, jacobians: int = 0) -> Directions:
        """The same directions for another checkpoint of the same layout, such as a fine-tuned one.

        Args:
            to: the other generator, and who scores its faces.
            samples: latents there on which strengths are measured anew, at least 2.
            jacobians: latents there at which scores are differentiated, at least 2, so that each direction loses what
                changes other scores, and on which strengths are measured instead; 0: directions stay as they are.

        Raises:
            ValueError: for a generator of another layout.
        """
        self.layer.check(to.space.generator)
        found = fitted(self.found, to.space, self.layer, f"{self!r}")
        found, notes = recalibrated(to.space, self.layer, found, samples, jacobians)
        for note in notes:
            log.warning("%s: %s", to.name, note)
        return Directions(to, self.layer, found)

    def judge(self, by: str | Sequence[str] | None = "judge", num_latents: int = 100) -> Judged:
        """Tests the directions on fresh faces, by the scorer that found them and by others that had no part.

        Args:
            by: names or files of other scorers, ``"landmarks"``, a list of such; ``"judge"``: the shipped one that
                goes with the shipped scorer; None: nobody else.
            num_latents: faces, at least 1.

        Raises:
            ValueError: for a judge that cannot judge these directions.
        """
        if by == "judge" and self.gan.scorer_name not in SHIPPED_JUDGES:
            by = None
        judges = open_judges(self.gan.space, self.gan.scorer_name or "scorer", by)
        started = time.monotonic()
        with Bar(desc="testing", total=num_latents) as bar:
            judgement = judge_vectors(
                *(self.gan.space, self.layer, StraightMover(self.found), make_plan(self.properties), judges),
                *(Extent(num_latents), bar),
            )
        judgement.about |= {"method": self.found.method, "n": self.found.provenance.get("n")}
        return Judged(self, judgement, time.monotonic() - started)

    def __repr__(self) -> str:
        k, groups, size = self.vectors.shape
        what = f"{', '.join(self.properties)} by {self.found.method} at {self.layer.name}"
        return f"Directions({what}: vectors float32 [{k}, {groups}, {size}])"


@dataclass(frozen=True)
class Edit:
    """Edited faces.

    Attributes:
        faces: as they were, N.
        layer: where they were moved.
        codes: where to, float32 ``[N, D]``.
        changes: property -> what was asked for, in sigmas.
    """

    faces: Faces
    layer: Layer
    codes: NDArray[np.float32]
    changes: Mapping[str, float]

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """The edited faces, uint8 ``[N, R, R, 3]``."""
        return self.faces.space.images(self.layer, self.codes)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Their scores: a row a face, a column a property."""
        scores = self.faces.space.score_codes(self.layer, self.codes)
        return table(scores, self.faces.gan.properties, self.faces.numbers)

    @property
    def moved(self) -> pd.DataFrame:
        """How far each score has moved."""
        return self.scores - self.faces.scores

    def __repr__(self) -> str:
        asked = ", ".join(f"{name} {value:+g}" for name, value in self.changes.items())
        side = self.faces.gan.resolution
        return f"Edit({asked}: images uint8 [{len(self.faces)}, {side}, {side}, 3])"

    def _repr_png_(self) -> bytes:
        before, after = self.faces[:SHOWN].images, self.images[:SHOWN]
        pairs = np.stack([before, after], axis=1).reshape(-1, *before.shape[1:])
        return encoded(grid(pairs, columns=min(8, len(pairs))))


@dataclass(frozen=True)
class Judged:
    """What judges say of directions.

    Attributes:
        directions: what was judged.
        judgement: all figures, latent by latent.
        seconds: what judging took.
    """

    directions: Directions
    judgement: Judgement
    seconds: float

    @property
    def figures(self) -> dict[str, Any]:
        """All figures with their intervals, as plain data: what ``judge.json`` holds."""
        return self.judgement.to_dict()

    @property
    def summary(self) -> pd.DataFrame:
        """A row a judge: the sum of correlations and the share of faces that pass, with 95 % intervals."""
        rows = {name: [*found["sum_corr"], *found["pass_share"]] for name, found in self.judgement.by.items()}
        columns = [f"{what}{end}" for what in ("sum_corr", "pass_share") for end in ("", "_low", "_high")]
        return table(np.array(list(rows.values()), dtype=float), columns, list(rows))

    def html(self, path: str | Path) -> Path:
        """Writes the page of the search."""
        gan, found, test = self.directions.gan, self.directions.found, self.judgement.test
        settings = {
            "n": found.provenance.get("n", 0),
            "seed": gan.space.seed,
            "checkpoint": gan.name,
            "scorer": gan.scorer_name,
            "device": {"name": gan.space.device.name},
            "method": {"name": found.method, "finder": found.provenance.get("finder", {"class": found.method})},
            "test": {"num_latents": len(test.cases), "signed": True},
        }
        layer = self.directions.layer
        strips = draw_strips(gan.space, layer, test, num_faces=6, reach=2.0, steps=9)
        metrics = found.provenance.get("metrics", {})
        page = VectorSearch(settings, gan.space, layer, found, metrics, self.judgement, strips, self.seconds)
        write_report(path, vector_page(page))
        return Path(path)

    def __repr__(self) -> str:
        return f"Judged({self.directions!r})\n{self.summary.round(3)}"

    def _repr_html_(self) -> str:
        return self.summary.round(3).to_html()


def table(values: NDArray[Any], columns: Sequence[str], index: Sequence[Any] | NDArray[Any]) -> pd.DataFrame:
    """A table of numbers ``[rows, columns]``."""
    import pandas as pd  # half a second that sampling alone need not wait for

    return pd.DataFrame(values, index=list(index), columns=list(columns))
