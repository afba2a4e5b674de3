"""Names that many parts share: Oh-LoRA's properties, their order, the groups made of them, and a file.

They are defaults: a scorer says what it measures (``property_names``), and a configuration which of that is edited.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROPERTIES = ("eyes", "hair_color", "hair_length", "mouth", "pose", "background_mean", "background_std", "hairstyle")
"""The eight scored properties, in the order of the property CNN's outputs."""

EDITED_PROPERTIES = ("eyes", "mouth", "pose")
"""The properties for which directions are sought, if nothing else is asked for."""

GROUP_PROPERTIES = ("hair_color", "hair_length", "background_mean", "hairstyle")
"""The properties whose medians split samples into 16 groups by default, in the order of the group name's letters."""

WORLD = 2
"""The version of the embedded world that is drawn; networks that have learnt from its faces say so in their files."""


def published_or(published: Sequence[str], names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """The published properties where a scorer that measures ``names`` has all of them, else others."""
    return tuple(published if {*published} <= {*names} else others)


LAST = "last.ckpt"
"""What a training goes on from."""

FAILED_FILE = "failed.txt"
"""What a job of a sweep that failed leaves in its folder: the sentence that says why."""


class Part:
    """What the numbers in a parse map mean; left and right are those of the picture."""

    BACKGROUND = 0
    SKIN = 1
    BROWS = 2
    GLASSES = 3
    LEFT_EYE = 4
    RIGHT_EYE = 5
    NOSE = 6
    UPPER_LIP = 7
    INNER_MOUTH = 8
    LOWER_LIP = 9
    HAIR = 10
    CLOTHES = 11
    NECK = 12
    LAST = 12


# --- Bounds on scores that an image must keep to be used ---

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {">=": ge, "<=": le, ">": gt, "<": lt}
REFERENCE = {"gender": ">=0.92", "quality": ">=0.9", "age": "<=0.008", "glass": "<=0.01"}
"""What the reference system keeps of FineTune-v1's images for FineTune-v9."""


@dataclass(frozen=True)
class Threshold:
    """A bound on a score, such as ``>=0.92``; ``str()`` gives it back."""

    comparison: str
    bound: float

    def __str__(self) -> str:
        return f"{self.comparison}{self.bound:g}"

    def passes(self, scores: NDArray[Any]) -> NDArray[np.bool_]:
        """Which scores are within the bound."""
        return COMPARISONS[self.comparison](scores, self.bound)


def read_thresholds(
    require: Mapping[str, str | None], known: Sequence[str], where: str = "require"
) -> dict[str, Threshold]:
    """The bounds of ``require``, filter -> bound, of which None is none; ``where`` is what users call it."""
    found = {}
    for name, text in require.items():
        if text is None:
            continue
        if name not in known:
            raise ValueError(
                f"{where} has a bound for {name!r}, but the filters given judge {', '.join(known) or 'nothing'}: "
                f"give a filter of {name} too, or no bound"
            )
        match = re.fullmatch(r"(>=|<=|>|<)([+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)", str(text).replace(" ", ""))
        if not match:
            raise ValueError(f"{where}.{name} is {text!r}, expected a bound in quotes such as '>=0.92' or '<=0.01'")
        found[name] = Threshold(match[1], float(match[2]))
    return found


def within(scores: NDArray[Any], names: Sequence[str], thresholds: Mapping[str, Threshold]) -> NDArray[np.bool_]:
    """Which rows of scores ``[N, len(names)]`` are within all bounds: bool ``[N]``."""
    kept = np.ones(len(scores), dtype=bool)
    for name, threshold in thresholds.items():
        kept &= threshold.passes(scores[:, names.index(name)])
    return kept


FILE_WORD = "letters, digits, spaces, '_', '-' and '.', as in lip_color"


def is_file_word(name: object) -> bool:
    """Whether a name can be part of a file's name and of nothing else: it leads to no other folder, see `FILE_WORD`."""
    return isinstance(name, str) and re.fullmatch(r"\w[\w .-]*", name) is not None
