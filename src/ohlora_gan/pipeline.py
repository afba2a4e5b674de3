"""train(cfg) and find_vectors(cfg): instantiate in order, no maths."""

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig

from ohlora_gan.devices import Device, keep_freed_memory


def train(cfg: DictConfig) -> None:
    keep_freed_memory()
    device: Device = instantiate(cfg.device).check()
    data = instantiate(cfg.data)
    module = instantiate(cfg.model.module)
    if device.compile:
        module.compile_networks()
    callbacks = list(instantiate(cfg.callbacks).values())
    loggers = list(instantiate(cfg.logger).values())
    trainer: pl.Trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers, **device.trainer_options())
    trainer.fit(module, datamodule=data, ckpt_path=cfg.ckpt_path)
