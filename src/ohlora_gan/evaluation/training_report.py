"""Curves of the training run that made a checkpoint, read from its run folder."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ohlora_gan.evaluation.report_data import Training
from ohlora_gan.vocabulary import EDITED_PROPERTIES

CURVES = {"train/d_loss": "d_loss", "train/g_loss": "g_loss"}


def read_training(checkpoint: str | Path, properties: Sequence[str] = EDITED_PROPERTIES) -> Training | None:
    """Losses, AUROC and mean scores of some properties logged beside a checkpoint; None without a log."""
    folder = Path(checkpoint).parent
    tables = sorted(folder.glob("csv/**/metrics.csv"))
    if not tables:
        return None
    rows: list[dict[str, str]] = []
    for table in tables:
        with table.open(newline="") as file:
            rows += list(csv.DictReader(file))

    def column(name: str) -> np.ndarray:
        return np.array([[float(r["step"]), float(r[name])] for r in rows if r.get(name)]).reshape(-1, 2)

    losses = {short: column(name) for name, short in CURVES.items()}
    steps = losses["d_loss"][:, 0]
    if not len(steps):
        return None
    scores = {name: column(f"scores/mean/{name}") for name in properties}
    return Training(
        steps=steps,
        losses={name: values[:, 1] for name, values in losses.items()},
        auroc=column("train/auroc")[:, 1],
        # scores are logged less often than losses: drawn between their points on the losses' steps
        scores={name: np.interp(steps, values[:, 0], values[:, 1]) for name, values in scores.items() if len(values)},
    )
