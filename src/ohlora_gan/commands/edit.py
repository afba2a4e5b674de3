"""``ohlora edit``: changes faces along found directions, or by a closed loop, and shows how it went."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ohlora_gan.commands.edit_settings import HELP, EditSettings, check_properties, parse
from ohlora_gan.devices import keep_freed_memory
from ohlora_gan.directions.base import ALL
from ohlora_gan.directions.files import DirectionSet, load_directions
from ohlora_gan.directions.finders import open_directions
from ohlora_gan.editing.calibration import calibrate
from ohlora_gan.editing.closed_loop import ClosedLoop
from ohlora_gan.editing.moves import cloud_spread, jitter
from ohlora_gan.editing.safe_range import SafeRange, beyond_samples
from ohlora_gan.editing.session import Limits, Mover, OpenLoop, Session, TowardsTargets, Walk, open_faces
from ohlora_gan.errors import answer
from ohlora_gan.files import write_json
from ohlora_gan.images import save_png
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer, layer_named
from ohlora_gan.latents.metric import Region, stored_metric
from ohlora_gan.latents.space import CHOOSE, FaceSpace
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.models.zoo import open_discriminator
from ohlora_gan.pipelines.runs import SpaceSettings, settings_of, vectors_file
from ohlora_gan.reports import pictures as edit_pictures
from ohlora_gan.reports.pictures import ping_pong, save_animation

NUM_CALIBRATION = 64
SHIPPED: dict[str, Any] = {"checkpoint": "v9", "scorer": "property_cnn"}
MEASURED = {"image": {"num_latents": 120, "num_probes": 48}, "cloud": {"num_latents": 60, "num_probes": 24}}
SHRINKAGE = 0.01
OWN = 5.0
"""How metrics are measured, as ``conf/method/closed_loop.yaml`` and ``conf/metric`` say it too."""


def check_directions(settings: EditSettings, found: DirectionSet) -> None:
    """Raises ValueError where there is no direction for what is to be changed, or nothing says for which faces."""
    missing = [name for name in settings.changes if name not in found.properties]
    if missing:
        raise ValueError(
            f"vectors={settings.vectors} has no direction for {', '.join(missing)}, it has "
            f"{', '.join(found.properties)}: find one with find_vectors.py properties=[{','.join(missing)}], or use "
            f"mode=closed_loop"
        )
    if found.group_names != [ALL] and not found.medians:
        raise ValueError(
            f"vectors={settings.vectors} has groups of faces but not the medians that tell them apart: give them to "
            f"import_vectors with --medians"
        )


def strangers(found: DirectionSet, space: FaceSpace) -> list[str]:
    """Which of generator and scorer are others than those that the directions were found with, if that is known."""
    networks = {"generator": space.generator, "scorer": space.scorer}
    return [n for n, net in networks.items() if found.provenance.get(n) not in (None, weights_hash(net))]


def metric_settings(settings: EditSettings) -> dict[str, Any]:
    """What ``metric_store.stored_metric`` needs."""
    how = {"name": settings.metric, **MEASURED.get(settings.metric, {}), "shrinkage": SHRINKAGE}
    image = settings.metric == "image"
    return how | ({"cloud": settings.cloud, "region": settings.region} if image else {"cloud": 0.0, "region": "all"})


def open_closed_loop(
    settings: EditSettings, space: FaceSpace, layer: Layer, region: Region, discriminator: nn.Module | None
) -> ClosedLoop:
    """The closed loop with its metric, which is measured where nobody has done so."""
    bank = ScoreBank(settings.bank_dir, space)
    metric = stored_metric(bank, layer, metric_settings(settings), region)
    own = OWN if settings.metric == "image" else 0.0
    weights = region.weights(settings.region)
    return ClosedLoop(space, layer, metric, own=own, weights=weights, discriminator=discriminator)


def open_session(
    settings: EditSettings,
    space: FaceSpace,
    layer: Layer,
    found: DirectionSet | None,
    region: Region,
    discriminator: nn.Module | None,
) -> Session:
    """Faces, the way they move, and the range they are held in.

    Raises:
        ValueError: where ``beyond=refuse`` and a target lies outside the range.
    """
    closed = settings.mode == "closed_loop"
    medians = {} if found is None or closed else found.medians
    faces = open_faces(space, layer, settings.seeds, settings.latents, medians)
    loop = open_closed_loop(settings, space, layer, region, discriminator) if closed else None
    safe = loop.safe_range if loop else SafeRange.sampled(space, layer, discriminator)
    limits = Limits(safe, space.property_names, settings.targets)
    words = limits.beyond(faces, settings.changes)
    if words and settings.beyond == "refuse":
        raise ValueError(f"{words[0]}: give a smaller strength, or beyond=clip")
    mover: Mover
    if loop:
        mover = TowardsTargets(loop, faces, settings.keep)
    else:
        assert found is not None
        if found.slopes is None or strangers(found, space):
            found = calibrate(space, layer, found, num_latents=NUM_CALIBRATION)
        mover = OpenLoop(found, faces)
    return Session(space, layer, faces, mover, limits, discriminator)


def edit(settings: EditSettings) -> str:
    """Edits faces and writes pictures, an animation and ``edit.json``; says in a table how near the scores came.

    Raises:
        ValueError: for anything in the settings that cannot be used, in one sentence.
    """
    closed, file = settings.mode == "closed_loop", settings.vectors and vectors_file(settings.vectors)
    found, recorded = (load_directions(file), settings_of(file)) if file else (None, {})
    asked = {name: getattr(settings, name) for name in ("checkpoint", "scorer", "seed", "truncation_psi")}
    chosen = SpaceSettings.of(SHIPPED | recorded, **asked)
    space = chosen.open(settings.device)
    check_properties(settings, space.property_names)
    if found is not None and not closed:
        check_directions(settings, found)
    layer = layer_named(settings.layer if found is None else found.layer)
    layer.check(space.generator)
    notes: list[str] = []
    if file and not closed:
        found = open_directions(file, space, layer)
        text = "the vectors were found with another {}: strengths are measured anew"
        notes += [text.format(which) for which in strangers(found, space)]
    discriminator = open_discriminator(chosen.checkpoint)
    if discriminator is not None:
        discriminator = space.device.place(discriminator)
    session = open_session(settings, space, layer, found, face_region(recorded), discriminator)
    notes += [f"{text}: held there" for text in session.limits.beyond(session.faces, settings.changes)]
    output = settings.output or Path("runs/edit") / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return write_all(session, settings, output, asdict(chosen), notes)


def face_region(recorded: Mapping[str, Any]) -> Region:
    """Where the face is in the pictures of a run's generator."""
    where = (recorded.get("test") or {}).get("region")
    return Region(**where) if where else Region()


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in ("-h", "--help"):
        print(HELP)
        return 0
    keep_freed_memory()
    return answer(lambda: edit(parse(given)))


