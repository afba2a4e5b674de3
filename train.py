"""Trains a model: ``python train.py model=finetune_v9 checkpoint=v1``; ``--help`` lists the keys."""

import hydra
from omegaconf import DictConfig

from ohlora_gan.pipelines.shells import job, run


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@job
def main(cfg: DictConfig) -> object:
    from ohlora_gan.pipelines.train import train  # here, so that --help and errors in keys come at once

    return train(cfg)


if __name__ == "__main__":
    run(main, experiments="train")
