"""One interface to the versions of the embedded world."""

import inspect

import numpy as np
import pytest

from ohlora_gan.world import face, painter
from ohlora_gan.world import first_world as faces
from ohlora_gan.world.versions import LATEST, SHIPPED, open_world


@pytest.mark.parametrize(("version", "drawn", "painted"), [(1, faces, faces), (2, face, painter)])
def test_a_world_is_its_own_renderer(version, drawn, painted):
    world = open_world(version)
    attributes = world.sample_attributes(3, 7)
    assert attributes == drawn.sample_attributes(3, 7)
    assert (world.version, world.CONTINUOUS, world.BINARY) == (version, drawn.CONTINUOUS, drawn.BINARY)
    assert world.attributes == (*drawn.CONTINUOUS, *drawn.BINARY)
    picture, codes = world.render_with_parse_map(attributes, 48)
    np.testing.assert_array_equal(picture, painted.render(attributes, 48))
    np.testing.assert_array_equal(picture, world.render(attributes, 48))
    np.testing.assert_array_equal(codes, painted.render_with_parse_map(attributes, 48)[1])
    assert world.standardized("lips", 0.9) == drawn.standardized("lips", 0.9)


def test_the_versions_show_other_faces():
    pictures = []
    for version in (SHIPPED, LATEST):
        world = open_world(version)
        pictures.append(world.render(world.sample_attributes(0, 0), 64))
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 10


@pytest.mark.parametrize("version", [0, 3, "x", True, 1.0, None])
def test_another_version_is_refused(version):
    with pytest.raises(ValueError, match=r"world is .+, expected 1, which the shipped models have learnt from, or 2"):
        open_world(version)


def test_what_takes_a_version_takes_that_of_the_shipped_models():
    from ohlora_gan.data.datamodules import FacesDataModule
    from ohlora_gan.data.datasets import FacesDataset, matching_indices

    for function in (FacesDataModule, FacesDataset, matching_indices):
        assert inspect.signature(function).parameters["world"].default == SHIPPED
