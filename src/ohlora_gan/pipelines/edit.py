"""Faces edited along found directions, or by a closed loop: what ``ohlora edit`` does.

Directions, networks and seed are those of a run of find_vectors.py unless others are asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from ohlora_gan.directions.base import ALL
from ohlora_gan.directions.files import DirectionSet, load_directions, open_directions
from ohlora_gan.editing.closed_loop import METRIC, ClosedLoop, ClosedLoopMover, HeldMover
from ohlora_gan.editing.given import Given, GivenW, codes_of, read_given
from ohlora_gan.editing.invert import Inverter, Learning
from ohlora_gan.editing.moves import Faces, Limits, Mover, SafeRange, Session, StraightMover, look_at, sampled_faces
from ohlora_gan.editing.photos import Photos, take_photos
from ohlora_gan.editing.search import made_ready, unscored
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer, layer_named
from ohlora_gan.latents.metric import SETTINGS, Region, stored_metric
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.models.zoo import open_discriminator
from ohlora_gan.options import EditSettings, Loop
from ohlora_gan.pipelines.runs import SpaceSettings, settings_of, vectors_file
from ohlora_gan.reports.edits import write_edit

NUM_CALIBRATION = 64
SHIPPED: dict[str, Any] = {"checkpoint": "v9", "scorer": "property_cnn"}
ONLY_CLOSED_LOOP = ("metric", "region", "cloud", "targets", "layer")
ONLY_JITTER = ("versions", "jitter", "jitter_unit")
ONLY_IMAGE = ("crop", "paste", "learn")


def metric_settings(loop: Loop) -> dict[str, Any]:
    """What ``latents.metric.stored_metric`` needs."""
    how = {"name": loop.metric, **SETTINGS[loop.metric], "shrinkage": METRIC["shrinkage"]}
    return how | ({"cloud": loop.cloud, "region": loop.region} if loop.metric == "image" else {"region": "all"})


def check(settings: EditSettings) -> None:
    """Raises ValueError where settings do not go together."""
    if not settings.changes:
        raise ValueError("nothing to change: give a property and a strength in score sigmas, such as --set eyes=+1")
    if settings.vectors is None and settings.mode != "closed-loop":
        raise ValueError(
            "RUN is missing: give a run folder of find_vectors.py or a vectors.safetensors, or --mode "
            "closed-loop, which needs none"
        )
    for options, mode in ((ONLY_CLOSED_LOOP, "closed-loop"), (ONLY_JITTER, "jitter")):
        refuse(settings, options if settings.mode != mode else (), f"--mode {mode}")
    refuse(settings, ("region", "cloud") if settings.loop.metric != "image" else (), "--metric image")
    given = [name for name in ("faces", "latents", "image") if name in settings.given]
    if len(given) > 1:
        raise ValueError(f"--{given[0]} and --{given[1]} both say which faces to edit: give one of them")
    refuse(settings, ONLY_IMAGE if not settings.photo.image else (), "--image")
    refuse(settings, ("latents_layer",) if settings.latents is None else (), "--latents")
    if len(set(settings.faces)) < len(settings.faces):
        raise ValueError(f"--faces {','.join(map(str, settings.faces))} names a face twice: give each number once")
    if settings.drawn.steps % 2 == 0:
        raise ValueError(
            f"--steps is {settings.drawn.steps}, expected an odd number, so that the unedited face is in the middle"
        )


def refuse(settings: EditSettings, options: Sequence[str], where: str) -> None:
    """Raises ValueError where one of the options is given, which mean something elsewhere alone."""
    if wrong := [f"--{name.replace('_', '-')}" for name in options if name in settings.given]:
        raise ValueError(f"{wrong[0]} is a setting of {where}: leave it out, or give {where}")


def check_properties(settings: EditSettings, names: Sequence[str], found: DirectionSet | None) -> None:
    """Raises ValueError where something is to be changed or held that the scorer does not measure, unless there is a
    direction ``found`` for it."""
    held = () if isinstance(settings.loop.hold, str) else settings.loop.hold
    for name in (*settings.changes, *held):
        if name not in names and (found is None or name not in found.properties):
            close = get_close_matches(name, names, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise ValueError(
                f"{name!r} is no property that the scorer measures{hint}: expected one of {', '.join(names)}"
            )


def check_directions(settings: EditSettings, found: DirectionSet) -> None:
    """Raises ValueError where there is no direction for what is to change, or nothing says for which faces."""
    missing = [name for name in settings.changes if name not in found.properties]
    if missing:
        raise ValueError(
            f"{settings.vectors} has no direction for {', '.join(missing)}, it has {', '.join(found.properties)}: find "
            f"one with find_vectors.py properties=[{','.join(missing)}], or use --mode closed-loop"
        )
    if found.group_names != [ALL] and not found.medians:
        raise ValueError(
            f"{settings.vectors} has groups of faces but not the medians that tell them apart: give them to "
            f"ohlora import-vectors with --medians"
        )


def edit(settings: EditSettings) -> str:
    """Edits faces and writes pictures, an animation and ``edit.json``; says in a table how near the scores came.

    Raises:
        ValueError: for anything in the settings that cannot be used, in one sentence.
    """
    check(settings)
    closed, file = settings.mode == "closed-loop", settings.vectors and vectors_file(settings.vectors)
    found, recorded = (load_directions(file), settings_of(file)) if file else (None, {})
    asked = asdict(settings.models) | {"truncation_psi": settings.truncation_psi}
    chosen = SpaceSettings.of(SHIPPED | recorded, **asked)
    space = chosen.open(settings.models.device)
    check_properties(settings, space.property_names, None if closed else found)
    if found is not None and not closed:
        check_directions(settings, found)
    layer = layer_named(settings.loop.layer if closed or found is None else found.layer)
    layer.check(space.generator)
    notes: list[str] = []
    if file and not closed:
        found = open_directions(file, space, layer)
    discriminator = open_discriminator(chosen.checkpoint)
    if discriminator is not None:
        discriminator = space.device.place(discriminator)
    where = (recorded.get("test") or {}).get("region") or {}
    scene = Scene(space, layer, Region(**where), discriminator)
    photos = scene.photos(settings) if settings.photo.image else None
    session, said = scene.session(settings, found, photos)
    notes += [*(photos.notes if photos else []), *said]
    notes += [f"{text}: held there" for text in session.limits.beyond(session.faces, settings.changes)]
    output = settings.output or Path("runs/edit") / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return write_edit(session, settings, output, asdict(chosen), notes, photos)


@dataclass(frozen=True)
class Scene:
    """Where faces are edited: networks, the vectors that move, the face's place in the pictures, and the
    generator's own discriminator, where there is one."""

    space: FaceSpace
    layer: Layer
    region: Region
    discriminator: nn.Module | None

    def photos(self, settings: EditSettings) -> Photos:
        """The photographs' faces, see `take_photos`."""
        learning = Learning(settings.photo.learn) if settings.photo.learn else None
        inverter = Inverter(self.space, settings.loop.bank_dir, learning=learning)
        return take_photos(inverter, settings.photo.image, settings.photo.crop)

    def faces(self, settings: EditSettings, medians: Mapping[str, float], photos: Photos | None) -> tuple[Layer, Faces]:
        """The faces that are asked for, and the layer at which they are edited."""
        if photos is None and settings.latents is None:
            return self.layer, sampled_faces(self.space, self.layer, settings.faces, medians)
        given: Given
        if photos is not None:
            given, names = GivenW(photos.found.w), photos.names
        else:
            assert settings.latents is not None
            given = read_given(settings.latents, self.space.generator, settings.latents_layer)
            names = [f"latent {i}" for i in range(len(given))]
        where, codes = codes_of(given, self.space, self.layer)
        return where, look_at(self.space, where, codes, medians, names)

    def session(
        self, settings: EditSettings, found: DirectionSet | None, photos: Photos | None
    ) -> tuple[Session, list[str]]:
        """Faces, the way they move, and the range they are held in; and what there is to say of the directions.

        Raises:
            ValueError: where ``beyond=refuse`` and a target lies outside the range.
        """
        closed = settings.mode == "closed-loop"
        medians = {} if found is None or closed else found.medians
        where, faces = self.faces(settings, medians, photos)
        loop = self.closed_loop(settings.loop, where) if closed else None
        safe = loop.safe_range if loop else SafeRange.sampled(self.space, self.layer, self.discriminator)
        limits = Limits(safe, self.space.property_names, settings.loop.targets)
        words = limits.beyond(faces, settings.changes)
        if words and settings.beyond == "refuse":
            raise ValueError(f"{words[0]}: give a smaller strength, or --beyond clip")
        mover: Mover
        notes: list[str] = []
        if loop:
            # held in the range already
            mover = ClosedLoopMover(loop, settings.loop.hold, beyond="allow", bar="editing")
        else:
            assert found is not None
            found, notes = usable(found, self.space, self.layer)
            mover = StraightMover(found)
            if "hold" in settings.given and settings.loop.hold != "none":
                mover = HeldMover(mover, self.space, where, settings.loop.hold)
        return Session(self.space, where, faces, mover, limits, self.discriminator), notes

    def closed_loop(self, how: Loop, where: Layer) -> ClosedLoop:
        """The closed loop at a layer with its metric, which is measured where nobody has done so."""
        bank = ScoreBank(how.bank_dir, self.space)
        metric = stored_metric(bank, self.layer, metric_settings(how), self.region)
        return ClosedLoop(self.space, where, metric, discriminator=self.discriminator)


def usable(found: DirectionSet, space: FaceSpace, layer: Layer) -> tuple[DirectionSet, list[str]]:
    """Directions with strengths that are those of a space, measured where they are not, and what there is to say."""
    text = "the vectors were found with another {}: strengths are measured anew"
    notes = [text.format(which) for which in strangers(found, space)]
    if found.slopes is not None and not notes:
        return found, unscored(space, found)
    found, turned = made_ready(space, layer, found, NUM_CALIBRATION)
    return found, notes + turned


def strangers(found: DirectionSet, space: FaceSpace) -> list[str]:
    """Which of generator and scorer are others than those that the directions were found with, if that is known."""
    networks = {"generator": space.generator, "scorer": space.scorer}
    return [n for n, net in networks.items() if found.provenance.get(n) not in (None, weights_hash(net))]
