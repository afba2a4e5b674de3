"""What every finder and every layer promises, as tests to run on one's own (they need pytest).

A class that derives from a contract, and says what is to be tested, is a test class::

    from ohlora_gan.testing import FinderContract, LayerContract

    class TestMyFinder(FinderContract):
        @pytest.fixture
        def make(self):
            return MyFinder

    class TestMyLayer(LayerContract):
        @pytest.fixture
        def layer(self):
            return MyLayer()
"""

import inspect
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ohlora_gan.directions.base import DirectionFinder, Geometry, group_names, medians
from ohlora_gan.directions.files import make_finder, recipe_of
from ohlora_gan.latents.layers import Layer, layer_named
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.gan import Generator
from ohlora_gan.models.scorers import SmallPropertyCNN
from ohlora_gan.names import EDITED_PROPERTIES, PROPERTIES

SIZE = 6
"""Values of the vectors that finders are tested on: too few to hold all eight scores at once."""

Make = Callable[[], DirectionFinder]
World = tuple[np.ndarray, np.ndarray, np.ndarray]


class Bar:
    """Stands for a progress bar, and remembers what it has shown: ``calls`` of (done, total)."""

    def __init__(self, total: int = 0) -> None:
        self.n, self.total = 0, total
        self.calls: list[tuple[int, int]] = []

    def update(self, n: int = 1) -> None:
        self.n += n
        self.calls.append((self.n, self.total))


def linear_truth() -> np.ndarray:
    """The unit directions ``[P, SIZE]`` along which the scores of the contract's world rise."""
    rows = np.random.default_rng(6).standard_normal((len(PROPERTIES), SIZE))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def linear_jacobian(codes: np.ndarray) -> np.ndarray:
    """The derivatives ``[m, P, SIZE]`` of the scores of the contract's world: the same everywhere."""
    return np.repeat(linear_truth()[None].astype(np.float32), len(codes), axis=0)


def fitted(finder: DirectionFinder, X: Any, scores: Any, groups: Any = None, **more: Any) -> DirectionFinder:
    return finder.fit(X, scores, groups, geometry=Geometry(linear_jacobian), **more)


def groups_of(scores: np.ndarray) -> np.ndarray:
    """Two groups, of high and of low scores: ``[n]``."""
    return np.array([name[0] for name in group_names(scores, medians(scores))])


def spoiled(array: np.ndarray, num: int) -> np.ndarray:
    """A copy whose first ``num`` values are not finite."""
    array = array.copy()
    array.flat[:num] = np.nan
    return array


UNUSABLE: list[tuple[Callable[[Any, Any], tuple[Any, Any, Any]], str]] = [
    (lambda X, s: (X[0], s, None), "X has shape"),
    (lambda X, s: (X[:0], s[:0], None), "X has shape"),
    (lambda X, s: (X, s[:, :7], None), r"scores have shape \[640, 7\]"),
    (lambda X, s: (X[1:], s, None), "639 samples but scores have 640"),
    (lambda X, s: (spoiled(X, 3), s, None), "X: 3 of"),
    (lambda X, s: (X, spoiled(s, 2), None), "scores: 2 of"),
    (lambda X, s: (X, s, ["a"] * 639), r"groups have shape \[639\]"),
]
"""Inputs that no finder may take, and what it says."""


