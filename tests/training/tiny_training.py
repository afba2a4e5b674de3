"""What the tests of training share: a tiny GAN, random data, a silent trainer."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch.utils.data import TensorDataset

from ohlora_gan import rng
from ohlora_gan.data.datamodules import EpochSampler, ResumableLoader
from ohlora_gan.training.gan import GanModule
from tests import tiny

BATCH = 4


def gan(label_dim=7, **options):
    """A `GanModule` that trains up to 8x8, so that each network has frozen parameters."""
    networks = tiny.generator(label_dim), tiny.discriminator(label_dim)
    defaults = {"generator_resolution": 8, "discriminator_resolution": 8, "lr": 1e-3}
    return GanModule(*networks, **(defaults | options))


def dataset(num_images=12):
    """Random images [num_images, 3, 32, 32] and scores [num_images, 8]; image i's first pixel is i / 100."""
    images = rng.normal(0, "test/images", range(num_images), (3, 32, 32)).clamp(-1, 1)
    images[:, 0, 0, 0] = torch.arange(num_images) / 100
    return TensorDataset(images, rng.normal(0, "test/scores", range(num_images), 8))


class Data(pl.LightningDataModule):
    """Three batches an epoch, in an order of its own each epoch; ``latents`` numbers stand for each image."""

    def __init__(self, num_images=12, latents=None):
        super().__init__()
        self.num_images, self.latents = num_images, latents

    def train_dataloader(self):
        rank, world = self.trainer.global_rank, self.trainer.world_size
        images = dataset(self.num_images)
        if self.latents:
            images.tensors += (rng.normal(0, "test/latents", range(self.num_images), self.latents),)
        return ResumableLoader(images, BATCH, EpochSampler(self.num_images, 0, rank, world))


def trainer(folder, callbacks=(), **options):
    defaults = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    return pl.Trainer(default_root_dir=folder, callbacks=list(callbacks), **(defaults | options))


def fit(folder, module, callbacks=(), data=None, ckpt_path=None, **options):
    """Trains and returns the trainer."""
    used = trainer(folder, callbacks, **options)
    used.fit(module, datamodule=data or Data(), ckpt_path=ckpt_path)
    return used


def state(module):
    """A copy of a module's state."""
    return {name: value.clone() for name, value in module.state_dict().items()}


class Record(pl.Callback):
    """Keeps every batch's images, state and logged figures."""

    def __init__(self):
        self.first_pixels, self.states, self.figures, self.steps = [], [], [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.first_pixels.append((batch[0][:, 0, 0, 0] * 100).round().int().tolist())
        self.states.append(state(pl_module))
        self.figures.append({name: float(value) for name, value in trainer.callback_metrics.items()})
        self.steps.append(trainer.global_step)
