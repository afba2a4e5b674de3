"""What an edit leaves behind: strips, grids over two properties, an animation, ``edit.json`` and a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ohlora_gan.editing.moves import beyond_samples, jitter
from ohlora_gan.editing.session import Session, Walk
from ohlora_gan.files import write_json
from ohlora_gan.images import save_png
from ohlora_gan.latents.space import CHOOSE
from ohlora_gan.options import Drawn, EditSettings, Jitter
from ohlora_gan.reports import pictures
from ohlora_gan.reports.pictures import ping_pong, save_animation

ON_ANIMATION, GRID_STEPS, NAMED = 6, 5, 2
NUM_CLOUD = 1000


def write_edit(
    session: Session, asked: EditSettings, output: Path, models: Mapping[str, Any], notes: Sequence[str]
) -> str:
    """Writes everything that the mode asks for; returns the table for the terminal.

    Args:
        session: faces and how they move.
        asked: what is edited and drawn.
        output: gets pictures, an animation and ``edit.json``.
        models: what ``edit.json`` says of networks and seed.
        notes: sentences for the user.
    """
    output.mkdir(parents=True, exist_ok=True)
    single = [{name: value} for name, value in asked.changes.items()]
    alone = asked.mode == "independent" or (asked.mode == "closed-loop" and len(single) == 1)
    walks = [session.walk(changes, asked.drawn.steps) for changes in (single if alone else [dict(asked.changes)])]
    written: list[Path] = []
    if asked.mode in ("independent", "closed-loop"):
        strips = walks if alone else [session.walk(changes, asked.drawn.steps) for changes in single]
        written += [write_strip(output, session, strip) for strip in strips]
    if not alone:
        written.append(write_before_after(output, session, walks[0]))
        if len(single) == 2:
            written += write_grids(output, session, asked.changes)
    versions = None
    if asked.mode == "jitter":
        versions = jittered(session, asked.jitter, walks[0])
        written.append(write_jitter(output, session, asked.jitter, walks[0], versions))
    written += write_animation(output, session, asked.drawn, walks, versions)
    content: dict[str, Any] = {**models, "layer": session.layer.name, "mode": asked.mode.replace("-", "_")}
    content |= {"targets": session.limits.targets, "notes": list(notes)}
    content["edits"] = figures(session, walks, versions)
    written.append(write_json(output / "edit.json", content))
    files = f"{', '.join(path.name for path in written)}: {output}"
    return "\n".join([*table(content["edits"]), *notes, files])


def write_strip(output: Path, session: Session, walk: Walk) -> Path:
    """``strip_{property}.png``."""
    ((name, value),) = walk.changes.items()
    column = session.limits.names.index(name)
    to_score = session.limits.targets == "score"
    picture = pictures.property_strip(
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
    asked, shares = pictures.described(walk.changes, session.limits.targets), walk.shares[half].tolist()
    picture = pictures.before_after(
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
        picture = pictures.two_properties(
            names, wanted, own.reshape(*shape, *own.shape[1:]), got[:, columns].reshape(*shape, 2), face
        )
        paths.append(save_png(output / f"grid_{face.replace(' ', '_')}.png", picture))
    return paths


def jittered(session: Session, how: Jitter, walk: Walk) -> np.ndarray:
    """Codes ``[N, J, K, D]`` of the jittered versions of each step of a walk."""
    space, layer = session.space, session.layer
    size, free = walk.codes.shape[-1], layer.free(space.generator)
    scale = np.zeros(size)
    scale[free] = how.jitter
    if how.jitter_unit == "cloud":
        scale *= space.codes(layer, *space.latents(CHOOSE, range(NUM_CLOUD))).std(axis=0, dtype=np.float64)
    return jitter(walk.codes, space.seed, session.faces.indices, how.versions, scale)


def write_jitter(output: Path, session: Session, how: Jitter, walk: Walk, versions: np.ndarray) -> Path:
    """``jitter.png``: before, edited, versions."""
    unit = "of each coordinate's standard deviation" if how.jitter_unit == "cloud" else "in every coordinate"
    images, _ = session.look(versions[:, :, walk.end])
    before, edited = walk.images[:, walk.middle], walk.images[:, walk.end]
    picture = pictures.jittered_versions(
        walk.changes, before, edited, images, session.faces.names, f"{how.jitter:g} {unit}"
    )
    return save_png(output / "jitter.png", picture)


def write_animation(
    output: Path, session: Session, drawn: Drawn, walks: Sequence[Walk], versions: np.ndarray | None
) -> list[Path]:
    """``animation.gif`` and ``.webp``: there and back along each walk; the first few faces, or jittered versions."""
    names, parts = session.faces.names[:ON_ANIMATION], []
    for walk in walks:
        codes = walk.codes[None, :ON_ANIMATION] if versions is None else versions[:ON_ANIMATION]  # [R, C, K, D]
        images, _ = session.look(between(codes, drawn.frames))
        at = np.linspace(walk.shares[0], walk.shares[-1], drawn.frames)
        if session.limits.targets == "score":
            titles = [f"{share:+.0%} of {pictures.described(walk.changes, 'score')}" for share in at]
        else:
            titles = [pictures.described({name: value * s for name, value in walk.changes.items()}) for s in at]
        of_versions = (names, [f"version {j + 1}" for j in range(codes.shape[1])])
        rows, columns = ([""], names) if versions is None else of_versions
        parts.append(ping_pong(pictures.frames(images, titles, rows, columns)))
    return [save_animation(output / f"animation.{kind}", np.concatenate(parts), drawn.fps) for kind in ("gif", "webp")]


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
