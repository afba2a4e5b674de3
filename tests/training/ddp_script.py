"""Trains a tiny GAN on two CPU processes; each writes what it did to ``{folder}/rank{rank}.pt``."""

import sys
from pathlib import Path

import torch
from pytorch_lightning import Callback

from ohlora_gan.training.callbacks import ExportWeights, GracefulStop, LastCheckpoint
from tests.training.tiny_training import Data, Record, fit, gan


class Write(Callback):
    """Keeps z, losses, data and gradients' sum of every rank."""

    def __init__(self, folder, record):
        self.folder, self.record, self.z = folder, record, []

    def on_train_start(self, trainer, pl_module):
        draw = pl_module.draw_latents
        pl_module.draw_latents = lambda update, n: self.z.append((update, draw(update, n))) or self.z[-1][1]

    def on_train_end(self, trainer, pl_module):
        own = {
            "z": self.z,
            "data": self.record.first_pixels,
            "figures": self.record.figures,
            "steps": self.record.steps,
        }
        own["state"] = self.record.states[-1]
        torch.save(own, self.folder / f"rank{trainer.global_rank}.pt")


class StopOne(Callback):
    """A signal to rank 1 alone, in its third batch."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank == 1 and trainer.global_step == 2:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    record = Record()
    # ratios near the losses, so that the ranks' own losses would often disagree about the number of updates
    module = gan(d_ratio=2.55, g_ratio=0.39, ema_images=20.0, label_source="data", style_mixing=0.5)
    callbacks = [record, StopOne(), GracefulStop(), ExportWeights(folder / "model.safetensors"), Write(folder, record)]
    fit(
        folder,
        module,
        [*callbacks, LastCheckpoint(folder, 100)],
        data=Data(24),
        devices=2,
        strategy="ddp_find_unused_parameters_true",
        use_distributed_sampler=False,
        max_epochs=2,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
