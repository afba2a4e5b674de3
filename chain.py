"""Runs every stage from pictures to directions: ``python chain.py scale=smoke``; ``--help`` lists the keys."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from ohlora_gan.errors import environment, job, run


@hydra.main(version_base="1.3", config_path="conf", config_name="chain")
@job
def main(cfg: DictConfig) -> object:
    from ohlora_gan.pipelines.chain import run_chain  # here, so that --help and errors in keys come at once

    return run_chain(cfg, Path(__file__).resolve().parent, environment())


if __name__ == "__main__":
    run(main, interrupted="interrupted; the same command goes on from here")
