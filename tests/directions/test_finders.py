"""Finders as plain data, and directions files that can be used on any face."""

import json

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from ohlora_gan.directions.base import Geometry
from ohlora_gan.directions.derivatives import GradientFinder, LocalJacobianFinder, MeanJacobianFinder, MixedFinder
from ohlora_gan.directions.files import (
    DirectionsError,
    DirectionSet,
    load_directions,
    make_finder,
    open_directions,
    recipe_of,
    save_directions,
)
from ohlora_gan.directions.linear import RidgeFinder, SvmFinder
from ohlora_gan.latents.layers import W, WPlus
from ohlora_gan.latents.space import free_jacobian, score_jacobian
from ohlora_gan.registry import FINDERS
from tests.analytic_world import EDITED, NAMES, SIZE, make_world


@pytest.fixture(scope="module")
def bent():
    return make_world(painted=torch.tanh, gain=0.6)


def found_at(world, layer, metric=None):
    """Directions that depend on the face, as ``vector_pipeline`` puts them together."""
    space, free = world.space, layer.free(world.space.generator)
    codes = space.codes(layer, *space.latents("bank", range(30)))
    finder = LocalJacobianFinder(num_jacobians=30, share=0.7, damping=0.01)
    finder.fit(
        *(codes[:, free], space.score_codes(layer, codes)),
        names=NAMES,
        edited=EDITED,
        geometry=Geometry(free_jacobian(space, layer), metric),
    )
    directions = np.zeros((3, 1, codes.shape[1]), dtype=np.float32)
    directions[..., free] = finder.directions_
    return DirectionSet(
        directions,
        ["all"],
        layer.name,
        "local_jacobian",
        properties=EDITED,
        slopes=[[1.0], [2.0], [3.0]],
        spreads=[[0.1], [0.2], [0.3]],
        names=NAMES,
        finder=finder,
        recipe=recipe_of(finder),
        state=finder.state_,
        free=None if free.stop - free.start == codes.shape[1] else (free.start, free.stop),
    )


def test_a_recipe_is_plain_and_makes_the_finder_again():
    finders = [
        RidgeFinder(decorrelate=OmegaConf.create(["hair"]), alphas=OmegaConf.create([0.5]), damping=0.25),
        MeanJacobianFinder(num_jacobians=7, decorrelate="none", steadiness=0.5),
        LocalJacobianFinder(share=0.3),
        SvmFinder(C=3.0, seed=4),
        GradientFinder(train=lambda *_: ({}, {})),
        MixedFinder({"eyes": GradientFinder(), "pose": SvmFinder(ratio=0.1)}),
    ]
    assert {type(finder).__name__ for finder in finders} == set(FINDERS.ours)
    for finder in finders:
        recipe = json.loads(json.dumps(recipe_of(finder)))
        again = make_finder(recipe)
        assert type(again) is type(finder)
        assert recipe_of(again) == recipe_of(finder) or isinstance(finder, GradientFinder)
    again = make_finder(recipe_of(finders[0]))
    assert (again.decorrelate, again.alphas, again.damping) == (["hair"], [0.5], 0.25)
    assert make_finder(recipe_of(finders[4])).train is None  # a function that trains is in no file
    assert make_finder(recipe_of(finders[5])).finders["pose"].ratio == 0.1


@pytest.mark.parametrize("name", ["Popen", "subprocess.Popen", "DirectionFinder", None])
def test_nothing_but_finders_is_made_of_a_file(name):
    with pytest.raises(DirectionsError, match=f"the finder '{name}' is not known, expected one of SvmFinder"):
        make_finder({"class": name, "settings": {}})
    with pytest.raises(DirectionsError, match="expected one of SvmFinder"):
        make_finder({"class": "MixedFinder", "settings": {"finders": {"eyes": {"class": name, "settings": {}}}}})


@pytest.mark.parametrize("layer", [W(), WPlus(), WPlus(1, 1)], ids=lambda layer: layer.name)
@pytest.mark.parametrize("with_metric", [False, True])
def test_a_file_gives_every_face_the_same_directions(bent, tmp_path, layer, with_metric):
    free = layer.free(bent.space.generator)
    metric = np.diag(np.linspace(1, 3, free.stop - free.start)) if with_metric else None
    found = found_at(bent, layer, metric)
    opened = open_directions(save_directions(tmp_path / "vectors.safetensors", found), bent.space, layer)
    assert (opened.names, opened.properties, opened.free) == (found.names, found.properties, found.free)
    np.testing.assert_array_equal(opened.slopes, np.float32([[1], [2], [3]]))
    np.testing.assert_array_equal(opened.spreads, np.float32([[0.1], [0.2], [0.3]]))
    np.testing.assert_allclose(opened.steps([[1.0, 1.0, 1.0]]), [[1, 1 / 2, 1 / 3]])
    faces = bent.space.codes(layer, *bent.space.latents("test", range(4)))
    for x in faces:
        directions = opened.direction(x)
        np.testing.assert_allclose(directions, found.direction(x), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-5)
        assert not np.delete(directions, np.r_[free], axis=1).any()
    assert np.abs(opened.direction(faces[0]) - opened.direction(faces[1])).max() > 1e-3


def test_directions_that_depend_on_the_face_need_their_finder(bent, tmp_path):
    path = save_directions(tmp_path / "vectors.safetensors", found_at(bent, W()))
    with pytest.raises(DirectionsError, match="depend on the face: open them with open_directions"):
        load_directions(path).direction(np.zeros(SIZE))


def test_directions_that_do_not_are_opened_as_they_are(bent, tmp_path):
    rows = np.eye(SIZE)[:3, None]
    path = save_directions(tmp_path / "vectors.safetensors", DirectionSet(rows, ["all"], "w", "ridge"))
    opened = open_directions(path, bent.space, W())
    assert opened.finder is None
    np.testing.assert_array_equal(opened.direction(np.zeros(SIZE)), rows[:, 0])


def test_a_file_of_another_layer_or_class_is_refused(bent, tmp_path):
    found = found_at(bent, W())
    path = save_directions(tmp_path / "vectors.safetensors", found)
    with pytest.raises(DirectionsError, match=r"holds directions of 16 values, layer wplus .* has 32: give a"):
        open_directions(path, bent.space, WPlus())
    found.recipe = {"class": "os.system", "settings": {}}
    save_directions(path, found)
    with pytest.raises(DirectionsError, match=r"the finder 'os\.system' is not known, expected one of"):
        open_directions(path, bent.space, W())


def test_finders_see_the_derivatives_of_what_may_be_moved(bent):
    layer = WPlus(1, 1)
    space, free = bent.space, layer.free(bent.space.generator)
    codes = space.codes(layer, *space.latents("bank", range(3)))
    found = free_jacobian(space, layer)(codes[:, free])
    np.testing.assert_allclose(found, score_jacobian(space, layer, codes)[1][..., SIZE:], atol=1e-5)
    assert found.shape == (3, len(NAMES), SIZE)
