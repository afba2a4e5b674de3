"""What an edit leaves behind: strips, grids over two properties, an animation, ``edit.json`` and a table."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ohlora_gan.editing.given import GivenW, save_w
from ohlora_gan.editing.moves import Session, Walk, beyond_samples, jitter
from ohlora_gan.editing.photos import Photos
from ohlora_gan.files import save_png, write_json
from ohlora_gan.latents.space import CHOOSE
from ohlora_gan.options import Drawn, EditSettings, Jitter
from ohlora_gan.reports.pages import labelled_grid, ping_pong, plain, save_animation

ON_ANIMATION, GRID_STEPS, NAMED = 6, 5, 2
NUM_CLOUD = 1000
UNITS = {True: "score sigmas", False: "standard deviations of the codes"}
"""Of strengths, of what is scored or not."""


def write_edit(
    session: Session,
    asked: EditSettings,
    output: Path,
    models: Mapping[str, Any],
    notes: Sequence[str],
    photos: Photos | None = None,
) -> str:
    """Writes everything that the mode asks for into a folder; returns the table for the terminal.

    Args:
        models: what ``edit.json`` says of networks and seed.
        notes: sentences for the user.
        photos: the faces' photographs; None: they have none.
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
    said = table(content["edits"])
    if photos is not None:
        content["photographs"] = photos.figures(session.limits.names)
        written += write_photos(output, photos, walks if asked.photo.paste else [])
        said = [*photos.table(), "", *said]
    written.append(write_json(output / "edit.json", content))
    files = f"{', '.join(path.name for path in written)}: {output}"
    return "\n".join([*said, *notes, files])


def write_photos(output: Path, photos: Photos, pasted: Sequence[Walk]) -> list[Path]:
    """``photographs.png``, what the generator makes of each; ``latents.safetensors``, with which they are edited again
    at once; and of each walk the photographs with its end pasted back."""
    found, side = photos.found, photos.pictures.shape[1]
    off = [
        f"pixels off by {a:.3f}\nscores by {b:.2f} sigmas"
        for a, b in zip(found.residual, photos.scores_off, strict=True)
    ]
    images = np.stack([photos.pictures, found.images], axis=1)
    columns, title = ["cut out", "made again"], f"photographs, and what the generator makes of them at {side} pixels"
    captions = [[photos.cuts[n].how, words] for n, words in enumerate(off)]
    sheet = labelled_grid(images, photos.names, columns, title, captions)
    written = [save_png(output / "photographs.png", sheet), save_w(output / "latents.safetensors", GivenW(found.w))]
    for walk in pasted:
        what = "_".join(walk.changes)
        for name, picture in zip(photos.names, photos.pasted(walk.images[:, walk.end]), strict=True):
            written.append(save_png(output / f"pasted_{name.replace(' ', '_')}_{what}.png", picture))
    return written


def signed(value: float) -> str:
    """``+0.50``, with 0 as it is."""
    return f"{value + 0.0:+.2f}" if abs(value) >= 0.005 else "0"


def described(changes: Mapping[str, float], targets: str = "change") -> str:
    """``eyes +1.00, mouth -0.50``; of scores that faces are taken to, ``eyes to +1.00``."""
    to = "to " if targets == "score" else ""
    return ", ".join(f"{plain(name)} {to}{signed(value)}" for name, value in changes.items())


def unit(session: Session, names: Iterable[str]) -> str:
    """What strengths of some properties are measured in."""
    kinds = {name in session.limits.names for name in names}
    return " and ".join(text for kind, text in UNITS.items() if kind in kinds)


def measured(session: Session, walk: Walk, name: str, before: str = "") -> list[list[str]]:
    """The change of a property's score at each step, ``[N][K]``: ``+0.97``, or ``+0.14 (limit)`` where the target was
    held back; nothing at the unedited face, and of what is not scored."""
    if name not in session.limits.names:
        return [[""] * len(walk.shares)] * len(session.faces.names)
    words = [
        [f"{before}{signed(value)}{' (limit)' * bool(stop)}" for value, stop in zip(*of_face, strict=True)]
        for of_face in zip(walk.measured(session.limits.names.index(name)), walk.held[name], strict=True)
    ]
    for row in words:
        row[walk.middle] = ""
    return words


def write_strip(output: Path, session: Session, walk: Walk) -> Path:
    """``strip_{property}.png``: faces along one property, what was asked for above, what was measured below."""
    ((name, value),) = walk.changes.items()
    if session.limits.targets == "score":
        columns = [f"{share:+.0%}" for share in walk.shares]
        title = f"{plain(name)} to {signed(value)}: share of the way above, change in score sigmas below each face"
    else:
        columns = [signed(value * share) for share in walk.shares]
        title = f"{plain(name)}: change in {unit(session, [name])}, asked for above, measured below each face"
    columns[walk.middle] = "the face"
    picture = labelled_grid(walk.images, session.faces.names, columns, title, measured(session, walk, name))
    return save_png(output / f"strip_{name}.png", picture)