if __name__ == "__main__":
    sys.exit(main())


# --- What an edit leaves behind: pictures, an animation, figures and a table ---


ON_ANIMATION, GRID_STEPS, NAMED = 6, 5, 2
NUM_CLOUD = 1000


def write_all(
    session: Session, settings: EditSettings, output: Path, models: Mapping[str, Any], notes: Sequence[str]
) -> str:
    """Writes everything that the mode asks for; returns the table for the terminal."""
    output.mkdir(parents=True, exist_ok=True)
    single = [{name: value} for name, value in settings.changes.items()]
    alone = settings.mode == "independent" or (settings.mode == "closed_loop" and len(single) == 1)
    walks = [session.walk(changes, settings.steps) for changes in (single if alone else [dict(settings.changes)])]
    written: list[Path] = []
    if settings.mode in ("independent", "closed_loop"):
        strips = walks if alone else [session.walk(changes, settings.steps) for changes in single]
        written += [write_strip(output, session, strip) for strip in strips]
    if not alone:
        written.append(write_before_after(output, session, walks[0]))
        if len(single) == 2:
            written += write_grids(output, session, settings.changes)
    versions = None
    if settings.mode == "jitter":
        versions = jittered(session, settings, walks[0])
        written.append(write_jitter(output, session, settings, walks[0], versions))
    written += write_animation(output, session, settings, walks, versions)
    content: dict[str, Any] = {**models, "layer": session.layer.name, "mode": settings.mode}
    content |= {"targets": settings.targets, "notes": list(notes)}
    content["edits"] = figures(session, walks, versions)
    written.append(write_json(output / "edit.json", content))
    files = f"{', '.join(path.name for path in written)}: {output}"
    return "\n".join([*table(content["edits"]), *notes, files])


