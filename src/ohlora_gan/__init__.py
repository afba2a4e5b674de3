"""Fine-tune a StyleGAN face generator, score facial attributes, find the latent directions that change one thing.

    import ohlora_gan as og

    gan = og.load("v9")                                          # a shipped model, or a file of weights
    faces = gan.sample(200, seed=0)                              # .images, .scores, .codes("w")
    found = gan.find("svm", layer="mapping_split2", n=4000)      # .vectors, .slopes, .save(FILE)
    edit = found.edit(faces[3], eyes=+1, mouth=-0.5)             # in standard deviations of the scores
    own = gan.invert("photo.jpg")                                # a photograph's face, edited like any other
    judged = found.judge(by="judge")                             # .figures, .summary, .html(FILE)

What is named here is the promise; it is loaded at first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ohlora_gan.api import Directions, Edit, Faces, Gan, Inverted, Judged, load
    from ohlora_gan.devices import Device
    from ohlora_gan.directions.base import DirectionFinder
    from ohlora_gan.latents.layers import Layer
    from ohlora_gan.models.gan import Generator
    from ohlora_gan.models.zoo import shipped
    from ohlora_gan.world.truth import Truth

__version__ = "0.1.0"

_ELSEWHERE = {
    "Device": "devices",
    "DirectionFinder": "directions.base",
    "Generator": "models.gan",
    "Layer": "latents.layers",
    "Truth": "world.truth",
    "shipped": "models.zoo",
}
"""Name -> its module, of those that are not in ``api``."""

__all__ = [
    "Device",
    "DirectionFinder",
    "Directions",
    "Edit",
    "Faces",
    "Gan",
    "Generator",
    "Inverted",
    "Judged",
    "Layer",
    "Truth",
    "load",
    "shipped",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(f"ohlora_gan.{_ELSEWHERE.get(name, 'api')}"), name)
    raise AttributeError(f"module 'ohlora_gan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
