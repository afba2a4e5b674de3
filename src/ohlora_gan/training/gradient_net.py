"""Training of the networks that predict one score from latent vectors, for directions by their input gradient."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import EarlyStopping, LambdaCallback
from torch import Tensor, nn
from tqdm import tqdm

from ohlora_gan import rng

# --- The network ---


class GradientNet(nn.Module):
    """Dense d -> 768 + d/4 -> 128 + d/8 -> 1, with tanh and dropout after both hidden layers.

    Args:
        size: d, the length of the vectors, at least 1.
        dropout: share of hidden activations that training drops.
    """

    def __init__(self, size: int, dropout: float = 0.25) -> None:
        super().__init__()
        wide, narrow = 768 + size // 4, 128 + size // 8
        self.config: dict[str, Any] = {"size": size, "dropout": dropout}
        self.fc1 = nn.Sequential(nn.Linear(size, wide), nn.Tanh(), nn.Dropout(dropout))
        self.fc2 = nn.Sequential(nn.Linear(wide, narrow), nn.Tanh(), nn.Dropout(dropout))
        self.fc_final = nn.Linear(narrow, 1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors ``[B, d]`` to scores ``[B, 1]``."""
        return self.fc_final(self.fc2(self.fc1(vectors)))


# --- Its training ---


Batch = tuple[Tensor, Tensor]

MIN_SAMPLES = 10  # fewer leave no sample to validate or to test on
EVALUATION_BATCH = 4096
LIGHTNING_LOG = "pytorch_lightning.utilities.rank_zero"


class VectorBatches:
    """Batches of some rows of two arrays in memory: lighter than a ``DataLoader``, and no copy of the rows.

    Args:
        vectors: float32 ``[n, D]``.
        scores: float32 ``[n, 1]``.
        rows: which samples are used, ``[m]``.
        batch_size: samples a batch; the last batch may have fewer.
        order: (seed, stream) of the order, a new one each time the batches are gone through; None keeps that of rows.
    """

    def __init__(
        self,
        vectors: Tensor,
        scores: Tensor,
        rows: np.ndarray,
        batch_size: int,
        order: tuple[int, str] | None = None,
    ) -> None:
        self.vectors, self.scores, self.rows, self.batch_size = vectors, scores, rows, batch_size
        self.order, self.epoch = order, 0

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        rows = self.rows
        if self.order is not None:
            rows = rng.stream(*self.order, self.epoch).permutation(rows)
            self.epoch += 1
        for batch in torch.from_numpy(rows).split(self.batch_size):
            yield self.vectors[batch], self.scores[batch]


class VectorRegressor(pl.LightningModule):
    """Minimises the sum of squared errors with AdamW, and keeps the weights of the best epoch.

    Batches are vectors ``[B, D]`` and scores ``[B, 1]``. The learning rate shrinks after every epoch. Logs ``val/loss``
    once an epoch: the mean squared error over the validation samples.

    Args:
        net: the network, ``[B, D]`` to ``[B, 1]``.
        lr: learning rate of the first epoch.
        decay: what it is multiplied by after each epoch.

    Attributes:
        best_loss: the lowest ``val/loss``, infinite before the first epoch has ended.
        best_epoch: where that was, counted from 0.
        best_state: the network's state there.
        figures: after a test, ``mse``, ``mae``, ``rmse`` and ``corr`` (Pearson; None where predictions or scores are
            all equal) of the test samples.
    """

    def __init__(self, net: GradientNet, lr: float = 1e-3, decay: float = 0.95) -> None:
        super().__init__()
        self.net = net
        self.save_hyperparameters(ignore=["net"])
        self.best_loss, self.best_epoch = math.inf, 0
        self.best_state: dict[str, Tensor] = {}
        self.figures: dict[str, float | None] = {}
        self._tested: list[Tensor] = []

    def forward(self, vectors: Tensor) -> Tensor:
        """Scores ``[B, 1]`` of vectors ``[B, D]``."""
        return self.net(vectors)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        vectors, scores = batch
        return F.mse_loss(self(vectors), scores, reduction="sum")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        vectors, scores = batch
        loss = F.mse_loss(self(vectors), scores)
        self.log("val/loss", loss, on_epoch=True, logger=False, batch_size=len(vectors))

    def on_validation_end(self) -> None:
        """Keeps the weights where they are the best so far."""
        loss = float(self.trainer.callback_metrics["val/loss"])
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.current_epoch
            self.best_state = {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}

    def on_test_epoch_start(self) -> None:
        self._tested.clear()  # of a test that was broken off

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        vectors, scores = batch
        self._tested.append(torch.cat([self(vectors), scores], dim=1).double().cpu())

    def on_test_epoch_end(self) -> None:
        self.figures = regression_figures(*torch.cat(self._tested).T.numpy())

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"], fused=True)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, self.hparams["decay"])]


