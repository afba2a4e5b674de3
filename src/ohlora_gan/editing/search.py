"""A search for directions from beginning to end: samples, groups, fit, slopes, correction by the measured response.

Slopes say how much a unit of length along a direction brings, so that strengths can be given in standard deviations of
a score. They are measured on the second set of latents, the stream "choose": directions are found on the first and
judged on the third.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ohlora_gan.directions.base import DirectionFinder, Geometry, group_names, held_names, medians
from ohlora_gan.directions.files import DirectionSet, recipe_of
from ohlora_gan.editing.moves import StraightMover, groups_of
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import CHOOSE, FaceSpace, free_jacobian
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.names import EDITED_PROPERTIES
from ohlora_gan.progress import Bar

log = logging.getLogger(__name__)

MIN_SEEN = 10  # samples that the scorer can say something of


@dataclass(frozen=True)
class Wanted:
    """What is sought."""

    properties: Sequence[str] = EDITED_PROPERTIES  # the outputs of the scorer that directions change
    n: int = 4000  # samples that directions are found with
    group_by: Sequence[str] = ()  # outputs at whose medians faces are divided into groups; empty: one group
    medians: Mapping[str, float] | None = None  # by name; None takes those of the samples
    metric: np.ndarray | None = None  # what steps cost, [D, D] of the free values, see latents.metric; None: lengths
    correct: bool = False  # mix directions so that by their measured response each changes its own score alone
    strengths: Mapping[str, Sequence[float]] = field(default_factory=dict)  # at which that is measured; see correct
    num_calibration: int = 100  # latents on which slopes are measured, at least 2
    method: str = "svm"  # what the method is called
    bar: type[Bar] = Bar  # of progress


class Found(NamedTuple):
    """What a search found: directions with their slopes, the seconds that sampling, finding and calibrating took, and
    how many of the samples the bank held already."""

    directions: DirectionSet
    seconds: dict[str, float]
    num_reused: int


def find_directions(bank: ScoreBank, layer: Layer, finder: DirectionFinder, wanted: Wanted) -> Found:
    """Fits a finder on the bank's samples, and measures what its directions bring.

    Raises:
        ValueError: for settings that cannot be used together; see the finder, ``calibrate`` and ``correct``.
    """
    space, names, edited = bank.space, bank.space.property_names, tuple(wanted.properties)
    layer.check(space.generator)
    started = time.monotonic()
    num_reused = min(bank.num_stored(), wanted.n)
    log.info("bank %s holds %d of the %d samples", bank.folder, num_reused, wanted.n)
    with wanted.bar(desc="sampling", total=wanted.n) as bar:
        scores = bank.scores(wanted.n, bar)
    seen = ~np.isnan(scores).any(axis=1)
    if not seen.all():
        log.info("%d of %d samples are left out: the scorer has nothing to say of them", (~seen).sum(), wanted.n)
        check_seen(seen)
    scores = scores[seen]
    sampled = time.monotonic()
    cuts = {}
    if wanted.group_by:
        given = wanted.medians or medians(scores, names, wanted.group_by)
        cuts = {name: given[name] for name in wanted.group_by}
    sought = (*edited, *held(finder, edited, names)) if wanted.correct else edited
    with wanted.bar(desc="finding", total=0) as bar:
        finder.fit(
            bank.codes(layer, wanted.n)[seen][:, layer.free(space.generator)],
            *(scores, group_names(scores, cuts, names) if cuts else None, bar),
            names=names,
            edited=sought,
            geometry=Geometry(partial(cached_jacobian, bank, layer), wanted.metric),
        )
    if finder.pointwise:  # what is asked for from now on are the faces of tests: nothing for the bank to keep
        fitted = finder.directions_, finder.group_names_, names, sought, finder.state_
        finder.restore(*fitted, free_jacobian(space, layer))
    found, found_at = padded_set(bank, layer, finder, wanted, cuts, sought), time.monotonic()
    with wanted.bar(desc="calibrating", total=len(sought)) as bar:
        found = calibrate(space, layer, found, wanted.num_calibration, bar)
    if wanted.correct:
        with wanted.bar(desc="correcting", total=len(sought)) as bar:
            found = correct(space, layer, found, edited, wanted.strengths, wanted.num_calibration, bar)
    calibrating = time.monotonic() - found_at
    seconds = {"sampling": sampled - started, "finding": found_at - sampled, "calibrating": calibrating}
    return Found(found, seconds, num_reused)


def check_seen(seen: np.ndarray, least: int = MIN_SEEN) -> None:
    """Raises ValueError where the scorer has something to say of too few faces, bool ``[N]``, to find or measure by."""
    if seen.sum() < least:
        raise ValueError(
            f"the scorer can say something of {seen.sum()} of {len(seen)} faces, expected at least {least}: lower "
            f"truncation_psi, or give another scorer"
        )


def held(finder: DirectionFinder, edited: Sequence[str], names: Sequence[str]) -> list[str]:
    """The scores that are to stay besides the edited ones: those that the finder holds, or all."""
    chosen = getattr(finder, "decorrelate", "all")
    chosen = chosen if isinstance(chosen, str) else list(chosen)
    return [name for name in held_names("all" if chosen == "none" else chosen, names) if name not in edited]


def cached_jacobian(bank: ScoreBank, layer: Layer, codes: np.ndarray) -> np.ndarray:
    """The scores' derivatives at samples; what another search has taken is read from the bank."""
    take = partial(free_jacobian(bank.space, layer), codes)
    return bank.cached("jacobian", layer, np.ascontiguousarray(codes).tobytes(), take)


