"""How a training is doing: learning rates, gradient norms, images a second, memory, for the loggers."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from ohlora_gan.training.callbacks import check_positive
from ohlora_gan.training.gan import GanModule

NAMES = ("g", "d")
"""Of a GAN's optimizers, in their order."""


def memory_in_use(device: torch.device) -> dict[str, float]:
    """The most memory that was in use so far, in MB: ``memory/gpu_mb`` of a GPU, ``memory/mb`` of the process."""
    found = {}
    if device.type == "cuda":
        found["memory/gpu_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform != "win32":
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10  # what the system counts in
        found["memory/mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return found


class Vitals(Callback):
    """Logs every ``every_n_batches``, on rank zero: ``lr/g``, ``gradient_norm/g``, ``speed/images_per_second``,
    ``memory/mb``; of a training with one optimizer ``lr/net`` and ``gradient_norm/net``.

    Norms are of the first update of such a batch, over all parameters of an optimizer, before clipping.
    """

    def __init__(self, every_n_batches: int = 10):
        check_positive(every_n_batches=every_n_batches)
        self.every_n_batches = every_n_batches
        self._norms: dict[str, float] = {}
        self._images, self._since = 0, 0.0

    @staticmethod
    def name_of(trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> str:
        """What an optimizer is called."""
        if not isinstance(pl_module, GanModule):
            return "net"
        return NAMES[next(i for i, one in enumerate(trainer.optimizers) if one is optimizer)]

    def is_due(self, trainer: pl.Trainer, step: int) -> bool:
        return trainer.is_global_zero and bool(trainer.loggers) and step % self.every_n_batches == 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._images, self._since = 0, time.monotonic()

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        optimizer = getattr(optimizer, "optimizer", optimizer)  # Lightning's wrapper
        name = self.name_of(trainer, pl_module, optimizer)
        if not self.is_due(trainer, trainer.global_step + 1) or name in self._norms:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if gradients:
            norms = torch.stack([gradient.detach().float().norm() for gradient in gradients])
            self._norms[name] = float(norms.norm())

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch[0]) * trainer.world_size
        if not self.is_due(trainer, trainer.global_step):
            return
        now = time.monotonic()
        found = {f"gradient_norm/{name}": norm for name, norm in self._norms.items()}
        for optimizer in trainer.optimizers:
            name = self.name_of(trainer, pl_module, optimizer)
            found[f"lr/{name}"] = float(optimizer.param_groups[-1]["lr"])
        found |= {"speed/images_per_second": self._images / max(now - self._since, 1e-9)}
        found |= memory_in_use(pl_module.device)
        self._norms, self._images, self._since = {}, 0, now
        for logger in trainer.loggers:
            logger.log_metrics(found, trainer.global_step)
