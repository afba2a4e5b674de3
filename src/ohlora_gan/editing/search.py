"""A search for directions from beginning to end: samples, groups, fit, slopes, correction by the measured response."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from tqdm import tqdm

from ohlora_gan.directions.base import DirectionFinder, Geometry, group_names, medians
from ohlora_gan.directions.decorrelate import held_names
from ohlora_gan.directions.files import DirectionSet, recipe_of
from ohlora_gan.editing.calibration import calibrate, correct
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import free_jacobian
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.names import EDITED_PROPERTIES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What is sought.

    Attributes:
        properties: the outputs of the scorer that directions change.
        n: samples that directions are found with.
        group_by: outputs at whose medians faces are divided into groups of look-alikes, each with directions of its
            own; empty: one direction for all.
        medians: these medians by name; None takes those of the samples.
        metric: what steps cost, float64 ``[D, D]`` of the layer's free values, see ``latents.metric``; None: lengths.
        correct: mix directions so that by their measured response each changes its own score alone.
        strengths: property -> strengths in sigmas at which that is measured; empty: at one sigma.
        num_calibration: latents on which slopes are measured, at least 2.
        method: what the method is called.
    """

    properties: Sequence[str] = EDITED_PROPERTIES
    n: int = 4000
    group_by: Sequence[str] = ()
    medians: Mapping[str, float] | None = None
    metric: np.ndarray | None = None
    correct: bool = False
    strengths: Mapping[str, Sequence[float]] = field(default_factory=dict)
    num_calibration: int = 100
    method: str = "svm"


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        directions: with their slopes.
        seconds: what sampling and finding took.
        num_reused: samples that the bank held already.
    """

    directions: DirectionSet
    seconds: dict[str, float]
    num_reused: int


def find_directions(bank: ScoreBank, layer: Layer, finder: DirectionFinder, wanted: Wanted) -> Found:
    """Fits a finder on the bank's samples, and measures what its directions bring.

    Args:
        bank: of a generator and a scorer.
        layer: where codes are moved.
        finder: not fitted yet.
        wanted: what is sought.

    Raises:
        ValueError: for settings that cannot be used together; see the finder, and ``calibration``.
    """
    space, names, edited = bank.space, bank.space.property_names, tuple(wanted.properties)
    if wanted.correct and finder.pointwise:
        raise ValueError(f"method {wanted.method} gives each face its own directions: give correct=false")
    layer.check(space.generator)
    started = time.monotonic()
    num_reused = min(bank.num_stored(), wanted.n)
    log.info("bank %s holds %d of the %d samples", bank.folder, num_reused, wanted.n)
    with tqdm(desc="sampling", total=wanted.n) as bar:
        scores = bank.scores(wanted.n, bar)
    sampled = time.monotonic()
    cuts = cuts_of(scores, names, wanted)
    groups = group_names(scores, cuts, names) if cuts else None
    sought = (*edited, *held(finder, edited, names)) if wanted.correct else edited
    with tqdm(desc="finding", total=0) as bar:
        finder.fit(
            *(bank.codes(layer, wanted.n)[:, layer.free(space.generator)], scores, groups, bar),
            names=names,
            edited=sought,
            geometry=Geometry(partial(cached_jacobian, bank, layer), wanted.metric),
        )
    if finder.pointwise:  # what is asked for from now on are the faces of tests: nothing for the bank to keep
        fitted = finder.directions_, finder.group_names_, names, sought, finder.state_
        finder.restore(*fitted, free_jacobian(space, layer))
    found = padded_set(bank, layer, finder, wanted, cuts, sought)
    with tqdm(desc="calibrating", total=len(sought)) as bar:
        found = calibrate(space, layer, found, wanted.num_calibration, bar)
    if wanted.correct:
        with tqdm(desc="correcting", total=len(sought)) as bar:
            found = correct(space, layer, found, edited, dict(wanted.strengths), wanted.num_calibration, bar)
    seconds = {"sampling": sampled - started, "finding": time.monotonic() - sampled}
    return Found(found, seconds, num_reused)


def cuts_of(scores: np.ndarray, names: Sequence[str], wanted: Wanted) -> dict[str, float]:
    """The medians that divide faces into groups; empty for one group of all."""
    if not wanted.group_by:
        return {}
    given = wanted.medians or medians(scores, names, wanted.group_by)
    return {name: given[name] for name in wanted.group_by}


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
    return DirectionSet(
        directions,
        finder.group_names_,
        layer.name,
        wanted.method,
        dict(cuts) if len(finder.group_names_) > 1 else {},
        {
            "n": wanted.n,
            "seed": space.seed,
            "generator": weights_hash(space.generator),
            "scorer": weights_hash(space.scorer),
            "metrics": finder.metrics_,
            "finder": recipe_of(finder),
        },
        tuple(properties),
        names=space.property_names,
        finder=finder if finder.pointwise else None,
        recipe=recipe_of(finder) if finder.pointwise else {},
        state=finder.state_,
        free=(free.start, free.stop) if free.stop - free.start < size else None,
    )
