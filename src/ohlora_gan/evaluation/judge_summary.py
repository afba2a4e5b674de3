"""One judge's figures of a test, as the file and the page of a run show them."""

from typing import Any

import numpy as np

from ohlora_gan.evaluation.judge_figures import (
    Bootstrap,
    draw_change,
    drift,
    leakage,
    linearity,
    miss,
    passed_again,
    saturation,
    share,
    slopes,
)
from ohlora_gan.evaluation.judges import Scores
from ohlora_gan.evaluation.measuring import Seen
from ohlora_gan.evaluation.strengths import Plan
from ohlora_gan.evaluation.vector_test import make_cases

ALONG = np.linspace(-4, 4, 17)
"""Strengths of each property alone, between which its saturation is sought."""


def figures_of(
    seen: Seen,
    plan: Plan,
    groups: np.ndarray,
    along: Scores,
    bootstrap: Bootstrap,
    grid: str = "sigma",
    signed: bool = True,
) -> dict[str, Any]:
    """One judge's figures; those of a property are there for every edited property that the judge measures.

    Args:
        seen: what the judge saw, in sigmas.
        plan: what was asked for.
        groups: of the latents, ``[N]``.
        along: scores along each property alone, ``[n, k, S, P]``, see ``move_along``.
        bootstrap: of N latents.
        grid: what a strength is.
        signed: see ``generation_test.passed``.

    Returns:
        ``role``, ``names`` (what is measured), ``lost`` (share of pictures without a score); as `Interval`: ``corr``
        (mean signed correlation, by property; undefined counts as 0), ``sum_corr``, ``sum_abs_corr``, ``pass_share``,
        ``drift`` (by attribute that is not edited, see ``judge_figures.drift``), ``miss`` (by property; for
        ``grid="sigma"`` alone); ``response`` (mean over latents, ``[k, P]``), ``leakage`` (by property, see
        ``judge_figures.Leak``), ``linearity`` (by property, mean over latents), ``saturation`` (by property, in
        sigmas), ``retest`` (None without a second draw).
    """
    names, strengths = seen.names, plan.grid
    columns = {name: i for i, name in enumerate(plan.strengths)}
    measured = [name for name in columns if name in names]
    own = [names.index(name) for name in measured]
    cases = make_cases(plan, groups, seen.scores, names, signed)
    corrs = np.nan_to_num([[case.corrs[name] for name in measured] for case in cases])
    passes = np.array([case.passed for case in cases])
    responses = slopes(strengths, seen.scores)
    moved = drift(seen.unedited, seen.scores)
    missed = miss(strengths[:, [columns[name] for name in measured]], seen.unedited[:, own], seen.scores[..., own])
    return {
        "role": seen.role,
        "names": list(names),
        "corr": {name: bootstrap.mean(corrs[:, i]) for i, name in enumerate(measured)},
        "sum_corr": bootstrap.mean(corrs.sum(axis=1)),
        "sum_abs_corr": bootstrap.mean(np.abs(corrs).sum(axis=1)),
        "pass_share": share(passes),
        "retest": retest_of(seen, plan, groups, passes, signed),
        "response": [[bootstrap.mean(responses[:, i, p]).value for p in range(len(names))] for i in columns.values()],
        "leakage": {
            name: leakage(responses[:, i], names, name, bootstrap, grid != "sigma")._asdict()
            for name, i in columns.items()
        },
        "drift": {name: bootstrap.mean(moved[:, p]) for p, name in enumerate(names) if name not in columns},
        "miss": {name: bootstrap.mean(missed[:, i]) for i, name in enumerate(measured)} if grid == "sigma" else {},
        "linearity": {
            name: bootstrap.mean(linearity(strengths, seen.scores[..., names.index(name)], columns[name])).value
            for name in measured
        },
        "saturation": {
            name: saturation(ALONG, along[:, columns[name], :, names.index(name)]) if len(along) else (np.nan, np.nan)
            for name in measured
        },
        "lost": seen.lost,
    }


def retest_of(seen: Seen, plan: Plan, groups: np.ndarray, passes: np.ndarray, signed: bool) -> dict[str, Any] | None:
    """The pass share of a second draw of the same latents, the share of passes that are passed again (None where none
    passed), and how much scores change from draw to draw (``judge_figures.draw_change``)."""
    if seen.again is None:
        return None
    second = np.array([case.passed for case in make_cases(plan, groups, seen.again, seen.names, signed)])
    return {
        "pass_share": share(second),
        "passed_both": passed_again(passes, second),
        "change": draw_change(seen.scores, seen.again),
    }
