"""What the explorer's page shows, without the page: faces, edits within their safe range, and what is saved of them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ohlora_gan.data.alignment import Crop
from ohlora_gan.directions.files import DirectionSet, load_directions, open_directions, save_directions
from ohlora_gan.directions.linear import RidgeFinder
from ohlora_gan.editing.closed_loop import ClosedLoopMover, HeldMover
from ohlora_gan.editing.given import GivenW, codes_of, save_w
from ohlora_gan.editing.invert import Inverter
from ohlora_gan.editing.moves import STREAM, Faces, Limits, Mover, SafeRange, Session, StraightMover, look_at
from ohlora_gan.editing.photos import Photos, take_photos
from ohlora_gan.editing.search import Wanted, find_directions
from ohlora_gan.files import save_png
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer, W, layer_named
from ohlora_gan.latents.metric import Region
from ohlora_gan.models.gan import from_uint8
from ohlora_gan.models.scorers import fitting
from ohlora_gan.models.zoo import open_filters, shipped, shipped_filters
from ohlora_gan.options import EditSettings, Loop, Models
from ohlora_gan.pipelines.edit import SHIPPED, Scene, edit, usable
from ohlora_gan.pipelines.runs import SpaceSettings, settings_of, vectors_file

FOUND_NOW = "found now (ridge)"
LAYERS = ("w", "wplus", "mapping_split2", "mapping_split1", "z")
NUM_FIND, NUM_CALIBRATION = 1500, 40
GALLERY = 48  # faces that are looked at, of which the page shows the best first
GOOD = {"filter_quality": 1, "filter_glass": 0}
"""Filters, and what they say of a face that is easy to edit."""
REACH = 3.0  # sigmas, both ways, that a slider goes


@dataclass(frozen=True)
class Face:
    """A face that is edited.

    Attributes:
        title: what to call it.
        number: in the generator's stream of faces to edit; None: it was given.
        layer: at which it is edited.
        faces: its code, scores and group, of one.
        image: uint8 ``[R, R, 3]``.
        photo: where it comes from a photograph.
    """

    title: str
    number: int | None
    layer: Layer
    faces: Faces
    image: NDArray[np.uint8]
    photo: Photos | None = None


@dataclass(frozen=True)
class Edited:
    """What came of an edit: code float32 ``[D]``, picture uint8 ``[R, R, 3]``, scores ``[P]``, and words about it."""

    code: NDArray[np.float32]
    image: NDArray[np.uint8]
    scores: NDArray[np.float32]
    note: str = ""


@dataclass
class Asked:
    """What the page asks for: sigmas a property, what is locked, and whether a loop looks at what comes of it."""

    changes: dict[str, float] = field(default_factory=dict)
    locked: list[str] = field(default_factory=list)
    closed: bool = False


class Engine:
    """A generator, its scorer, and directions, ready to edit.

    Args:
        generator: a name or a file.
        vectors: a run or a directions file; None: found now, at ``layer``.
        scorer: a name or a file; None: the run's, or the shipped one.
        cache: where samples, and what was found or learnt, are kept.
        seed: of the faces; None: the run's.

    Raises:
        ValueError: where these do not fit together.
    """

    def __init__(
        self,
        generator: str = "v9",
        vectors: Path | None = None,
        layer: str = "w",
        scorer: str | None = None,
        cache: Path = Path("runs/explore"),
        device: str = "cpu",
        seed: int | None = None,
    ) -> None:
        recorded = {} if vectors is None else settings_of(vectors)
        self.settings = SpaceSettings.of(SHIPPED | recorded, checkpoint=generator, scorer=scorer, seed=seed)
        self.space, self.cache, self.device = self.settings.open(device), cache, device
        self.notes: list[str] = []
        self.layer: Layer
        if vectors is None:
            self.layer = layer_named(layer)
            self.layer.check(self.space.generator)
            self.found, self.vectors = self._find(layer)
        else:
            self.vectors = vectors_file(vectors)
            self.layer = layer_named(load_directions(self.vectors).layer)
            self.layer.check(self.space.generator)
            found = open_directions(self.vectors, self.space, self.layer)
            self.found, self.notes = usable(found, self.space, self.layer)

    def _find(self, layer: str) -> tuple[DirectionSet, Path]:
        """Directions by ridge regression for all that is scored, from the cache or found now."""
        bank = ScoreBank(self.cache / "banks", self.space)
        path = self.cache / f"ridge_{layer}_{bank.folder.name}.safetensors"
        if path.is_file():
            return open_directions(path, self.space, self.layer), path
        wanted = Wanted(self.space.property_names, NUM_FIND, num_calibration=NUM_CALIBRATION, method="ridge")
        found = find_directions(bank, self.layer, RidgeFinder(), wanted).directions
        path.parent.mkdir(parents=True, exist_ok=True)
        save_directions(path, found)
        return found, path

    @property
    def properties(self) -> tuple[str, ...]:
        """What can be edited: what is scored, and what there is a direction for besides."""
        scored = self.space.property_names
        return (*scored, *(name for name in self.found.properties if name not in scored))

    def movable(self, closed: bool) -> tuple[str, ...]:
        """What has a slider that moves something."""
        return self.space.property_names if closed else self.found.properties

    @cached_property
    def safe(self) -> SafeRange:
        """Where sampled faces lie."""
        return SafeRange.sampled(self.space, self.layer)

    def range_of(self, face: Face, name: str) -> tuple[float, float] | None:
        """Changes of a property, in sigmas, between which sampled faces lie; None of what is not scored."""
        if name not in self.space.property_names:
            return None
        p = self.space.property_names.index(name)
        own = float(face.faces.scores[0, p])
        return min(float(self.safe.low[p]) - own, 0.0), max(float(self.safe.high[p]) - own, 0.0)

    # --- Faces ---

    @cached_property
    def gallery(self) -> list[tuple[int, NDArray[np.uint8], str]]:
        """Numbers, pictures and words of faces, the good ones first: whom filters call so, else the nearest ones."""
        codes = self.space.codes(W(), *self.space.latents(STREAM, range(GALLERY)))
        images = self.space.images(W(), codes)
        order = np.argsort(-self._goodness(codes, images), kind="stable")
        return [(int(n), images[n], str(n)) for n in order]

    def _goodness(self, codes: NDArray[np.float32], images: NDArray[np.uint8]) -> NDArray[Any]:
        """How good faces are, ``[N]``; the scale is of no meaning."""
        names = [name for name in GOOD if name in shipped_filters()]
        if self.settings.checkpoint in shipped() and names:
            good = np.ones(len(images))
            batch = self.space.device.place(torch.nn.Identity())(from_uint8(torch.from_numpy(images)))
            with torch.no_grad():
                for name, ensemble in zip(names, open_filters(names).values(), strict=True):
                    says = fitting(ensemble, self.space.generator.resolution)(batch).numpy()
                    good *= says if GOOD[name] else 1 - says
            return good
        return -np.linalg.norm(codes - codes.mean(axis=0), axis=1)

    def face(self, number: int) -> Face:
        """The face of a number."""
        codes = self.space.codes(self.layer, *self.space.latents(STREAM, [number]))
        faces = look_at(self.space, self.layer, codes, self.found.medians, [f"seed {number}"], [number])
        return Face(f"seed {number}", number, self.layer, faces, self.space.images(self.layer, codes)[0])

    @cached_property
    def inverter(self) -> Inverter:
        return Inverter(self.space, self.cache)

    def photograph(self, source: Any, crop: Crop = "auto") -> Face:
        """The face of a photograph; ValueError where there is none to take."""
        photos = take_photos(self.inverter, [source], crop)
        layer, codes = codes_of(GivenW(photos.found.w), self.space, self.layer)
        faces = look_at(self.space, layer, codes, self.found.medians, photos.names)
        return Face("the photograph", None, layer, faces, photos.found.images[0], photos)

    # --- Edits ---

    def edit(self, face: Face, asked: Asked) -> Edited:
        """A face after an edit, held in its safe range."""
        changes = {name: value for name, value in asked.changes.items() if value and name in self.movable(asked.closed)}
        session = Session(self.space, face.layer, face.faces, self.mover(face, asked), self.limits)
        code, note = face.faces.codes[0], ""
        if changes:
            code = session.move({name: np.array([value]) for name, value in changes.items()})[0, 0]
            note = " ".join(f"{text}: held there." for text in self.limits.beyond(face.faces, changes))
            far = self.safe.distance(code[None, face.layer.free(self.space.generator)])[0]
            note += f" {far:.2f} times as far out as sampled faces." if far > 1 else ""
        images, scores = session.look(code[None])
        return Edited(code, images[0], scores[0], note.strip())

    @cached_property
    def limits(self) -> Limits:
        return Limits(self.safe, self.space.property_names)

    def mover(self, face: Face, asked: Asked) -> Mover:
        """The way that is asked for; what it has found out of a face is kept for the next step of a slider."""
        key = (face.layer.__class__, asked.closed, tuple(asked.locked))
        if key not in self._movers:
            self._movers[key] = self._make_mover(face.layer, asked)
        return self._movers[key]

    @cached_property
    def _movers(self) -> dict[Any, Mover]:
        return {}

    def _make_mover(self, layer: Layer, asked: Asked) -> Mover:
        if asked.closed:
            scene = Scene(self.space, self.layer, Region(), None)
            loop = scene.closed_loop(Loop(metric="cloud", bank_dir=self.cache / "banks"), layer)
            return ClosedLoopMover(loop, asked.locked or "none", beyond="allow")
        straight = StraightMover(self.found)
        return HeldMover(straight, self.space, layer, asked.locked) if asked.locked else straight

    # --- What is kept ---

    def save(self, face: Face, asked: Asked) -> tuple[list[Path], str]:
        """Writes the picture, its way there, an animation, the latents, and says the command that makes them again.

        Raises:
            ValueError: where nothing is changed.
        """
        changes = {name: round(value, 2) for name, value in asked.changes.items() if abs(value) >= 0.005}
        changes = {name: value for name, value in changes.items() if name in self.movable(asked.closed)}
        if not changes:
            raise ValueError("nothing is changed: move a slider first")
        folder = self.cache / datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f")
        given: dict[str, Any] = {"output": folder, "mode": "closed-loop" if asked.closed else "joint"}
        if face.photo is not None:
            given["latents"] = save_w(folder / "face.safetensors", GivenW(face.photo.found.w))
        else:
            given["faces"] = (face.number,)
        hold: Any = tuple(asked.locked) or "none"
        how = {"metric": "cloud", "layer": self.layer.name} if asked.closed else {}
        models = Models(self.settings.checkpoint, self.settings.scorer, self.settings.seed, self.device)  # type: ignore[arg-type]
        settings = EditSettings(
            changes=changes,
            models=models,
            loop=Loop(hold=hold, bank_dir=self.cache / "banks", **how),  # type: ignore[arg-type]
            vectors=self.vectors,
            given={"hold", *given, *how},
            **given,
        )
        edit(settings)
        edited = self.edit(face, Asked(changes, asked.locked, asked.closed))
        save_png(folder / "picture.png", edited.image)
        with torch.no_grad():
            w = face.layer.to_w(
                self.space.generator, torch.from_numpy(edited.code[None]).to(self.space.device.torch_device)
            )
        save_w(folder / "edited.safetensors", GivenW(w.cpu().numpy()))
        if face.photo is not None:
            save_png(folder / "pasted.png", face.photo.pasted(edited.image[None])[0])
        return sorted(path for path in folder.iterdir() if path.is_file()), command(settings)


def command(settings: EditSettings) -> str:
    """The words of ``ohlora edit`` that ask for the same."""
    models, hold = settings.models, settings.loop.hold
    words = ["ohlora", "edit", str(settings.vectors)]
    words += ["--checkpoint", str(models.checkpoint), "--scorer", str(models.scorer), "--seed", str(models.seed)]
    for name, value in settings.changes.items():
        words += ["--set", f"{name}={value:+g}"]
    if settings.latents is not None:
        words += ["--latents", str(settings.latents)]
    else:
        words += ["--faces", ",".join(map(str, settings.faces))]
    if settings.mode == "closed-loop":
        words += ["--mode", "closed-loop", "--metric", settings.loop.metric, "--layer", settings.loop.layer]
    held: Sequence[str] = [hold] if isinstance(hold, str) else hold
    for name in held if settings.mode == "closed-loop" or hold != "none" else ():
        words += ["--hold", name]
    return shlex.join([*words, "--bank-dir", str(settings.loop.bank_dir)])


def open_first(
    places: Sequence[Path],
    generator: str | None,
    scorer: str | None,
    cache: Path,
    device: str = "cpu",
    seed: int | None = None,
) -> Engine:
    """The engine to begin with: the newest directions of some folders that fit the generator, else found now.

    Raises:
        ValueError: where a place is missing, or what was asked for cannot be opened.
    """
    if missing := [place for place in places if not place.exists()]:
        raise ValueError(f"{missing[0]} does not exist: give runs of find_vectors.py, or none to find directions now")
    for path in runs_in(places).values():
        recorded = SpaceSettings.of(SHIPPED | settings_of(path)).checkpoint
        if generator in (None, recorded):
            return Engine(recorded, path, scorer=scorer, cache=cache, device=device, seed=seed)
    return Engine(generator or SHIPPED["checkpoint"], scorer=scorer, cache=cache, device=device, seed=seed)


def runs_in(places: Sequence[Path]) -> Mapping[str, Path]:
    """Directions files of folders, by what to call them; the newest first."""
    found: dict[str, Path] = {}
    for place in places:
        files = [place] if place.is_file() else place.rglob("vectors.safetensors")
        for path in sorted(files, key=lambda path: -path.stat().st_mtime):
            held = load_directions(path)
            found[f"{held.method} at {held.layer}: {path.parent.name if path.stem == 'vectors' else path.stem}"] = path
    return found
