"""Finds latent directions: ``python find_vectors.py checkpoint=v9 method=svm``; ``--help`` lists the keys."""

import hydra
from omegaconf import DictConfig

from ohlora_gan.pipelines.shells import job, run


@hydra.main(version_base="1.3", config_path="conf", config_name="find_vectors")
@job
def main(cfg: DictConfig) -> object:
    from ohlora_gan.pipelines.find_vectors import find_vectors  # here, so that --help and errors in keys come at once

    return find_vectors(cfg)


if __name__ == "__main__":
    run(main, experiments="vectors")
