"""The sampling bank: scores of generated images, kept on disk.

The bank stores what is dear, not what is cheap: an image and its scores cost thousands of times what its latent and
vectors cost, so z, label and the vector at any layer are made again from (seed, index) when they are needed. Sample i
depends on (seed, i) alone: a bank of 4,000 is the beginning of one of 240,000, all layers and methods share one bank,
and one that was cut off goes on where it stopped.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ohlora_gan.checkpoint import weights_hash
from ohlora_gan.latents.layers import Layer, W
from ohlora_gan.latents.space import FaceSpace, Progress

STREAM = "bank"
SHARD = 250  # samples a file: what an interrupted run loses at most


class ScoreBank:
    """Scores of samples 0, 1, 2, ... of a face space.

    Args:
        folder: where banks lie; each has a sub-folder named by what determines its numbers (weights, seed, precision).
        space: generator, scorer and their device.
    """

    def __init__(self, folder: str | Path, space: FaceSpace):
        self.space = space
        self.identity = {
            "generator": weights_hash(space.generator),
            "scorer": weights_hash(space.scorer),
            "seed": space.seed,
            "precision": space.device.precision,
            "quantize": space.quantize,
        }
        key = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = Path(folder) / key

    def scores(self, n: int, progress: Progress | None = None) -> np.ndarray:
        """Scores float32 [n, P] of the first n samples; those already on disk are read, the rest is made.

        Raises:
            ValueError: if n is below 1.
        """
        if n < 1:
            raise ValueError(f"n is {n}, expected at least 1")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "bank.json").write_text(json.dumps(self.identity, indent=2))
        parts = []
        for start in range(0, n, SHARD):
            part = self.read_shard(start)
            if part is None:
                part = self.make_shard(start)
            parts.append(part)
            if progress:
                progress(min(start + SHARD, n), n)
        return np.concatenate(parts)[:n]

    def num_stored(self) -> int:
        """Number of samples on disk."""
        return SHARD * len(list(self.folder.glob("scores_*.safetensors")))

    def shard_path(self, start: int) -> Path:
        return self.folder / f"scores_{start:07d}.safetensors"

    def read_shard(self, start: int) -> np.ndarray | None:
        """A shard's scores, or None where it is missing or damaged."""
        try:
            scores = load_file(self.shard_path(start))["scores"].numpy()
        except (FileNotFoundError, SafetensorError, KeyError):
            return None
        shape = (SHARD, len(self.space.property_names))
        return scores if scores.shape == shape and np.isfinite(scores).all() else None

    def make_shard(self, start: int) -> np.ndarray:
        z, label = self.space.latents(STREAM, range(start, start + SHARD))
        layer = W()
        scores = self.space.score_codes(layer, self.space.codes(layer, z, label))
        bad = int((~np.isfinite(scores)).any(axis=1).sum())
        if bad:
            raise ValueError(
                f"{bad} of samples {start} to {start + SHARD - 1} have scores that are not finite: "
                f"check the generator's and the scorer's weights"
            )
        path = self.shard_path(start)
        partial = path.with_suffix(".partial")
        save_file({"scores": torch.from_numpy(scores)}, partial)
        partial.replace(path)
        return scores

    def codes(self, layer: Layer, n: int) -> np.ndarray:
        """Vectors float32 [n, D] of the first n samples at a layer."""
        z, label = self.space.latents(STREAM, range(n))
        return self.space.codes(layer, z, label)