def write_strip(output: Path, session: Session, walk: Walk) -> Path:
    """``strip_{property}.png``."""
    ((name, value),) = walk.changes.items()
    column = session.limits.names.index(name)
    to_score = session.limits.targets == "score"
    picture = edit_pictures.property_strip(
        name,
        (walk.shares if to_score else value * walk.shares).tolist(),
        *(walk.images, walk.measured(column), walk.held[name], session.faces.names),
        goal=value if to_score else None,
    )
    return save_png(output / f"strip_{name}.png", picture)


def write_before_after(output: Path, session: Session, walk: Walk) -> Path:
    """``joint.png``."""
    half = slice(walk.middle, None)
    measured = [walk.measured(session.limits.names.index(name))[:, half] for name in walk.changes]
    held = [walk.held[name][:, half] for name in walk.changes]
    asked, shares = edit_pictures.described(walk.changes, session.limits.targets), walk.shares[half].tolist()
    picture = edit_pictures.before_after(
        asked, list(walk.changes), shares, walk.images[:, half], measured, held, session.faces.names
    )
    return save_png(output / "joint.png", picture)


def write_grids(output: Path, session: Session, changes: Mapping[str, float]) -> list[Path]:
    """``grid_{face}.png``, each face over both properties."""
    names = list(changes)
    columns = [session.limits.names.index(name) for name in names]
    wanted = [np.linspace(-abs(value), abs(value), GRID_STEPS) for value in changes.values()]
    down, across = (axis.ravel() for axis in np.meshgrid(*wanted, indexing="ij"))
    images, scores = session.look(session.move(dict(zip(names, (down, across), strict=True))))
    paths = []
    if session.limits.targets == "change":
        scores = scores - session.faces.scores[:, None]
    for face, own, got in zip(session.faces.names, images, scores, strict=True):
        shape = (GRID_STEPS, GRID_STEPS)
        picture = edit_pictures.two_properties(
            names, wanted, own.reshape(*shape, *own.shape[1:]), got[:, columns].reshape(*shape, 2), face
        )
        paths.append(save_png(output / f"grid_{face.replace(' ', '_')}.png", picture))
    return paths


def jittered(session: Session, settings: EditSettings, walk: Walk) -> np.ndarray:
    """Codes ``[N, J, K, D]`` of the jittered versions of each step of a walk."""
    space, layer = session.space, session.layer
    size, free = walk.codes.shape[-1], layer.free(space.generator)
    scale = np.zeros(size)
    scale[free] = settings.jitter
    if settings.jitter_unit == "cloud":
        scale *= cloud_spread(space.codes(layer, *space.latents(CHOOSE, range(NUM_CLOUD))))
    return jitter(walk.codes, space.seed, session.faces.indices, settings.versions, scale)


def write_jitter(output: Path, session: Session, settings: EditSettings, walk: Walk, versions: np.ndarray) -> Path:
    """``jitter.png``: before, edited, versions."""
    unit = "of each coordinate's standard deviation" if settings.jitter_unit == "cloud" else "in every coordinate"
    images, _ = session.look(versions[:, :, walk.end])
    before, edited = walk.images[:, walk.middle], walk.images[:, walk.end]
    picture = edit_pictures.jittered_versions(
        walk.changes, before, edited, images, session.faces.names, f"{settings.jitter:g} {unit}"
    )
    return save_png(output / "jitter.png", picture)


def write_animation(
    output: Path, session: Session, settings: EditSettings, walks: Sequence[Walk], versions: np.ndarray | None
) -> list[Path]:
    """``animation.gif`` and ``.webp``: there and back along each walk; the first few faces, or jittered versions."""
    names, parts = session.faces.names[:ON_ANIMATION], []
    for walk in walks:
        codes = walk.codes[None, :ON_ANIMATION] if versions is None else versions[:ON_ANIMATION]  # [R, C, K, D]
        images, _ = session.look(between(codes, settings.frames))
        at = np.linspace(walk.shares[0], walk.shares[-1], settings.frames)
        if session.limits.targets == "score":
            titles = [f"{share:+.0%} of {edit_pictures.described(walk.changes, 'score')}" for share in at]
        else:
            titles = [edit_pictures.described({name: value * s for name, value in walk.changes.items()}) for s in at]
        of_versions = (names, [f"version {j + 1}" for j in range(codes.shape[1])])
        rows, columns = ([""], names) if versions is None else of_versions
        parts.append(ping_pong(edit_pictures.frames(images, titles, rows, columns)))
    return [
        save_animation(output / f"animation.{kind}", np.concatenate(parts), settings.fps) for kind in ("gif", "webp")
    ]