@dataclass(frozen=True)
class NetTrainer:
    """Trains a `GradientNet` on vectors and one score; the published settings are the defaults.

    80 % of the samples are trained on, 10 % decide when to stop, 10 % tell how good the net is. First weights, dropout,
    split and order of samples follow from the seed and the stream alone.

    Args:
        max_epochs: at most so many passes over the training samples, at least 1.
        patience: epochs without a lower validation loss that end the training, at least 1.
        batch_size: samples a step, at least 1.
        lr: learning rate of the first epoch, above 0.
        decay: what it is multiplied by after each epoch, above 0 and at most 1.
        seed: of everything random.
        center: train on vectors less their mean. The published method does not; where vectors lie far from the origin
            this fits better, and moving along the gradients changes the scores more.
        accelerator: Lightning's name of what to train on. A batch of 16 leaves a GPU idle: it pays in large layers.

    Raises:
        ValueError: for settings that cannot work.
    """

    max_epochs: int = 1000
    patience: int = 15
    batch_size: int = 16
    lr: float = 1e-3
    decay: float = 0.95
    seed: int = 0
    center: bool = False
    accelerator: str = "cpu"

    def __post_init__(self) -> None:  # here, so that nobody samples for hours first
        for name in ("max_epochs", "patience", "batch_size"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        if not self.lr > 0:
            raise ValueError(f"lr is {self.lr}, expected above 0")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay is {self.decay}, expected above 0 and at most 1")

    def __call__(
        self, X: np.ndarray, y: np.ndarray, stream: str, progress: tqdm | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, float | None]]:
        """Trains one net.

        Args:
            X: vectors, float ``[n, D]``, n at least 10.
            y: scores, float ``[n]``.
            stream: what the net is called: nets of different streams share no random numbers.
            progress: told of each epoch; its total grows by those of a training that gets no better from here on.

        Returns:
            The net's tensors by name, as of its best epoch, and its figures: ``mse``, ``mae``, ``rmse`` and ``corr`` on
            the test samples (see `VectorRegressor`), and ``epochs``.

        Raises:
            ValueError: for too few samples, and where the loss is not finite.
        """
        if len(X) < MIN_SAMPLES:
            raise ValueError(f"n={len(X)} is too small to train a net, expected at least {MIN_SAMPLES}: raise n")
        X, y = np.asarray(X, np.float32), np.asarray(y, np.float32)
        mean = X.mean(axis=0) if self.center else np.zeros(X.shape[1], np.float32)
        vectors, scores = torch.from_numpy(X - mean if self.center else X), torch.from_numpy(y)
        train, val, test = self._batches(vectors, scores[:, None], stream)
        with self._torch_seed(stream), quiet_lightning():
            module = VectorRegressor(GradientNet(vectors.shape[1]), self.lr, self.decay)
            trainer = self._trainer(module, progress)
            trainer.fit(module, train, val)
            if not module.best_state:
                raise ValueError(f"the net {stream} has no finite validation loss: lower lr={self.lr}")
            module.net.load_state_dict(module.best_state)
            trainer.test(module, test, verbose=False)
        weights = {name: value.numpy() for name, value in module.best_state.items()}
        weights["fc1.0.bias"] -= weights["fc1.0.weight"] @ mean  # now the net takes vectors as they are
        return weights, module.figures | {"epochs": trainer.current_epoch}

    def _batches(self, vectors: Tensor, scores: Tensor, stream: str) -> tuple[VectorBatches, ...]:
        """The batches of the training, validation and test samples."""
        rows = rng.stream(self.seed, f"{stream}/split").permutation(len(vectors))
        held_out = len(rows) // 10
        train, val, test = np.split(rows, [len(rows) - 2 * held_out, len(rows) - held_out])
        return (
            VectorBatches(vectors, scores, train, self.batch_size, (self.seed, f"{stream}/order")),
            VectorBatches(vectors, scores, val, EVALUATION_BATCH),
            VectorBatches(vectors, scores, test, EVALUATION_BATCH),
        )

    def _trainer(self, module: VectorRegressor, progress: tqdm | None) -> pl.Trainer:
        """A Trainer that shows and writes nothing."""

        before = 0 if progress is None else progress.n

        def tell(*_: object) -> None:
            if progress is not None:
                done = module.current_epoch + 1
                progress.total = before + max(done, min(self.max_epochs, module.best_epoch + 1 + self.patience))
                progress.update()

        def end(*_: object) -> None:
            if progress is not None:
                progress.total = before + module.current_epoch

        return pl.Trainer(
            accelerator=self.accelerator,
            devices=1,
            max_epochs=self.max_epochs,
            callbacks=[
                EarlyStopping("val/loss", patience=self.patience),
                LambdaCallback(on_train_epoch_end=tell, on_fit_end=end),
            ],
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    @contextmanager
    def _torch_seed(self, stream: str) -> Iterator[None]:
        """First weights and dropout draw from torch's own generators, which are as before afterwards."""
        devices = [] if self.accelerator == "cpu" else range(torch.cuda.device_count())
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(rng.stream_key(self.seed, f"{stream}/torch") % 2**63)
            yield


def regression_figures(predictions: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    """The ``figures`` of `VectorRegressor` for predictions ``[n]`` of scores ``[n]``."""
    errors = predictions - scores
    mse = float(np.mean(errors**2))
    varied = np.ptp(predictions) > 0 and np.ptp(scores) > 0
    corr = float(np.corrcoef(predictions, scores)[0, 1]) if varied else None
    return {"mse": mse, "mae": float(np.mean(np.abs(errors))), "rmse": math.sqrt(mse), "corr": corr}


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hides what Lightning tells about every trainer: with many small nets it would bury the rest."""
    log = logging.getLogger(LIGHTNING_LOG)
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