class FinderContract:
    """What every direction finder promises; ``make`` gives a new, unfitted one, with settings for small data."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError("give a fixture make: what makes the finder")

    @pytest.fixture
    def linear(self) -> World:
        """Vectors, scores that are linear in them, and the edited properties' true unit directions."""
        truth = linear_truth()
        X = np.random.default_rng(5).standard_normal((640, SIZE)).astype(np.float32)
        return X, (X @ truth.T).astype(np.float32), truth[[PROPERTIES.index(name) for name in EDITED_PROPERTIES]]

    def test_init_only_stores(self, make: Make) -> None:
        finder = make()
        assert set(vars(finder)) == set(inspect.signature(type(finder)).parameters)
        assert not [name for name in vars(finder) if name.endswith("_")]

    def test_fit_sets_what_it_promises(self, make: Make, linear: World) -> None:
        X, scores, _ = linear
        finder = make()
        assert fitted(finder, X, scores, groups_of(scores)) is finder
        assert finder.directions_.shape == (len(EDITED_PROPERTIES), len(finder.group_names_), SIZE)
        assert finder.directions_.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(finder.directions_, axis=-1), 1, atol=1e-6)
        assert isinstance(finder.metrics_, dict)
        for name in EDITED_PROPERTIES:
            assert any(f"_{name}_" in key for key in finder.metrics_), f"no number tells how well {name} was fitted"

    def test_moving_along_a_direction_raises_the_score(self, make: Make, linear: World) -> None:
        X, scores, truth = linear
        finder = fitted(make(), X, scores)
        assert finder.group_names_ == ["all"]
        assert np.einsum("pgd,pd->pg", finder.directions_, truth).min() > 0.8
        at_points = np.stack([finder.direction(x) for x in X[:20]])
        assert np.einsum("npd,pd->np", at_points, truth).min() > 0.5

    def test_direction_of_one_latent(self, make: Make, linear: World) -> None:
        X, scores, _ = linear
        groups = groups_of(scores)
        directions = fitted(make(), X, scores, groups).direction(X[0], str(groups[0]))
        assert directions.shape == (len(EDITED_PROPERTIES), SIZE)
        assert directions.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)

    def test_same_seed_same_directions_whatever_the_global_generator(self, make: Make, linear: World) -> None:
        X, scores, _ = linear
        np.random.seed(1)  # noqa: NPY002
        one = fitted(make(), X, scores).directions_
        np.random.seed(2)  # noqa: NPY002
        np.testing.assert_array_equal(one, fitted(make(), X, scores).directions_)

    def test_fit_leaves_its_inputs_alone(self, make: Make, linear: World) -> None:
        X, scores, _ = linear
        kept = X.copy(), scores.copy()
        fitted(make(), X, scores)
        np.testing.assert_array_equal(X, kept[0])
        np.testing.assert_array_equal(scores, kept[1])

    def test_progress_reaches_the_total(self, make: Make, linear: World) -> None:
        bar = Bar()
        fitted(make(), *linear[:2], progress=bar)
        assert bar.n == bar.total > 0

    def test_a_finder_of_a_file_gives_the_same_directions(self, make: Make, linear: World) -> None:
        X, scores, _ = linear
        groups = groups_of(scores)
        finder = fitted(make(), X, scores, groups)
        restored = make_finder(json.loads(json.dumps(recipe_of(finder)))).restore(
            *(finder.directions_, finder.group_names_, PROPERTIES, EDITED_PROPERTIES, finder.state_), linear_jacobian
        )
        assert type(restored) is type(finder)
        assert restored.pointwise == finder.pointwise
        for x, group in zip(X[:5], groups, strict=False):
            np.testing.assert_allclose(restored.direction(x, group), finder.direction(x, group), atol=1e-6)

    def test_what_is_edited_must_be_scored(self, make: Make, linear: World) -> None:
        with pytest.raises(ValueError, match="properties to edit: nose, expected some of what the scorer measures"):
            fitted(make(), *linear[:2], edited=["nose"])

    @pytest.mark.parametrize(("spoil", "message"), UNUSABLE)
    def test_unusable_inputs_are_named(self, make: Make, linear: World, spoil: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            fitted(make(), *spoil(*linear[:2]))

    def test_no_direction_before_fit(self, make: Make) -> None:
        with pytest.raises(ValueError, match="call fit first"):
            make().direction(np.zeros(SIZE))

    def test_a_vector_of_another_size_is_refused(self, make: Make, linear: World) -> None:
        with pytest.raises(ValueError, match=str(SIZE)):
            fitted(make(), *linear[:2]).direction(np.zeros(SIZE + 1))


class LayerContract:
    """What every layer promises; ``layer`` is the one to test, ``space`` a generator that has it, with any scorer."""

    @pytest.fixture
    def layer(self) -> Layer:
        raise NotImplementedError("give a fixture layer: the layer to test")

    @pytest.fixture
    def space(self) -> FaceSpace:
        """A conditional generator with a split mapping, of 32x32 pictures, z and w of 16 values."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            generator = Generator(
                resolution=32, z_dim=16, w_dim=16, mapping_dim=16, label_dim=7, split_mapping=True, fmaps=[8, 8, 8, 8]
            )
            return FaceSpace(generator, SmallPropertyCNN(width=4, resolution=32), batch_size=8)

    def test_codes_have_the_size_that_it_says(self, layer: Layer, space: FaceSpace) -> None:
        codes = space.codes(layer, *space.latents("test", range(5)))
        assert codes.shape == (5, layer.size(space.generator))
        free = layer.free(space.generator)
        assert 0 <= free.start < free.stop <= layer.size(space.generator)

    def test_unmoved_codes_give_the_generators_own_image(self, layer: Layer, space: FaceSpace) -> None:
        z, label = space.latents("test", range(5))
        images = torch.cat(list(space.render(layer, space.codes(layer, z, label))))
        with torch.no_grad():
            torch.testing.assert_close(images, space.generator(z, label), rtol=0, atol=1e-5)

    def test_the_free_values_of_unedited_codes_give_the_others(self, layer: Layer, space: FaceSpace) -> None:
        codes = space.codes(layer, *space.latents("test", range(3)))
        np.testing.assert_allclose(layer.whole(space.generator, codes[:, layer.free(space.generator)]), codes)

    def test_an_edit_changes_the_image(self, layer: Layer, space: FaceSpace) -> None:
        codes = space.codes(layer, *space.latents("test", range(2)))
        moved = codes.copy()
        moved[:, layer.free(space.generator)] += 1.0
        assert np.abs(space.score_codes(layer, moved) - space.score_codes(layer, codes)).max() > 0

    def test_it_is_found_by_its_name(self, layer: Layer) -> None:
        found = layer_named(layer.name)
        assert type(found) is type(layer)
        assert vars(found) == vars(layer)
        assert found.name == layer.name
