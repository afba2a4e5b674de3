"""Groups of look-alikes: faces split at the medians of hair colour, hair length, background and hairstyle.

A direction found inside a group does not have to tell those four properties apart from the one it changes.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.directions.base import ALL
from ohlora_gan.vocabulary import GROUP_PROPERTIES, PROPERTIES

REFERENCE_MEDIANS = {
    "hair_color": -0.4315,
    "hair_length": 0.5685,
    "background_mean": 0.6753,
    "hairstyle": 0.0372,
}
"""The medians of the published Oh-LoRA v3.1 system, in units of the normalised scores."""

_COLUMNS = [PROPERTIES.index(name) for name in GROUP_PROPERTIES]


def all_group_names() -> list[str]:
    """The 16 names from ``hhhh`` to ``llll``, letters in ``GROUP_PROPERTIES`` order."""
    return ["".join(letters) for letters in product("hl", repeat=len(GROUP_PROPERTIES))]


def medians(scores: ArrayLike) -> dict[str, float]:
    """The medians of the four grouping properties over scores ``[n, 8]`` (n at least 1), in float64."""
    columns = _check_scores(scores)[:, _COLUMNS]
    if len(columns) == 0:
        raise ValueError("medians need at least one sample, got none")
    return dict(zip(GROUP_PROPERTIES, np.median(columns, axis=0).tolist(), strict=True))


def group_names(scores: ArrayLike, medians: Mapping[str, float] = REFERENCE_MEDIANS) -> np.ndarray:
    """The group of every sample: ``h`` where a score is at least the median, else ``l``.

    Args:
        scores: ``[n, 8]`` in ``PROPERTIES`` order.
        medians: one for each of ``GROUP_PROPERTIES``.

    Returns:
        str array ``[n]``.

    Raises:
        ValueError: for scores of another shape, scores that are not finite, or a missing median.
    """
    missing = [name for name in GROUP_PROPERTIES if name not in medians]
    if missing:
        raise ValueError(f"medians lack {', '.join(missing)}")
    columns = _check_scores(scores)[:, _COLUMNS]
    num_bad = np.count_nonzero(~np.isfinite(columns))
    if num_bad:
        raise ValueError(f"scores: {num_bad} of {columns.size} values that decide on groups are not finite")
    # In float64: a median rounded to float32 is another number, and scores at the median would change sides.
    is_low = columns < np.array([medians[name] for name in GROUP_PROPERTIES], dtype=np.float64)
    weights = 2 ** np.arange(len(GROUP_PROPERTIES))[::-1]
    return np.array(all_group_names())[is_low @ weights]


def members(groups: np.ndarray | None, num_samples: int) -> dict[str, np.ndarray]:
    """The sample indices of each group, ascending.

    Names like ``hlhh`` stand for all 16 groups, so that a group nobody belongs to shows up empty instead of
    being missed later. Other names stand for themselves, sorted.

    Args:
        groups: ``[num_samples]`` names, or None for one group ``all``.
        num_samples: the number of samples.
    """
    if groups is None:
        return {ALL: np.arange(num_samples)}
    names = sorted(set(groups.tolist()))
    if set(names) <= set(all_group_names()):
        names = all_group_names()
    return {name: np.flatnonzero(groups == name) for name in names}


def _check_scores(scores: ArrayLike) -> np.ndarray:
    array = np.asarray(scores).astype(np.float64)
    if array.ndim != 2 or array.shape[1] != len(PROPERTIES):
        raise ValueError(f"scores have shape {list(array.shape)}, expected [n, {len(PROPERTIES)}]")
    return array