def write_before_after(output: Path, session: Session, walk: Walk) -> Path:
    """``joint.png``: faces on their way to a joint edit, below each what was measured of every property."""
    way = [step for step in np.argsort(walk.shares).tolist() if walk.shares[step] >= 0]  # of a fall, it leads back
    ends = {0.0: "before", 1.0: "after"}
    columns = [ends.get(share, f"{share:.0%}") for share in walk.shares[way].tolist()]
    parts = [measured(session, walk, name, f"{plain(name)} ") for name in walk.changes]
    captions = [["\n".join(row[step] for row in rows).strip() for step in way] for rows in zip(*parts, strict=True)]
    title = f"asked for: {described(walk.changes, session.limits.targets)} ({unit(session, walk.changes)})"
    picture = labelled_grid(walk.images[:, way], session.faces.names, columns, title, captions)
    return save_png(output / "joint.png", picture)


def write_grids(output: Path, session: Session, changes: Mapping[str, float]) -> list[Path]:
    """``grid_{face}.png``, each face over both properties, the first down, the second across."""
    names, shape = list(changes), (GRID_STEPS, GRID_STEPS)
    wanted = [np.linspace(-abs(value), abs(value), GRID_STEPS) for value in changes.values()]
    down, across = (axis.ravel() for axis in np.meshgrid(*wanted, indexing="ij"))
    images, scores = session.look(session.move(dict(zip(names, (down, across), strict=True))))
    if session.limits.targets == "change":
        scores = scores - session.faces.scores[:, None]
    first, second = (plain(name) for name in names)
    rows, columns = ([f"{plain(name)} {signed(v)}" for v in own] for name, own in zip(names, wanted, strict=True))
    reached, paths = scores[..., [session.limits.names.index(name) for name in session.limits.scored(changes)]], []
    for face, own, got in zip(session.faces.names, images, reached, strict=True):
        captions = [[", ".join(map(signed, values)) for values in row] for row in got.reshape(*shape, -1)]
        title = f"{face}: {first} down, {second} across; below: measured"
        picture = labelled_grid(own.reshape(*shape, *own.shape[1:]), rows, columns, title, captions)
        paths.append(save_png(output / f"grid_{face.replace(' ', '_')}.png", picture))
    return paths


def jittered(session: Session, how: Jitter, walk: Walk) -> np.ndarray:
    """Codes ``[N, J, K, D]`` of the jittered versions of each step of a walk."""
    space, layer = session.space, session.layer
    scale = np.zeros(walk.codes.shape[-1])
    scale[layer.free(space.generator)] = how.jitter
    if how.jitter_unit == "cloud":
        scale *= space.codes(layer, *space.latents(CHOOSE, range(NUM_CLOUD))).std(axis=0, dtype=np.float64)
    return jitter(walk.codes, space.seed, session.faces.indices, how.versions, scale)


def write_jitter(output: Path, session: Session, how: Jitter, walk: Walk, versions: np.ndarray) -> Path:
    """``jitter.png``: before, edited, versions."""
    unit = "of each coordinate's standard deviation" if how.jitter_unit == "cloud" else "in every coordinate"
    images, _ = session.look(versions[:, :, walk.end])
    images = np.concatenate([walk.images[:, [walk.middle, walk.end]], images], axis=1)
    columns = ["before", "edited", *(f"version {j + 1}" for j in range(how.versions))]
    title = f"{described(walk.changes)}, jittered by {how.jitter:g} {unit}"
    return save_png(output / "jitter.png", labelled_grid(images, session.faces.names, columns, title))


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
            titles = [f"{share:+.0%} of {described(walk.changes, 'score')}" for share in at]
        else:
            titles = [described({name: value * share for name, value in walk.changes.items()}) for share in at]
        of_versions = (names, [f"version {j + 1}" for j in range(codes.shape[1])])
        rows, columns = ([""], names) if versions is None else of_versions
        sheets = [labelled_grid(images[:, :, f], rows, columns, title) for f, title in enumerate(titles)]
        width = max(sheet.shape[1] for sheet in sheets)
        padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in sheets]
        parts.append(ping_pong(np.stack(padded)))
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
        scored = session.limits.scored(walk.changes)
        entry["wanted"] = {p: round(before[names.index(p)] + held[p][n, 0], 4) for p in scored}
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
            numbers = [edit[when].get(name) for when in ("before", "wanted", "reached")]
            shown = " ".join(f"{'-':>7}" if number is None else f"{number:+7.2f}" for number in numbers)
            lines.append(f"{'' if i else edit['face']:12} {name:16} {shown}  {'' if i else words}".rstrip())
        if "note" in edit:
            lines.append(f"{'':12} {edit['note']}")
    return [*lines, *COLUMNS.splitlines()]
