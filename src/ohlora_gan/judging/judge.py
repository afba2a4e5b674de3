"""The honest judge: one test of directions, by the scorer that found them and by others that had no part in it.

Directions are found on one stream of latents ("bank"), calibrated and chosen on a second ("choose"), and judged here
on a third ("test"). Means over latents come with 95 % intervals: bootstrap over latents, of shares that pass Wilson's.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ohlora_gan.editing.moves import Mover, groups_of
from ohlora_gan.judging import figures
from ohlora_gan.judging.figures import Bootstrap, Interval, Plan, VectorTest, make_cases
from ohlora_gan.judging.measure import (
    DAMAGE,
    ChangeMeter,
    Judge,
    LandmarkJudge,
    NetworkJudge,
    Scores,
    Scoring,
    Seen,
    TruthJudge,
)
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.metric import Region
from ohlora_gan.latents.space import REPORT, FaceSpace
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.models.zoo import is_truth, open_scorer
from ohlora_gan.world.truth import Truth

ALONG = np.linspace(-4, 4, 17)  # strengths of each property alone, in sigmas, between which its saturation is sought
SHIPPED_JUDGES = {"property_cnn": "property_cnn_judge"}
"""Shipped scorer -> the shipped one that learnt on its own, which is called ``judge`` for short."""
CLEAN = 200  # unedited pictures, at least, whose 99th percentile of damage says what is damaged


def figures_of(
    seen: Seen, plan: Plan, groups: np.ndarray, along: Scores, clean: Scores, bootstrap: Bootstrap
) -> dict[str, Any]:
    """One judge's figures; those of a property are there for every edited property that the judge measures.

    Args:
        seen: what the judge saw of N latents, in sigmas.
        groups: of the latents, ``[N]``.
        along: scores along each property alone, ``[n, k, S, P]``, see ``move_along``.
        clean: scores of more unedited pictures, ``[M, P]``; only what is damaged is told by them.

    Returns:
        ``role``, ``names`` (what is measured), ``lost`` (share of pictures without a score); as `Interval`: ``corr``
        (mean signed correlation, by property; undefined counts as 0), ``sum_corr``, ``sum_abs_corr``, ``pass_share``,
        ``passes`` (share of latents whose correlation reaches its threshold, by property), ``slope`` (what a unit of
        strength brings its own score, by property), ``drift`` (by attribute that is not edited), ``miss`` (by property;
        for sigmas alone); ``response`` (mean over latents, ``[k, P]``), ``leakage`` (by property, see
        ``figures.leakage``), ``linearity`` (by property, mean over latents), ``saturation`` (by property, in sigmas),
        ``retest`` (None without a second draw), ``damage`` (see ``figures.damage``; None by a judge that sees none).
    """
    damage = None
    if seen.names[-1] == DAMAGE:
        unedited = np.concatenate([seen.unedited, clean])[:, -1]
        damage = figures.damage(seen.unedited[:, -1], seen.scores[..., -1], unedited, bootstrap)
        seen, along = seen.without_last(), along[..., :-1]
    names, strengths = seen.names, plan.grid
    columns = {name: i for i, name in enumerate(plan.strengths)}
    measured = [name for name in columns if name in names]
    own, asked = [names.index(name) for name in measured], strengths[:, [columns[name] for name in measured]]
    cases = make_cases(plan, groups, seen.scores, names)
    corrs = np.nan_to_num([[case.corrs[name] for name in measured] for case in cases])
    passes = np.array([case.passed for case in cases])
    responses = figures.slopes(strengths, seen.scores)
    moved = figures.drift(seen.unedited, seen.scores)
    missed = figures.miss(asked, seen.unedited[:, own], seen.scores[..., own])
    return {
        "role": seen.role,
        "names": list(names),
        "corr": {name: bootstrap.mean(corrs[:, i]) for i, name in enumerate(measured)},
        "sum_corr": bootstrap.mean(corrs.sum(axis=1)),
        "sum_abs_corr": bootstrap.mean(np.abs(corrs).sum(axis=1)),
        "pass_share": figures.share(passes),
        "passes": {name: figures.share(corrs[:, i] >= plan.thresholds[name]) for i, name in enumerate(measured)},
        "slope": {name: bootstrap.mean(responses[:, columns[name], names.index(name)]) for name in measured},
        "retest": retest_of(seen, plan, groups, passes),
        "response": [[bootstrap.mean(responses[:, i, p]).value for p in range(len(names))] for i in columns.values()],
        "leakage": {
            name: figures.leakage(responses[:, i], names, name, bootstrap, plan.unit != "sigma")
            for name, i in columns.items()
        },
        "drift": {name: bootstrap.mean(moved[:, p]) for p, name in enumerate(names) if name not in columns},
        "miss": {name: bootstrap.mean(missed[:, i]) for i, name in enumerate(measured)} if plan.unit == "sigma" else {},
        "linearity": {
            name: bootstrap.mean(figures.linearity(strengths, seen.scores[..., names.index(name)], columns[name])).value
            for name in measured
        },
        "saturation": {
            name: figures.saturation(ALONG, along[:, columns[name], :, names.index(name)]) for name in measured
        },
        "lost": seen.lost,
        "damage": damage,
    }


def retest_of(seen: Seen, plan: Plan, groups: np.ndarray, passes: np.ndarray) -> dict[str, Any] | None:
    """What a second draw of the same latents says: its pass share, the share of passes that are passed again, and how
    much scores change from draw to draw."""
    if seen.again is None:
        return None
    second = np.array([case.passed for case in make_cases(plan, groups, seen.again, seen.names)])
    return {
        "pass_share": figures.share(second),
        "passed_both": figures.passed_again(passes, second),
        "change": figures.draw_change(seen.scores, seen.again),
    }


@dataclass
class Judgement:
    """What the judges found."""

    about: dict[str, Any]  # what was judged, as plain data (method, n, seconds, ...)
    test: VectorTest  # the test by the finding scorer, latent by latent
    by: dict[str, dict[str, Any]]  # judge -> its figures, see ``figures_of``
    image_change: dict[str, Interval]  # how far edited pictures are from the unedited one, by ``measure.KINDS``
    features_by: str | None  # the judge whose network's features measure the last of them, if any
    seconds: float  # what judging took

    def to_dict(self) -> dict[str, Any]:
        """Everything but single latents as plain data; None is what could not be measured."""
        seconds = dict(self.about.get("seconds", {})) | {"testing": round(self.seconds, 1)}
        return plain_data(
            {
                **self.about,
                "edited": list(self.test.plan.strengths),
                "grid": self.test.plan.unit,
                "num_latents": len(self.test.cases),
                "seconds": seconds,
                "by": self.by,
                "image_change": self.image_change,
                "features_by": self.features_by,
            }
        )


def plain_data(value: Any) -> Any:
    """Dictionaries, lists, strings, numbers; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain_data(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


LANDMARKS = "landmarks"


def called_judges(judge: str | Sequence[str] | None, scorer: str) -> list[str]:
    """Names or files of those who judge, ``judge`` by its own name; ValueError where the scorer has no such."""
    names = [judge] if isinstance(judge, str) else list(judge or [])
    if "judge" in names and scorer not in SHIPPED_JUDGES:
        raise ValueError(
            f"judge=judge is the shipped judge of a shipped scorer ({', '.join(SHIPPED_JUDGES)}), the scorer is "
            f"{scorer}: give the name or file of another one, or null"
        )
    return [SHIPPED_JUDGES[scorer] if name == "judge" else name for name in names]


def open_judges(
    space: FaceSpace, scorer: str, judge: str | Sequence[str] | None, landmarks_pose: str = "turn"
) -> list[Judge]:
    """The scorer that directions were found with in a space, first, and those who judge it.

    Args:
        scorer: the name or file of the space's scorer.
        judge: names or files of other property networks, ``"judge"``, ``"landmarks"``, a list of such, or None.
        landmarks_pose: what ``pose`` is for landmarks, see ``LandmarkJudge``, where the scorer has a ``pose``.

    Raises:
        ValueError: for the finding scorer itself, a truth network of another resolution, or what is not installed.
    """
    judges: list[Judge] = [NetworkJudge(network_name(scorer), space.scorer, space.device, "finding", space.quantize)]
    for name in called_judges(judge, scorer):
        if name == LANDMARKS and scorer != LANDMARKS:
            judges.append(LandmarkJudge(landmarks_pose if "pose" in space.property_names else None))
            continue
        if is_truth(name):
            judges.append(truth_judge(space, name))
            continue
        net = FaceSpace(space.generator, open_scorer(name), space.device, space.batch_size).scorer
        if weights_hash(net) == weights_hash(space.scorer):
            raise ValueError(
                f"judge={name} is the scorer that finds the directions and cannot judge them: give another one, or null"
            )
        judges.append(NetworkJudge(network_name(name), net, space.device, "judging", space.quantize))
    for i, one in enumerate(judges):
        if one.name in [other.name for other in judges[:i]]:
            one.name = f"{one.name}_{i + 1}"
    return judges


def truth_judge(space: FaceSpace, name: str | Path) -> TruthJudge:
    """The network of ``model=truth`` of a name or file as a judge of a space's faces; ValueError where sizes differ."""
    truth = Truth.open(name, rounds=1, look=False)  # tells damage as well as all of it, eight times as fast
    if truth.resolution != space.generator.resolution:
        raise ValueError(
            f"judge={name} reads pictures of {truth.resolution} pixels, the generator makes "
            f"{space.generator.resolution}: leave it out"
        )
    return TruthJudge(truth)


def network_name(name: str | Path) -> str:
    """What a network is called: a shipped model's name, a file's stem, or its folder where all files are alike."""
    path = Path(name)
    return path.resolve().parent.name if path.suffix and path.stem in ("model", "last") else path.stem


@dataclass(frozen=True)
class Extent:
    """How much the test looks at."""

    num_latents: int  # at most so many latents of the stream "test", at least 1
    # end with the latent that makes this number of passes full, by the finding scorer; None: never
    max_passes: int | None = None
    retest: bool = True  # draw every edited picture a second time, with fresh noise
    num_saturation: int = 20  # latents that are moved along each property alone, 0 or more
    region: Region = field(default_factory=Region)  # where the face is

    def __post_init__(self) -> None:
        if self.num_latents < 1 or (self.max_passes is not None and self.max_passes < 1):
            raise ValueError(f"num_latents {self.num_latents}, max_passes {self.max_passes}: expected at least 1")


def judge_vectors(
    space: FaceSpace,
    layer: Layer,
    mover: Mover,
    plan: Plan,
    judges: Sequence[Judge],
    extent: Extent,
    progress: tqdm | None = None,
) -> Judgement:
    """Tests what moves a layer's codes on latents of the stream "test"; ``progress`` is told of each."""
    started = time.monotonic()
    check_judges(judges, plan)
    codes = space.codes(layer, *space.latents(REPORT, range(extent.num_latents)))
    groups = groups_of(space, layer, codes, mover.medians)
    networks = sorted(
        (judge for judge in judges if isinstance(judge, NetworkJudge) and hasattr(judge.net, "features")),
        key=lambda judge: judge.role == "finding",  # an independent network's features are preferred
    )
    meter = ChangeMeter(extent.region, networks[0] if networks else None)
    scoring = Scoring(partial(space.render, layer), judges, meter)

    passes = 0

    def move(codes: np.ndarray, groups: Sequence[str] | np.ndarray) -> np.ndarray:
        return mover(codes, groups, plan.changes(plan.grid), plan.unit).codes

    def enough(_: int, scores: Scores) -> bool:
        nonlocal passes
        passes += make_cases(plan, [""], scores[None], judges[0].property_names)[0].passed
        return passes == extent.max_passes

    seen = scoring.measure(codes, groups, move, extent.retest, enough if extent.max_passes else None, progress)
    num = len(seen[0].scores)
    alone = move_along(codes[: extent.num_saturation], groups, mover, plan, scoring)
    bootstrap = Bootstrap(num, space.seed)
    by = {}
    for judge, found, of_judge in zip(judges, seen, alone, strict=True):
        if judge.raw:
            of_judge, found = found.standardised(of_judge), found.in_sigmas()
        clean = clean_scores(space, layer, judge, num)
        by[found.name] = figures_of(found, plan, groups[:num], of_judge, clean, bootstrap)
    cases = make_cases(plan, groups[:num], seen[0].scores, seen[0].names)
    change = meter.result(num, len(plan.grid))
    return Judgement(
        about={"layer": layer.name, "equivalent_to_w": layer.equivalent_to_w},
        test=VectorTest(plan, codes, groups, cases, mover),
        by=by,
        image_change={kind: bootstrap.mean(values) for kind, values in change.items()},
        features_by=networks[0].name if networks else None,
        seconds=time.monotonic() - started,
    )


def clean_scores(space: FaceSpace, layer: Layer, judge: Judge, num: int) -> Scores:
    """Scores ``[CLEAN - num, P]`` of the test's further latents, unedited, by a judge that sees damage; else none."""
    if judge.property_names[-1] != DAMAGE or num >= CLEAN:
        return np.empty((0, len(judge.property_names)), np.float32)
    codes = space.codes(layer, *space.latents(REPORT, range(num, CLEAN)))
    return np.concatenate([judge.score(images) for images in space.render(layer, codes)])


def check_judges(judges: Sequence[Judge], plan: Plan) -> None:
    """Raises ValueError for a judge that measures none of the edited properties."""
    for judge in judges:
        if not set(judge.property_names) & set(plan.strengths):
            raise ValueError(
                f"judge {judge.name} measures {', '.join(judge.property_names)}, none of the edited properties "
                f"{', '.join(plan.strengths)}: give another judge, or null"
            )


def move_along(
    codes: np.ndarray, groups: Sequence[str] | np.ndarray, mover: Mover, plan: Plan, scoring: Scoring
) -> list[Scores]:
    """Every judge's scores float32 ``[n, k, S, P]`` of faces moved along each of k properties alone, by ``ALONG``."""
    shape = (len(plan.strengths), len(ALONG))
    changes = plan.changes(np.concatenate([ALONG[:, None] * row for row in np.eye(shape[0])]))
    parts = [[np.empty((0, *shape, len(judge.property_names)), np.float32)] for judge in scoring.judges]
    for i in range(len(codes)):
        moved = mover(codes[i : i + 1], groups[i : i + 1], changes).codes
        for part, scores in zip(parts, scoring.score(moved), strict=True):
            part.append(scores.reshape(1, *shape, -1))
    return [np.concatenate(part) for part in parts]
