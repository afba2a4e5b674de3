"""Groups of look-alikes: faces split at the medians of some properties, by default the published four.

A direction found inside a group does not have to tell those properties apart from the one it changes.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.directions.base import ALL
from ohlora_gan.names import GROUP_PROPERTIES, PROPERTIES

REFERENCE_MEDIANS = {
    "hair_color": -0.4315,
    "hair_length": 0.5685,
    "background_mean": 0.6753,
    "hairstyle": 0.0372,
}
"""The medians of the published Oh-LoRA v3.1 system, in units of the normalised scores."""


def all_group_names(num_letters: int = len(GROUP_PROPERTIES)) -> list[str]:
    """The names from ``hhhh`` to ``llll``: 16, or ``2 ** num_letters``, a letter a grouping property."""
    return ["".join(letters) for letters in product("hl", repeat=num_letters)]


def medians(
    scores: ArrayLike, names: Sequence[str] = PROPERTIES, group_by: Sequence[str] = GROUP_PROPERTIES
) -> dict[str, float]:
    """The medians of the grouping properties over scores ``[n, P]`` (n at least 1), in float64.

    Args:
        scores: one row a sample.
        names: what the P columns are.
        group_by: the grouping properties.

    Raises:
        ValueError: for no samples, scores of another shape, or a grouping property that is not scored.
    """
    columns = _columns(scores, names, group_by)
    if len(columns) == 0:
        raise ValueError("medians need at least one sample, got none")
    return dict(zip(group_by, np.median(columns, axis=0).tolist(), strict=True))


def group_names(
    scores: ArrayLike,
    medians: Mapping[str, float] = REFERENCE_MEDIANS,
    names: Sequence[str] = PROPERTIES,
    group_by: Sequence[str] = GROUP_PROPERTIES,
) -> np.ndarray:
    """The group of every sample: ``h`` where a score is at least the median, else ``l``.

    Args:
        scores: ``[n, P]``.
        medians: one for each of ``group_by``.
        names: what the P columns are.
        group_by: the grouping properties, in the order of the letters.

    Returns:
        str array ``[n]``.

    Raises:
        ValueError: for scores of another shape, scores that are not finite, a missing median, or a grouping property
            that is not scored.
    """
    missing = [name for name in group_by if name not in medians]
    if missing:
        raise ValueError(f"medians lack {', '.join(missing)}: give one for each of {', '.join(group_by)}")
    columns = _columns(scores, names, group_by)
    num_bad = np.count_nonzero(~np.isfinite(columns))
    if num_bad:
        raise ValueError(f"scores: {num_bad} of {columns.size} values that decide on groups are not finite")
    # In float64: a median rounded to float32 is another number, and scores at the median would change sides.
    is_low = columns < np.array([medians[name] for name in group_by], dtype=np.float64)
    weights = 2 ** np.arange(len(group_by))[::-1]
    return np.array(all_group_names(len(group_by)))[is_low @ weights]


def check_group_by(group_by: Sequence[str], names: Sequence[str]) -> None:
    """Raises ValueError where a grouping property is not scored, or none is given."""
    unknown = [name for name in group_by if name not in names]
    if unknown or not group_by:
        raise ValueError(
            f"the scorer does not measure {', '.join(unknown)}, which faces are to be grouped by: give groups=none, "
            f"or group_by=[...] with some of {', '.join(names)}"
            if unknown
            else f"group_by is empty: give groups=none, or some of {', '.join(names)}"
        )


def members(groups: np.ndarray | None, num_samples: int) -> dict[str, np.ndarray]:
    """The sample indices of each group, ascending.

    Names like ``hlhh`` stand for all groups of so many letters, so that a group nobody belongs to shows up empty
    instead of being missed later. Other names stand for themselves, sorted.

    Args:
        groups: ``[num_samples]`` names, or None for one group ``all``.
        num_samples: the number of samples.
    """
    if groups is None:
        return {ALL: np.arange(num_samples)}
    names = sorted(set(groups.tolist()))
    lengths = {len(name) for name in names}
    if len(lengths) == 1 and all(re.fullmatch("[hl]+", name) for name in names):
        names = all_group_names(*lengths)
    return {name: np.flatnonzero(groups == name) for name in names}


def _columns(scores: ArrayLike, names: Sequence[str], group_by: Sequence[str]) -> np.ndarray:
    """The grouping properties' scores, float64 ``[n, len(group_by)]``."""
    array = np.asarray(scores).astype(np.float64)
    if array.ndim != 2 or array.shape[1] != len(names):
        raise ValueError(f"scores have shape {list(array.shape)}, expected [n, {len(names)}]")
    check_group_by(group_by, names)
    return array[:, [names.index(name) for name in group_by]]
