"""Training of the networks that predict one score from latent vectors, for directions by their input gradient."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ohlora_gan import rng

MIN_SAMPLES = 10  # fewer leave no sample to validate or to test on
EVALUATION_BATCH = 4096

Samples = tuple[Tensor, Tensor]
"""Vectors float32 ``[n, D]`` and scores float32 ``[n, 1]``."""


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


@dataclass(frozen=True)
class NetTrainer:
    """Trains a `GradientNet` on vectors and one score by the sum of squared errors; defaults are the published ones.

    80 % of the samples are trained on, 10 % decide when to stop, 10 % tell how good the net is. First weights, dropout,
    split and order of samples follow from the seed and the stream alone. The weights of the best epoch are kept.
    """

    max_epochs: int = 1000  # at most so many passes over the training samples
    patience: int = 15  # epochs without a lower validation loss that end the training
    batch_size: int = 16
    lr: float = 1e-3  # of the first epoch
    decay: float = 0.95  # what the learning rate is multiplied by after each epoch
    seed: int = 0
    # Train on vectors less their mean. The published method does not; where vectors lie far from the origin this fits
    # better, and moving along the gradients changes the scores more.
    center: bool = False
    accelerator: str = "cpu"  # or gpu, auto: a batch of 16 leaves a GPU idle, it pays in large layers

    def __post_init__(self) -> None:  # here, so that nobody samples for hours first
        for name in ("max_epochs", "patience", "batch_size"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        if not self.lr > 0:
            raise ValueError(f"lr is {self.lr}, expected above 0")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay is {self.decay}, expected above 0 and at most 1")
        self.device()

    def device(self) -> torch.device:
        """What to train on; ValueError where it is not there."""
        found = None if self.accelerator == "cpu" else torch.accelerator.current_accelerator(check_available=True)
        if self.accelerator in ("cpu", "auto"):
            return found or torch.device("cpu")
        if found is None or self.accelerator not in ("gpu", found.type):
            raise ValueError(f"accelerator is {self.accelerator!r}, but torch finds no such device: give cpu")
        return found

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
            The net's tensors by name, and its `regression_figures` on the test samples, with ``epochs``.

        Raises:
            ValueError: for too few samples, and where the loss is not finite.
        """
        if len(X) < MIN_SAMPLES:
            raise ValueError(f"n={len(X)} is too small to train a net, expected at least {MIN_SAMPLES}: raise n")
        X, y = np.asarray(X, np.float32), np.asarray(y, np.float32)
        mean = X.mean(axis=0) if self.center else np.zeros(X.shape[1], np.float32)
        samples = torch.from_numpy(X - mean if self.center else X), torch.from_numpy(y)[:, None]
        train, val, test = self.split(len(X), stream)
        devices = [] if self.accelerator == "cpu" else range(torch.cuda.device_count())
        with torch.random.fork_rng(devices=devices):  # first weights and dropout draw from torch's own generators
            torch.manual_seed(rng.stream_key(self.seed, f"{stream}/torch") % 2**63)
            net = GradientNet(X.shape[1]).to(self.device())
            epochs = self._fit(net, samples, train, val, stream, progress)
        figures = regression_figures(*predictions(net, samples, test).double().T.numpy())
        weights = {name: value.cpu().numpy() for name, value in net.state_dict().items()}
        weights["fc1.0.bias"] -= weights["fc1.0.weight"] @ mean  # now the net takes vectors as they are
        return weights, figures | {"epochs": epochs}

    def split(self, num: int, stream: str) -> list[np.ndarray]:
        """Numbers of the training, validation and test samples."""
        rows = rng.stream(self.seed, f"{stream}/split").permutation(num)
        held_out = num // 10
        return np.split(rows, [num - 2 * held_out, num - held_out])

    def _fit(
        self, net: GradientNet, samples: Samples, train: np.ndarray, val: np.ndarray, stream: str, progress: tqdm | None
    ) -> int:
        """Leaves a net with the weights of its best epoch; returns how many epochs there were."""
        optimizer = torch.optim.AdamW(net.parameters(), lr=self.lr, fused=True)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, self.decay)
        best_loss, best_epoch, best_state = math.inf, 0, {}
        before = 0 if progress is None else progress.n
        for epoch in range(self.max_epochs):
            net.train()
            order = rng.stream(self.seed, f"{stream}/order", epoch).permutation(train)
            for vectors, scores in batches(samples, order, self.batch_size, self.device()):
                optimizer.zero_grad()
                F.mse_loss(net(vectors), scores, reduction="sum").backward()
                optimizer.step()
            schedule.step()
            loss = mean_loss(net, samples, val)
            if loss < best_loss:
                best_loss, best_epoch = loss, epoch
                best_state = {name: value.clone() for name, value in net.state_dict().items()}
            ends = epoch - best_epoch == self.patience or not math.isfinite(loss)
            if progress is not None:
                last = epoch if ends else min(self.max_epochs - 1, best_epoch + self.patience)
                progress.total = before + last + 1
                progress.update()
            if ends:
                break
        if not best_state:
            raise ValueError(f"the net {stream} has no finite validation loss: lower lr={self.lr}")
        net.load_state_dict(best_state)
        return epoch + 1


def batches(samples: Samples, rows: np.ndarray, size: int, device: torch.device) -> Iterator[Samples]:
    """Batches of some rows of the samples in memory: lighter than a ``DataLoader``, and no copy of all rows."""
    vectors, scores = samples
    for batch in torch.from_numpy(rows).split(size):
        yield vectors[batch].to(device), scores[batch].to(device)


@torch.no_grad()
def mean_loss(net: GradientNet, samples: Samples, rows: np.ndarray) -> float:
    """The mean squared error over some rows, with dropout off."""
    device = net.fc_final.weight.device
    total = torch.zeros((), device=device)
    for vectors, scores in batches(samples, rows, EVALUATION_BATCH, device):
        total += F.mse_loss(net.eval()(vectors), scores) * len(vectors)
    return float(total / len(rows))


@torch.no_grad()
def predictions(net: GradientNet, samples: Samples, rows: np.ndarray) -> Tensor:
    """What a net says of some rows, with dropout off, beside what is right: ``[n, 2]``."""
    found = batches(samples, rows, EVALUATION_BATCH, net.fc_final.weight.device)
    return torch.cat([torch.cat([net.eval()(vectors), scores], dim=1).cpu() for vectors, scores in found])


def regression_figures(predictions: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    """``mse``, ``mae``, ``rmse`` and ``corr`` (Pearson; None where one side is all equal) of predictions ``[n]``."""
    errors = predictions - scores
    mse = float(np.mean(errors**2))
    varied = np.ptp(predictions) > 0 and np.ptp(scores) > 0
    corr = float(np.corrcoef(predictions, scores)[0, 1]) if varied else None
    return {"mse": mse, "mae": float(np.mean(np.abs(errors))), "rmse": math.sqrt(mse), "corr": corr}
