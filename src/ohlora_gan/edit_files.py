"""What an edit leaves behind: pictures, an animation, figures and a table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ohlora_gan.edit_session import Session, Walk
from ohlora_gan.edit_settings import EditSettings
from ohlora_gan.editing import cloud_spread, jitter
from ohlora_gan.evaluation import edit_pictures
from ohlora_gan.evaluation.animation import ping_pong, save_animation
from ohlora_gan.evaluation.pictures import save_png

ON_ANIMATION, GRID_STEPS, NAMED = 6, 5, 2
CLOUD_STREAM, NUM_CLOUD = "choose", 1000


def write_all(
    session: Session, settings: EditSettings, output: Path, models: Mapping[str, str], notes: Sequence[str]
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
    content: dict[str, Any] = {**models, "layer": session.layer.name, "mode": settings.mode, "notes": list(notes)}
    content["edits"] = figures(session, walks, versions)
    written.append(output / "edit.json")
    written[-1].write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    files = f"{', '.join(path.name for path in written)}: {output}"
    return "\n".join([*table(content["edits"]), *notes, files])


def write_strip(output: Path, session: Session, walk: Walk) -> Path:
    """``strip_{property}.png``."""
    ((name, value),) = walk.changes.items()
    column = session.limits.names.index(name)
    picture = edit_pictures.property_strip(
        name, (value * walk.shares).tolist(), walk.images, walk.measured(column), walk.held[name], session.faces.names
    )
    return save_png(output / f"strip_{name}.png", picture)


def write_before_after(output: Path, session: Session, walk: Walk) -> Path:
    """``joint.png``."""
    half = slice(walk.middle, None)
    measured = [walk.measured(session.limits.names.index(name))[:, half] for name in walk.changes]
    held = [walk.held[name][:, half] for name in walk.changes]
    picture = edit_pictures.before_after(
        walk.changes, walk.shares[half].tolist(), walk.images[:, half], measured, held, session.faces.names
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
    for face, own, got in zip(session.faces.names, images, scores - session.faces.scores[:, None], strict=True):
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
        scale *= cloud_spread(space.codes(layer, *space.latents(CLOUD_STREAM, range(NUM_CLOUD))))
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
    """Every edit of every face: scores before, wanted and reached, and what else moved, by the finding scorer.

    ``image_change`` is the mean absolute change of pixels of 0 to 1, ``distance`` that of the code from the sampled
    cloud, 1 being as far as the outermost samples.
    """
    faces, names, edits = session.faces, session.limits.names, []
    of_versions = None if versions is None else session.look(versions[:, :, walks[0].end])[1]
    for n, face in enumerate(faces.names):
        for walk in walks:
            held = session.limits.clip(faces, {name: np.array([value]) for name, value in walk.changes.items()})
            before, reached = (walk.scores[n, k].astype(float) for k in (walk.middle, walk.end))
            entry: dict[str, Any] = {"face": face, "group": faces.groups[n], "asked": walk.changes}
            entry["before"] = named(names, before)
            entry["wanted"] = {p: round(before[names.index(p)] + held[p][n, 0], 4) for p in walk.changes}
            entry["reached"] = named(names, reached)
            entry["besides"] = {p: v for p, v in named(names, reached - before).items() if p not in walk.changes}
            change = walk.images[n, walk.end].astype(float) - walk.images[n, walk.middle]
            entry["image_change"] = round(float(np.abs(change).mean() / 255), 4)
            entry["distance"] = round(float(walk.distance[n, walk.end]), 4)
            if note := walk.notes[n][walk.end]:
                entry["note"] = note
            elif entry["distance"] > 1:
                entry["note"] = f"{entry['distance']:.2f} times as far out as sampled faces."
            if of_versions is not None:
                entry["versions"] = [named(names, scores.astype(float)) for scores in of_versions[n]]
            edits.append(entry)
    return edits


def named(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(names, values, strict=True)}


def table(edits: Sequence[Mapping[str, Any]]) -> list[str]:
    """The edits in lines: a property each, and of the others the two that moved most."""
    lines = [f"{'face':12} {'property':16} {'before':>7} {'wanted':>7} {'reached':>7}   besides, most"]
    for edit in edits:
        moved = sorted(edit["besides"].items(), key=lambda item: -abs(item[1]))[:NAMED]
        words = ", ".join(f"{name} {value:+.2f}" for name, value in moved)
        for i, name in enumerate(edit["asked"]):
            numbers = (edit["before"][name], edit["wanted"][name], edit["reached"][name])
            shown = " ".join(f"{number:+7.2f}" for number in numbers)
            lines.append(f"{'' if i else edit['face']:12} {name:16} {shown}   {'' if i else words}".rstrip())
        if "note" in edit:
            lines.append(f"{'':12} {edit['note']}")
    return lines
