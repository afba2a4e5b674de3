"""What filters say of many images: means and shares within bounds, with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.evaluation.bootstrap import resamples
from ohlora_gan.thresholds import Threshold, within

ALL = "all"


@dataclass(frozen=True)
class Figure:
    """A mean over images and its bootstrap 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_figures(values: NDArray[Any], seed: int = 0) -> list[Figure]:
    """The mean of every column of ``[N, P]`` with the percentile interval of resampled rows."""
    values = np.asarray(values, dtype=np.float64)
    counts = resamples(len(values), seed, "filter_figures/bootstrap")
    low, high = np.quantile(counts @ values / len(values), [0.025, 0.975], axis=0)
    return [Figure(*map(float, row)) for row in zip(values.mean(axis=0), low, high, strict=True)]


@dataclass(frozen=True)
class FilterFigures:
    """What filters say of a generator's images.

    Attributes:
        means: filter -> mean probability.
        shares: filter -> share of images within its bound, for filters that have one; ``"all"``: within all bounds.
        bounds: filter -> its bound as text.
        num: number of images.
    """

    means: dict[str, Figure]
    shares: dict[str, Figure]
    bounds: dict[str, str]
    num: int

    @classmethod
    def of(
        cls, scores: NDArray[Any], names: Sequence[str], thresholds: Mapping[str, Threshold], seed: int = 0
    ) -> "FilterFigures":
        """From probabilities ``[N, len(names)]``; ``seed`` decides the resamples."""
        passing = {name: bound.passes(scores[:, names.index(name)]) for name, bound in thresholds.items()}
        passing[ALL] = within(scores, names, thresholds)
        shares = mean_figures(np.stack(list(passing.values()), axis=1), seed)
        return cls(
            dict(zip(names, mean_figures(scores, seed), strict=True)),
            dict(zip(passing, shares, strict=True)),
            {name: str(bound) for name, bound in thresholds.items()},
            len(scores),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Rows of a CSV table, one a filter and one for all of them; what there is not is empty."""
        rows = []
        for name in (*self.means, ALL):
            row: dict[str, Any] = {"filter": name, "n": self.num, "bound": self.bounds.get(name, "")}
            for kind, figures in (("mean", self.means), ("share_within", self.shares)):
                found = figures.get(name)
                values = ("", "", "") if found is None else (found.value, found.low, found.high)
                row |= dict(zip((kind, f"{kind}_low", f"{kind}_high"), values, strict=True))
            rows.append({key: f"{x:.6f}" if isinstance(x, float) else x for key, x in row.items()})
        return rows


def filter_table(figures: Mapping[str, FilterFigures]) -> str:
    """Generators side by side, as text for a terminal or a README: means, then shares within the bounds."""
    one = next(iter(figures.values()))
    heads = [f"{name} (n = {found.num:,})" for name, found in figures.items()]
    lines = [f"| filter: mean | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    lines += [f"| {name} | {' | '.join(str(f.means[name]) for f in figures.values())} |" for name in one.means]
    lines += ["", f"| share within | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for name in one.shares:
        title = f"{name} {one.bounds.get(name, '')}".strip()
        lines.append(f"| {title} | {' | '.join(str(f.shares[name]) for f in figures.values())} |")
    return "\n".join(lines)
