"""A method of its own for each property, such as the published option ``mixed``: eyes by gradient, the rest by svm."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.directions.base import ALL, DirectionFinder, Jacobian, Samples
from ohlora_gan.directions.parts_progress import PartsProgress


class MixedFinder(DirectionFinder):
    """Finds each property's directions with the finder that is named for it.

    Where some finders group the samples and others do not, ``directions_`` repeats an ungrouped direction in every
    group. ``metrics_`` merges those of the finders: numbers named after their property stay, any other number becomes
    ``{property: number}``, and dictionaries are united. ``state_`` has a finder's state under ``{property}.{name}``.

    Args:
        finders: property -> finder, at least for what is edited; others are of no effect. They stay as they are: each
            property is fitted with a copy.
    """

    def __init__(self, finders: Mapping[str, DirectionFinder]) -> None:
        self.finders = finders

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """Whether the direction of any property depends on the point."""
        return any(finder.pointwise for finder in self.finders.values())

    def _fit(self, samples: Samples) -> None:
        """Fits a finder a property; see ``DirectionFinder.fit``.

        Raises:
            ValueError: where an edited property has no finder, and for what its finder refuses.
        """
        edited = samples.edited
        parts, report = self._copies(edited), PartsProgress(samples.progress, len(edited))
        given = samples.X, samples.scores, samples.groups
        for prop, part in parts.items():
            part.fit(*given, report, samples.names, [prop], samples.jacobian, samples.metric)
            report.next()
        groupings = [part.group_names_ for part in parts.values()]
        self.group_names_ = next((grouping for grouping in groupings if grouping != [ALL]), [ALL])
        shape = (1, len(self.group_names_), samples.X.shape[1])
        self.directions_ = np.concatenate([np.broadcast_to(part.directions_, shape) for part in parts.values()])
        self.metrics_ = merged({prop: part.metrics_ for prop, part in parts.items()})
        self.state_ = {f"{prop}.{key}": value for prop, part in parts.items() for key, value in part.state_.items()}
        self.parts_ = parts

    def _restore(self, names: Sequence[str], edited: Sequence[str], jacobian: Jacobian | None) -> None:
        """Restores a finder a property, each with its own directions and its part of the state."""
        self.parts_ = self._copies(edited)
        for i, (prop, part) in enumerate(self.parts_.items()):
            own = {k.removeprefix(f"{prop}."): value for k, value in self.state_.items() if k.startswith(f"{prop}.")}
            part.restore(self.directions_[i : i + 1], self.group_names_, names, [prop], own, jacobian)

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        """Each property's direction as its finder gives it; see ``DirectionFinder.direction``."""
        super().direction(x, group)  # checks x and group
        return np.concatenate([part.direction(x, group) for part in self.parts_.values()])

    def _copies(self, edited: Sequence[str]) -> dict[str, DirectionFinder]:
        missing = [prop for prop in edited if prop not in self.finders]
        if missing:
            raise ValueError(
                f"method mixed has no finder for {', '.join(missing)}: give one with "
                f"'+method.finder.finders.{missing[0]}=${{method.parts.svm.finder}}', or edit other properties"
            )
        return {prop: copy(self.finders[prop]) for prop in edited}


def merged(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The metrics of one finder a property as those of one finder, see `MixedFinder`."""
    result: dict[str, Any] = {}
    for prop, of_property in metrics.items():
        for key, value in of_property.items():
            if f"_{prop}_" in key:
                result[key] = value
            else:
                result[key] = result.get(key, {}) | (value if isinstance(value, Mapping) else {prop: value})
    return result
