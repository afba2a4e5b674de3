"""What the image generation test asks for: the strengths of each property, and the correlations that pass.

The published system tests eyes, mouth and pose together, with 50 pictures a latent. Other properties get a row of
strengths of their own, shorter the more of them are tested at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from ohlora_gan.names import EDITED_PROPERTIES

STRENGTHS: dict[str, dict[str, tuple[float, ...]]] = {
    "svm": {
        "eyes": (-1.2, 1.2),
        "mouth": (-1.8, -0.9, 0.0, 0.9, 1.8),
        "pose": (-1.8, -1.2, -0.6, 0.0, 0.6),
    },
    "gradient": {
        "eyes": (-1.2, 1.2),
        "mouth": (-1.6, -0.8, 0.0, 0.8, 1.6),
        "pose": (-1.4, -0.7, 0.0, 0.7, 1.4),
    },
}
"""The intended strengths of each published option, in lengths of a unit direction."""

PASS_THRESHOLDS = {"eyes": 0.92, "mouth": 0.88, "pose": 0.88}
"""The correlation that a property of the published test has to reach."""

DEFAULT_ROWS = ((-1.8, -0.9, 0.0, 0.9, 1.8), (-1.8, 0.0, 1.8), (-1.8, 1.8))
"""Strengths of any other property; the first row with which the test stays within ``MAX_PICTURES`` is taken."""

DEFAULT_THRESHOLD = 0.88
MIN_PICTURES, MAX_PICTURES = 3, 250  # a latent: two pictures always correlate, and hundreds take too long
NESTING = ("mouth", "eyes", "pose")  # the published order of the pictures, slowest first


@dataclass(frozen=True)
class Plan:
    """What the test does to each latent.

    Attributes:
        strengths: edited property -> its strengths, in the order of the directions.
        thresholds: edited property -> the correlation it has to reach.
        unit: what a strength is, see ``moves.UNITS``.
        signed: demand that scores rise with the strength, as directions of positive sign promise. False is the
            published rule, which also accepts scores that fall.
    """

    strengths: Mapping[str, Sequence[float]]
    thresholds: Mapping[str, float]
    unit: str = "sigma"
    signed: bool = True

    @property
    def grid(self) -> np.ndarray:
        """All combinations of strengths, see ``strength_grid``."""
        return strength_grid(self.strengths)

    def changes(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Strengths ``[K, k]`` as movers take them."""
        return dict(zip(self.strengths, rows.T, strict=True))


def make_plan(
    properties: Sequence[str],
    option: str = "svm",
    strengths: Mapping[str, Sequence[float]] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> Plan:
    """A test of some properties.

    Args:
        properties: the edited properties, in the order of their directions.
        option: whose published strengths eyes, mouth and pose get.
        strengths: property -> strengths, in place of the published or the default ones.
        thresholds: property -> correlation, likewise.

    Raises:
        ValueError: for an unknown option, settings of a property that is not edited, strengths that cannot be
            correlated, a threshold outside (0, 1], or too many pictures a latent.
    """
    published = STRENGTHS[_known(option)]
    strengths, thresholds = strengths or {}, thresholds or {}
    for key, given in (("strengths", strengths), ("thresholds", thresholds)):
        unknown = [name for name in given if name not in properties]
        if unknown:
            raise ValueError(f"test.{key} names {', '.join(unknown)}, expected some of {', '.join(properties)}")
    rows = published | {name: tuple(map(float, values)) for name, values in strengths.items()}
    if len(properties) == 1 and not strengths and len(rows.get(properties[0], ())) < MIN_PICTURES:
        rows.pop(properties[0], None)  # eyes alone: the published two strengths would always correlate
    fixed = {name: rows[name] for name in properties if name in rows}
    num_fixed, num_open = prod(map(len, fixed.values())), len(properties) - len(fixed)
    fitting = [row for row in DEFAULT_ROWS if num_fixed * len(row) ** num_open <= MAX_PICTURES]
    plan = Plan(
        {name: fixed.get(name, (fitting or DEFAULT_ROWS[-1:])[0]) for name in properties},
        {name: float(thresholds.get(name, PASS_THRESHOLDS.get(name, DEFAULT_THRESHOLD))) for name in properties},
    )
    _check(plan)
    return plan


def nested(properties: Sequence[str]) -> list[str]:
    """The properties from the slowest varying to the fastest: the published ones in their order, then others."""
    return [*(name for name in NESTING if name in properties), *(name for name in properties if name not in NESTING)]


def strength_grid(strengths: str | Mapping[str, Sequence[float]]) -> np.ndarray:
    """All combinations of strengths.

    Args:
        strengths: a published option, or property -> strengths.

    Returns:
        float64 ``[K, k]``, columns in the order of the properties (``[50, 3]`` for an option, columns as in
        ``EDITED_PROPERTIES``); which one varies slowest says ``nested``.

    Raises:
        ValueError: for an unknown option.
    """
    if isinstance(strengths, str):
        of_option = STRENGTHS[_known(strengths)]
        strengths = {name: of_option[name] for name in EDITED_PROPERTIES}
    order = nested(list(strengths))
    rows = [dict(zip(order, values, strict=True)) for values in product(*(strengths[name] for name in order))]
    return np.array([[row[name] for name in strengths] for row in rows], dtype=np.float64)


def _known(option: str) -> str:
    if option not in STRENGTHS:
        raise ValueError(f"option is {option!r}, expected one of {', '.join(STRENGTHS)}")
    return option


def _check(plan: Plan) -> None:
    for name, values in plan.strengths.items():
        if len(set(values)) < 2 or len(set(values)) < len(values) or not np.isfinite(values).all():
            raise ValueError(f"test.strengths of {name} are {list(values)}, expected two or more different numbers")
    for name, threshold in plan.thresholds.items():
        if not 0 < threshold <= 1:
            raise ValueError(f"test.thresholds of {name} is {threshold}, expected a correlation above 0, at most 1")
    lengths = [len(values) for values in plan.strengths.values()]
    if not MIN_PICTURES <= prod(lengths) <= MAX_PICTURES:
        remedy = "give more strengths" if prod(lengths) < MIN_PICTURES else "give fewer strengths or fewer properties"
        raise ValueError(
            f"test.strengths make {prod(lengths)} pictures a latent ({' x '.join(map(str, lengths))}), expected "
            f"{MIN_PICTURES} to {MAX_PICTURES}: {remedy}"
        )