def padded_set(
    bank: ScoreBank,
    layer: Layer,
    finder: DirectionFinder,
    wanted: Wanted,
    cuts: Mapping[str, float],
    properties: Sequence[str],
) -> DirectionSet:
    """What a fitted finder found, as vectors of the whole layer."""
    space = bank.space
    free, size = layer.free(space.generator), layer.size(space.generator)
    directions = np.zeros((*finder.directions_.shape[:2], size), dtype=np.float32)
    directions[..., free] = finder.directions_
    provenance = {
        "n": wanted.n,
        "seed": space.seed,
        "generator": weights_hash(space.generator),
        "scorer": weights_hash(space.scorer),
        "metrics": finder.metrics_,
        "finder": recipe_of(finder),
    }
    return DirectionSet(
        *(directions, finder.group_names_, layer.name, wanted.method),
        dict(cuts) if len(finder.group_names_) > 1 else {},
        provenance,
        tuple(properties),
        names=space.property_names,
        finder=finder if finder.pointwise else None,
        recipe=recipe_of(finder) if finder.pointwise else {},
        state=finder.state_,
        free=(free.start, free.stop) if free.stop - free.start < size else None,
    )


# --- What directions bring, measured ---


REACH = np.array([-1.0, -0.5, 0.5, 1.0])
"""Where a response is measured, in sigmas of its score."""
FIRST_LOOK = 0.1
"""How far the first look goes, as a share of the cloud's radius (the codes' mean distance from their mean)."""
LONGEST = 2.0
"""A sigma is never further away than so many radii: what hardly moves its score is not followed out of the world."""
CLEAR = 2.0
"""A response is clear of chance from so many standard errors on."""
OWN_GROUP = 10  # latents of a group that make its slope its own; with fewer it has that of all


