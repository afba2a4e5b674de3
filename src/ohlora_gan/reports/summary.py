"""What a report shows, as plain data: everything but the title may be missing."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ohlora_gan.names import EDITED_PROPERTIES, GROUP_PROPERTIES, PROPERTIES


@dataclass
class Strip:
    """Faces moved along the direction of one property: a row a face, a column a strength.

    Attributes:
        property: the property whose direction was followed, for example ``"eyes"``.
        strengths: ``[K]``, how far each column was moved, ascending; the one nearest to 0 is the
            unedited face.
        images: uint8 ``[rows, K, H, W, 3]``.
        scores: ``[rows, K]``, the measured score of ``property`` in sigmas; NaN where there is none.
        other_scores: ``[rows, K, P]``, the measured scores of all properties.
        labels: a name a row, such as the group of the face; numbers where empty.
        score_names: what the P columns of ``other_scores`` are.
        center: the column of the unedited face, set from ``strengths``.
    """

    property: str
    strengths: NDArray[np.floating]
    images: NDArray[np.uint8]
    scores: NDArray[np.floating]
    other_scores: NDArray[np.floating] | None = None
    labels: Sequence[str] = ()
    score_names: Sequence[str] = PROPERTIES
    center: int = field(init=False)

    def __post_init__(self) -> None:
        self.strengths, self.scores = np.asarray(self.strengths, float), np.asarray(self.scores, float)
        rows, columns = self.images.shape[:2]
        if self.strengths.shape != (columns,) or self.scores.shape != (rows, columns):
            raise ValueError(
                f"strip of {self.property}: images {self.images.shape} need {columns} strengths and scores "
                f"[{rows}, {columns}], got {self.strengths.shape} and {self.scores.shape}"
            )
        self.center = int(np.argmin(np.abs(self.strengths)))
        self.labels = list(self.labels) or [f"face {row + 1}" for row in range(rows)]
        if len(self.labels) != rows:
            raise ValueError(f"strip of {self.property}: {rows} rows of images, {len(self.labels)} labels")


@dataclass
class CaseGrid:
    """All pictures of one latent's generation test.

    Attributes:
        title: for example ``"Best of 100"``.
        images: uint8 ``[..., H, W, 3]``, an axis a property in the order of ``strengths.nested``: down, then blocks,
            and the last one across; for the published three ``[mouth, eyes, pose, H, W, 3]``.
        strengths: property -> the strengths of its axis of ``images``.
        correlations: property -> Pearson correlation of intended strength and measured score.
        passed: whether all correlations reach their thresholds.
        note: a further remark, such as the group.
    """

    title: str
    images: NDArray[np.uint8]
    strengths: Mapping[str, Sequence[float]]
    correlations: Mapping[str, float]
    passed: bool
    note: str = ""


@dataclass
class Training:
    """Curves and samples of a fine-tuning run; what is empty is left out.

    Attributes:
        steps: ``[T]``.
        losses: name -> ``[T]``, such as ``d_loss`` and ``g_loss``.
        auroc: ``[T]`` in [0, 1], how well the discriminator tells real from generated.
        scores: name -> ``[T]``, mean scores of generated faces.
        before: uint8 ``[N, H, W, 3]`` faces before training.
        after: uint8 ``[N, H, W, 3]`` faces from the same numbers after it.
    """

    steps: ArrayLike
    losses: Mapping[str, ArrayLike] = field(default_factory=dict)
    auroc: ArrayLike | None = None
    scores: Mapping[str, ArrayLike] = field(default_factory=dict)
    before: NDArray[np.uint8] | None = None
    after: NDArray[np.uint8] | None = None


@dataclass
class ReportData:
    """All that a report shows; a part that is empty or None is left out.

    Attributes:
        title: of the page.
        subtitle: what was run, for example ``"svm at mapping_split2, n = 4,000"``.
        created: ISO 8601 time.
        headline: (label, value, hint) cards at the top.
        settings: group -> name -> value.
        notes: remarks, a sentence or two each.
        samples: uint8 ``[N, H, W, 3]`` random faces.
        strips: at most one a property.
        accuracy: property -> group (``hhhh`` .. ``llll``) -> (accuracy in [0, 1], number of validation
            samples).
        correlations: property -> ``[num_latents]`` correlations of the generation test, in [-1, 1].
        thresholds: property -> what a correlation must reach.
        passed: bool ``[num_latents]``.
        response: ``[k, P]``, σ of each of ``score_names`` for one unit of strength along the direction of each of
            ``properties``.
        cases: single latents with all their pictures.
        training: the fine-tuning run.
        properties: the k edited properties.
        score_names: the P measured properties.
        group_by: what a group's letters stand for; empty where faces are not grouped.
        judgement: what the judges say, as ``judge.Judgement.to_dict`` gives it.
        grid: what a strength is, see ``movers.GRIDS``.
    """

    title: str
    subtitle: str = ""
    created: str = ""
    headline: Sequence[tuple[str, str, str]] = ()
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    samples: NDArray[np.uint8] | None = None
    strips: Sequence[Strip] = ()
    accuracy: Mapping[str, Mapping[str, tuple[float, int]]] = field(default_factory=dict)
    correlations: Mapping[str, ArrayLike] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    passed: ArrayLike | None = None
    response: ArrayLike | None = None
    cases: Sequence[CaseGrid] = ()
    training: Training | None = None
    properties: Sequence[str] = EDITED_PROPERTIES
    score_names: Sequence[str] = PROPERTIES
    group_by: Sequence[str] = GROUP_PROPERTIES
    judgement: Mapping[str, Any] | None = None
    grid: str = "reference"


# --- Curves of the training run that made a checkpoint, read from its run folder ---


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
