"""Metrics by their settings, measured once for a generator, a layer and these settings."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ohlora_gan.evaluation.image_change import Region
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.metric import make_metric
from ohlora_gan.progress import progress_bar


def stored_metric(bank: ScoreBank, layer: Layer, settings: Mapping[str, Any], face: Region) -> np.ndarray | None:
    """The metric of a layer, from the bank's folder where it was measured before.

    Args:
        bank: of the space; metrics lie beside its samples.
        layer: where steps are made.
        settings: those of ``conf/metric``: ``name``, ``region``, and the arguments of ``make_metric``.
        face: where the face is, for ``region`` ``face`` and ``border``.

    Returns:
        float64 ``[D, D]``; None for ``euclid``.

    Raises:
        ValueError: for settings that cannot be used.
    """
    if settings["name"] == "euclid":
        return None
    what = dict(settings) | ({"face": str(face)} if settings["region"] != "all" else {})
    how = {key: value for key, value in settings.items() if key != "region"}
    weights = face.weights(settings["region"])

    def make() -> np.ndarray:
        with progress_bar("metric", settings["num_latents"]) as report:
            made = make_metric(space=bank.space, layer=layer, weights=weights, progress=report, **how)
        assert made is not None
        return made

    return bank.cached("metric", layer, what, make)