def calibrate(
    space: FaceSpace,
    layer: Layer,
    found: DirectionSet,
    num_latents: int = 100,
    progress: tqdm | None = None,
    turn: bool = False,
) -> DirectionSet:
    """The same directions with their slopes and the slopes' spread.

    A latent's slope is the straight line through its scores at four places, a half and a whole sigma to either side,
    which a first look finds. Slopes are means over latents: of a group where it has ``OWN_GROUP`` of them, else of all.

    What the scorer does not measure has no sigma. The unit of its strength is the standard deviation of the codes along
    the direction, as InterFaceGAN (Shen et al. 2020) goes by distance from a boundary; its slope is 1 in this unit.

    Args:
        space: generator and the scorer whose sigmas are meant.
        found: directions, for which ``direction(x, group)`` works.
        num_latents: at least 2.
        progress: told of each property.
        turn: turn directions round along which their score clearly falls: for those that were found elsewhere, and
            do not depend on the face.
    """
    if num_latents < 2:
        raise ValueError(f"slopes need at least 2 latents, got {num_latents}")
    codes, groups = choose_faces(space, layer, found, num_latents)
    directions = np.stack([found.direction(x, group) for x, group in zip(codes, groups, strict=True)])
    radius = max(float(np.linalg.norm(codes - codes.mean(axis=0), axis=1).mean()), float(np.finfo(np.float32).tiny))
    floor = 1 / (LONGEST * radius)
    slopes, spreads, signs = (np.ones(found.directions.shape[:2]) for _ in range(3))
    for i, name in enumerate(found.properties):
        if progress is not None:
            progress.update()
        if name not in space.property_names:
            deviations = (codes @ found.directions[i].T).std(axis=0)
            slopes[i], spreads[i] = 1 / np.maximum(deviations, 1e-6 * radius), 0.0
            continue
        column = space.property_names.index(name)
        first = slopes_along(space, layer, codes, directions[:, i], FIRST_LOOK * radius)[:, column]
        check_seen(~np.isnan(first), 2)
        steepness = float(np.nanmean(first))
        length = 1 / max(abs(steepness) if turn else steepness, floor)
        own = slopes_along(space, layer, codes, directions[:, i], length)[:, column]
        seen = ~np.isnan(own)
        check_seen(seen, 2)
        own, group_of = own[seen], groups[seen]
        for j, group in enumerate(found.group_names):
            of_group = own[group_of == group] if np.count_nonzero(group_of == group) >= OWN_GROUP else own
            if turn and of_group.mean() < -CLEAR * of_group.std() / np.sqrt(len(of_group)):
                signs[i, j] = -1.0
            slopes[i, j], spreads[i, j] = max(signs[i, j] * float(of_group.mean()), floor), of_group.std()
    turned = found.directions * signs[..., None] if (signs < 0).any() else found.directions
    return replace(found, directions=turned, slopes=slopes, spreads=spreads)


def made_ready(
    space: FaceSpace, layer: Layer, found: DirectionSet, num_latents: int = 100, progress: tqdm | None = None
) -> tuple[DirectionSet, list[str]]:
    """Directions that were found elsewhere, calibrated for a space, and sentences about those that were turned or are
    not scored."""
    ready = calibrate(space, layer, found, num_latents, progress, turn=found.finder is None)
    ready.provenance = {**found.provenance, "generator": weights_hash(space.generator)}
    if space.property_names:
        ready.provenance["scorer"] = weights_hash(space.scorer)
    turned = (ready.directions != found.directions).any(axis=2).sum(axis=1)
    num = len(found.group_names)
    notes = [
        f"{name} goes the other way here{f' for {n} of {num} groups' if num > 1 else ''}: turned round"
        for name, n in zip(found.properties, turned, strict=True)
        if n
    ]
    return ready, notes + unscored(space, found)


def unscored(space: FaceSpace, found: DirectionSet) -> list[str]:
    """A sentence about the properties that a scorer does not measure, if any, see ``calibrate``."""
    names = [name for name in found.properties if name not in space.property_names]
    said = f"{', '.join(names)}: not scored, strengths are standard deviations of the codes"
    return [said] if names else []


def recalibrated(
    space: FaceSpace, layer: Layer, found: DirectionSet, samples: int = 200, jacobians: int = 0
) -> tuple[DirectionSet, list[str]]:
    """Directions of another checkpoint, see ``made_ready``, which takes so many latents: ``samples``, or ``jacobians``,
    at which directions that do not depend on the face are ``decorrelated``, too."""
    if jacobians and found.finder is None:
        found = decorrelated(space, layer, found, jacobians)
    with Bar(desc="calibrating", total=len(found.properties)) as bar:
        return made_ready(space, layer, found, jacobians or samples, bar)


def decorrelated(space: FaceSpace, layer: Layer, found: DirectionSet, num_jacobians: int) -> DirectionSet:
    """The nearest directions along which, by the mean derivative of so many latents, no other score changes.

    Directions of what the scorer does not measure stay as they are. ValueError where a direction changes nothing else.
    """
    codes = space.codes(layer, *space.latents(CHOOSE, range(num_jacobians)))
    jacobian = free_jacobian(space, layer)(codes[:, layer.free(space.generator)]).mean(axis=0, dtype=np.float64)
    directions = found.directions.astype(np.float64)
    for name, rows in zip(found.properties, directions[..., layer.free(space.generator)], strict=True):
        if name in space.property_names:
            others = np.delete(jacobian, space.property_names.index(name), axis=0)
            rows -= (others.T @ np.linalg.lstsq(others.T, rows.T, rcond=None)[0]).T
    norms = np.linalg.norm(directions, axis=2, keepdims=True)
    if not (norms > 1e-6).all():
        raise ValueError("a direction changes nothing but other scores than its own: recalibrate by samples")
    return replace(found, directions=directions / norms)


