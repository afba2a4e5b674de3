"""The image bank: generated images and what networks say of them, kept on disk to train on.

Like the bank of scores; here the images themselves are wanted again and again, so they are kept.
"""

import io
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ohlora_gan.checkpoint import weights_hash
from ohlora_gan.latents.bank import Bank
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.generator import from_uint8, to_uint8

STREAM = "generated"


class ImageBank(Bank):
    """Images and scores; the scorer of the space may be several networks, a `Panel`.

    Args:
        folder: see `Bank`.
        space: see `Bank`.
        psi: truncation of w toward its average, in all layers; 1 is none.
    """

    num_key, folder_key = "num_generated", "cache_dir"

    def __init__(self, folder: str | Path, space: FaceSpace, psi: float = 1.0):
        identity = {
            "generator": weights_hash(space.generator),
            "scorers": weights_hash(space.scorer),
            "columns": list(space.property_names),
            "seed": space.seed,
            "precision": space.device.precision,
            "psi": psi,
        }
        super().__init__(folder, space, identity)
        self.psi = psi

    def read_shard(self, start: int) -> NDArray[np.float32] | None:
        side = self.space.generator.resolution
        try:
            images = np.load(images_path(self.folder, start), mmap_mode="r", allow_pickle=False)
            with safe_open(self.scores_path(start), framework="numpy") as file:
                scores, checksum = file.get_tensor("scores"), (file.metadata() or {}).get("checksum")
        except (OSError, ValueError, EOFError, SafetensorError):
            return None
        columns = len(self.space.property_names)
        whole = images.shape == (self.shard, side, side, 3) and scores.shape == (self.shard, columns)
        return scores if whole and images.dtype == np.uint8 and checksum == checksum_of(images, scores) else None

    def make_shard(self, start: int) -> NDArray[np.float32]:
        pixels, parts = [], []
        for rendered in self.space.render(W(), self.space.w(STREAM, range(start, start + self.shard), self.psi)):
            kept = to_uint8(rendered)  # what is scored is what is kept
            pixels.append(kept.cpu().numpy())
            parts.append(self.space.score(from_uint8(kept)).cpu().numpy())
        images, scores = np.concatenate(pixels), np.concatenate(parts)
        self.check_finite(scores, start)
        buffer = io.BytesIO()
        np.save(buffer, images, allow_pickle=False)
        self.write(images_path(self.folder, start), buffer.getbuffer())
        # written last: without it the shard is not there
        self.write(self.scores_path(start), save({"scores": scores}, {"checksum": checksum_of(images, scores)}))
        return scores


def images_path(folder: Path, start: int) -> Path:
    return folder / f"images_{start:07d}.npy"


def read_image(folder: Path, index: int) -> NDArray[np.uint8]:
    """The image uint8 [R, R, 3] of a sample that the bank in ``folder`` holds.

    The file is opened anew each time: workers can share it, and thousands of shards need no open files.
    """
    place = index % ImageBank.shard
    return np.array(np.load(images_path(folder, index - place), mmap_mode="r", allow_pickle=False)[place])


def checksum_of(images: NDArray[np.uint8], scores: NDArray[np.float32]) -> str:
    return str(zlib.crc32(scores.tobytes(), zlib.crc32(np.ascontiguousarray(images).data)))