def between(codes: np.ndarray, num: int) -> np.ndarray:
    """Codes ``[..., K, D]`` at ``num`` even places along the straight lines between them: ``[..., num, D]``."""
    at = np.linspace(0, codes.shape[-2] - 1, num)
    low = np.minimum(at.astype(int), codes.shape[-2] - 2)
    share = (at - low)[:, None].astype(np.float32)
    return codes[..., low, :] * (1 - share) + codes[..., low + 1, :] * share


def figures(session: Session, walks: Sequence[Walk], versions: np.ndarray | None) -> list[dict[str, Any]]:
    """Every edit of every face: scores before, wanted and reached, what else moved, by the finding scorer, and at what
    price; see ``COLUMNS``."""
    names, edits = session.limits.names, [figures_of(session, walk) for walk in walks]
    if versions is not None:
        scores = session.look(versions[:, :, walks[0].end])[1].astype(float)
        for entry, own in zip(edits[0], scores, strict=True):
            entry["versions"] = [named(names, version) for version in own]
    return [entry for of_face in zip(*edits, strict=True) for entry in of_face]


def figures_of(session: Session, walk: Walk) -> list[dict[str, Any]]:
    """The figures of a walk's whole edit, a face each."""
    faces, names = session.faces, session.limits.names
    asked = {name: session.limits.asked(faces, name, [value]) for name, value in walk.changes.items()}
    held, real = session.limits.clip(faces, asked), session.realism(walk.codes[:, walk.end])
    edits = []
    for n, face in enumerate(faces.names):
        before, reached = (walk.scores[n, k].astype(float) for k in (walk.middle, walk.end))
        change = walk.images[n, walk.end].astype(float) - walk.images[n, walk.middle]
        distance = float(walk.distance[n, walk.end])
        entry: dict[str, Any] = {"face": face, "group": faces.groups[n], "asked": walk.changes}
        entry["before"] = named(names, before)
        entry["wanted"] = {p: round(before[names.index(p)] + held[p][n, 0], 4) for p in walk.changes}
        entry["reached"] = named(names, reached)
        entry["besides"] = {p: v for p, v in named(names, reached - before).items() if p not in walk.changes}
        entry["image_change"] = round(float(np.abs(change).mean() / 255), 4)
        entry["distance"] = round(distance, 4)
        entry["realism"] = round(float(real[n]), 4) if np.isfinite(real[n]) else None
        if note := walk.notes[n][walk.end] or beyond_samples(distance, real[n]).strip():
            entry["note"] = note
        edits.append(entry)
    return edits


def named(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(names, values, strict=True)}


COLUMNS = """picture: mean change of a pixel, black to white being 1
distance: how far out the face is, the outermost sampled ones being 1
realism: below 0 the discriminator takes the face for less real than sampled ones"""


def table(edits: Sequence[Mapping[str, Any]]) -> list[str]:
    """The edits in lines: a property each, and of the others the two that moved most."""
    heads = f"{'before':>7} {'wanted':>7} {'reached':>7}  {'picture':>7} {'distance':>8} {'realism':>7}"
    lines = [f"{'face':12} {'property':16} {heads}   besides, most"]
    for edit in edits:
        moved = sorted(edit["besides"].items(), key=lambda item: -abs(item[1]))[:NAMED]
        real = "-" if edit["realism"] is None else f"{edit['realism']:+.2f}"
        words = f"{edit['image_change']:7.3f} {edit['distance']:8.2f} {real:>7}   "
        words += ", ".join(f"{name} {value:+.2f}" for name, value in moved)
        for i, name in enumerate(edit["asked"]):
            numbers = (edit["before"][name], edit["wanted"][name], edit["reached"][name])
            shown = " ".join(f"{number:+7.2f}" for number in numbers)
            lines.append(f"{'' if i else edit['face']:12} {name:16} {shown}  {'' if i else words}".rstrip())
        if "note" in edit:
            lines.append(f"{'':12} {edit['note']}")
    return [*lines, *COLUMNS.splitlines()]