def slopes_along(
    space: FaceSpace, layer: Layer, codes: np.ndarray, directions: np.ndarray, length: float
) -> np.ndarray:
    """Slopes [N, P] of straight lines through scores at ``REACH`` lengths from codes [N, D] along directions [N, D]."""
    moved = (codes[:, None] + (REACH * length)[:, None] * directions[:, None]).astype(np.float32)
    return lines(REACH * length, scores_of(space, layer, moved))


def lines(places: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Slopes [N, P] of straight lines through scores [N, S, P] at places [S]: least squares over the pictures that have
    scores, NaN where fewer than two have."""
    seen = ~np.isnan(scores).any(axis=2)
    middle = (seen * places).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    away = np.where(seen, places - middle[:, None], 0.0)
    spread = np.where(seen.sum(axis=1) > 1, (away**2).sum(axis=1), np.nan)
    return np.einsum("ns,nsp->np", away, np.where(seen[..., None], scores, 0.0)) / spread[:, None]


def correct(
    space: FaceSpace,
    layer: Layer,
    found: DirectionSet,
    edited: Sequence[str],
    strengths: Mapping[str, Sequence[float]],
    num_latents: int = 100,
    progress: tqdm | None = None,
) -> DirectionSet:
    """Directions of the edited properties, mixed so that by their *measured* response each changes its own score alone.

    Every direction, also those of properties that are to be held, is followed on real faces as far as the test goes,
    and what all scores do is measured. The inverse of this response says how to mix them. Derivatives tell what an
    infinitely small step does; this tells what an edit does.

    Args:
        found: calibrated directions that do not depend on the face, of the edited properties and of those to hold;
            those of the edited ones are returned, calibrated.
        strengths: property -> the strengths it is tested with, in sigmas; others are followed a sigma to either side.

    Raises:
        ValueError: where the response cannot be inverted, or for directions that depend on the face.
    """
    if found.finder is not None or found.slopes is None:
        raise ValueError(
            f"method {found.method} gives each face its own directions, which cannot be mixed: correct=false"
        )
    codes, groups = choose_faces(space, layer, found, num_latents)
    base = space.score_codes(layer, codes)
    measured = [space.property_names.index(name) for name in found.properties]
    response = np.zeros((len(measured), len(measured)))
    for i, name in enumerate(found.properties):
        rows = np.array([s for s in strengths.get(name, (-1.0, 1.0)) if s != 0])
        scores = scores_of(space, layer, StraightMover(found)(codes, groups, {name: rows}).codes)
        # a straight line a latent through all places and the unedited face
        whole = np.concatenate([scores, base[:, None]], axis=1)[..., measured]
        slopes = lines(np.append(rows, 0.0), whole)
        seen = ~np.isnan(slopes).any(axis=1)
        check_seen(seen, 2)
        response[i] = slopes[seen].mean(axis=0)
        if progress is not None:
            progress.update()
    try:
        mix = np.linalg.inv(response)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "the measured response cannot be inverted: hold fewer properties (decorrelate=[...])"
        ) from error
    sigmas = found.directions.astype(np.float64) / found.slopes[..., None]  # a sigma each
    mixed = np.einsum("km,mgd->kgd", mix[[found.properties.index(name) for name in edited]], sigmas)
    unit = mixed / np.linalg.norm(mixed, axis=2, keepdims=True)
    corrected = replace(found, directions=unit, properties=tuple(edited), slopes=None, spreads=None)
    return calibrate(space, layer, corrected, num_latents)


def choose_faces(space: FaceSpace, layer: Layer, found: DirectionSet, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes [N, D] of the second set of latents, and their groups [N]."""
    codes = space.codes(layer, *space.latents(CHOOSE, range(num)))
    return codes, groups_of(space, layer, codes, found.medians)


def scores_of(space: FaceSpace, layer: Layer, moved: np.ndarray) -> np.ndarray:
    """Scores [N, S, P] of codes [N, S, D]."""
    return space.score_codes(layer, moved.reshape(-1, moved.shape[-1])).reshape(*moved.shape[:2], -1)
