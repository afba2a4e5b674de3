"""The latents that faces stand for: normal, decided by the attributes, and no attribute an axis."""

from statistics import NormalDist

import numpy as np
import pytest

from ohlora_gan.world.face import ATTRIBUTES, attribute_shares, sample_attributes
from ohlora_gan.world.latents import _basis, latent, twisted

SIZE, Z_DIM = 4000, 40


@pytest.fixture(scope="module")
def latents():
    return np.stack([latent(3, index, Z_DIM) for index in range(SIZE)])


@pytest.fixture(scope="module")
def normals():
    return np.array([[NormalDist().inv_cdf(s) for s in attribute_shares(3, index)] for index in range(SIZE)])


def test_they_are_standard_normal(latents):
    assert latents.dtype == np.float32
    assert abs(latents.mean(0)).max() < 0.08
    assert abs(np.cov(latents.T) - np.eye(Z_DIM)).max() < 0.12
    kurtosis = (latents**4).mean(0) / (latents**2).mean(0) ** 2
    assert abs(kurtosis - 3).max() < 0.6


def test_they_depend_on_the_face_alone(latents):
    assert np.array_equal(latent(3, 7, Z_DIM), latents[7])
    assert not np.allclose(latent(4, 7, Z_DIM), latents[7])


def test_what_decides_the_attributes_lies_in_a_subspace(latents, normals):
    inside = latents @ _basis(Z_DIM, "subspace")[: len(ATTRIBUTES)].T
    assert np.allclose(inside, [twisted(row) for row in normals], atol=1e-5)


def test_a_line_reads_most_of_an_attribute_and_not_all(latents, normals):
    half = SIZE // 2
    fit = np.linalg.lstsq(latents[:half], normals[:half], rcond=None)[0]
    r2 = 1 - ((normals - latents @ fit)[half:] ** 2).mean(0)
    assert r2.min() > 0.75
    assert r2.max() < 0.93


def test_shares_are_the_attributes_ranks():
    face, shares = sample_attributes(3, 5), attribute_shares(3, 5)
    assert face.eyes == pytest.approx(shares[ATTRIBUTES.index("eyes")])
    assert face.pose == pytest.approx(2 * shares[ATTRIBUTES.index("pose")] - 1)


def test_a_value_that_all_faces_share_decides_nothing(latents):
    women = [index for index in range(SIZE) if sample_attributes(3, index).gender == 1]
    kept = np.stack([latent(3, index, Z_DIM, ["gender"]) for index in women])
    assert abs(np.cov(kept.T) - np.eye(Z_DIM)).max() < 0.15
    assert abs(kept.mean(0)).max() < 0.1
    assert abs(latents[women].mean(0)).max() > 0.2  # theirs among all faces lie on one side
    others = [name for name in ATTRIBUTES if name != "gender"]
    ranks = np.array(
        [[NormalDist().inv_cdf(attribute_shares(3, i)[ATTRIBUTES.index(n)]) for n in others] for i in women]
    )
    fit = np.linalg.lstsq(kept, ranks, rcond=None)[0]
    assert (1 - ((ranks - kept @ fit) ** 2).mean(0)).min() > 0.75


def test_too_few_dimensions_are_refused():
    with pytest.raises(ValueError, match="z_dim is 27, expected at least 28"):
        latent(0, 0, 27)
