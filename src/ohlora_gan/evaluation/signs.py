"""Which way directions of unknown sign point: measured on a generator by a scorer."""

from dataclasses import replace

import numpy as np

from ohlora_gan.directions.storage import DirectionSet
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import CHOOSE, FaceSpace, Progress

CLEAR = 2.0  # a response is clear from so many standard errors on


def measure_response(
    space: FaceSpace, layer: Layer, found: DirectionSet, num_latents: int = 64, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How much the own score of each direction rises along it, from one standard deviation behind to one ahead.

    The standard deviation is that of the latents' vectors along the direction, so that the step is of the size of
    natural differences at any layer.

    Args:
        space: generator and scorer; its seed decides the latents.
        layer: the layer of the directions.
        found: directions whose properties the scorer measures.
        num_latents: latents of the stream "choose", at least 2.
        progress: told how many of the k x G directions are done.

    Returns:
        Mean score difference over latents and its standard error, float64 ``[k, G]`` each.

    Raises:
        ValueError: for too few latents, or a property that is not scored.
    """
    if num_latents < 2:
        raise ValueError(f"num_latents is {num_latents}, expected at least 2")
    unknown = [name for name in found.properties if name not in space.property_names]
    if unknown:
        raise ValueError(
            f"the scorer does not measure {', '.join(unknown)} but {', '.join(space.property_names)}: give another "
            f"scorer, or say what the sign is, up or down"
        )
    codes = space.codes(layer, *space.latents(CHOOSE, range(num_latents)))
    rises = np.empty((*found.directions.shape[:2], num_latents))
    for done, (i, j) in enumerate(np.ndindex(*rises.shape[:2]), start=1):
        direction = found.directions[i, j]
        step = (codes @ direction).std() * direction
        scores = space.score_codes(layer, np.concatenate([codes + step, codes - step]))
        own = scores[:, space.property_names.index(found.properties[i])].astype(np.float64)
        rises[i, j] = own[:num_latents] - own[num_latents:]
        if progress:
            progress(done, rises.shape[0] * rises.shape[1])
    return rises.mean(axis=2), rises.std(axis=2, ddof=1) / np.sqrt(num_latents)


def turn_up(
    space: FaceSpace, layer: Layer, found: DirectionSet, num_latents: int = 64, progress: Progress | None = None
) -> tuple[DirectionSet, str]:
    """Turns every direction so that its own score rises along it; see ``measure_response``.

    Returns:
        The turned directions, and a sentence: how many were turned, and how many have no clear response.
    """
    response, error = measure_response(space, layer, found, num_latents, progress)
    falls = response < 0
    unclear = np.count_nonzero(np.abs(response) < CLEAR * error)
    said = f"{np.count_nonzero(falls)} of {falls.size} directions turned, by their response on {num_latents} latents"
    if unclear:
        said += f"; {unclear} have no response clear of chance, so that their sign says little"
    turned = np.where(falls[..., None], -found.directions, found.directions)
    provenance = found.provenance | {"sign_response": np.abs(response).tolist(), "sign_response_error": error.tolist()}
    return replace(found, directions=turned, provenance=provenance), said
