"""What every direction finder promises. A new finder class in the package is tested without a change here."""

import importlib
import inspect
import json
import pkgutil

import numpy as np
import pytest

import ohlora_gan.directions
from ohlora_gan.directions.base import DirectionFinder
from ohlora_gan.directions.finders import make_finder, recipe_of
from ohlora_gan.directions.gradient import GradientFinder
from ohlora_gan.directions.groups import group_names, medians
from ohlora_gan.directions.svm import SvmFinder
from ohlora_gan.names import EDITED_PROPERTIES, PROPERTIES
from ohlora_gan.training.gradient_net import NetTrainer
from tests import tiny

NETS = NetTrainer(max_epochs=2, lr=3e-3)
SETTINGS: dict[str, dict] = {
    "GradientFinder": {"train": NETS},
    "MixedFinder": {"finders": {"eyes": GradientFinder(NETS), "mouth": SvmFinder(), "pose": SvmFinder()}},
    # 8 attributes in 6 dimensions cannot all be held
    "RidgeFinder": {"decorrelate": "none"},
    "MeanJacobianFinder": {"decorrelate": "none"},
    "LocalJacobianFinder": {"decorrelate": "none"},
}
"""By class name: settings for small data, where a finder's defaults are too slow for a test."""

SIZE = 6
TRUTH = np.random.default_rng(6).standard_normal((len(PROPERTIES), SIZE))
TRUTH /= np.linalg.norm(TRUTH, axis=1, keepdims=True)


def jacobian(codes: np.ndarray) -> np.ndarray:
    """The derivatives of the linear world: the same everywhere."""
    return np.repeat(TRUTH[None].astype(np.float32), len(codes), axis=0)


def fitted(finder: DirectionFinder, X, scores, groups=None, **more) -> DirectionFinder:
    return finder.fit(X, scores, groups, jacobian=jacobian, **more)


def finder_classes() -> list[type[DirectionFinder]]:
    package = ohlora_gan.directions
    modules = [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, DirectionFinder) and not inspect.isabstract(value)
    }
    return sorted(found, key=lambda c: c.__name__)


@pytest.fixture(params=finder_classes(), ids=lambda c: c.__name__)
def make(request):
    return lambda: request.param(**SETTINGS.get(request.param.__name__, {}))


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, scores that are linear in them, and the edited properties' true unit directions."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((640, SIZE)).astype(np.float32)
    columns = [PROPERTIES.index(name) for name in EDITED_PROPERTIES]
    return X, (X @ TRUTH.T).astype(np.float32), TRUTH[columns]


def groups_of(scores: np.ndarray) -> np.ndarray:
    return np.array([name[0] for name in group_names(scores, medians(scores))])


def test_init_only_stores(make):
    finder = make()
    names = set(inspect.signature(type(finder)).parameters)
    assert set(vars(finder)) == names
    assert not [name for name in vars(finder) if name.endswith("_")]


def test_fit_sets_what_it_promises(make, world):
    X, scores, _ = world
    finder = make()
    assert fitted(finder, X, scores, groups_of(scores)) is finder
    assert finder.directions_.shape == (len(EDITED_PROPERTIES), len(finder.group_names_), SIZE)
    assert finder.directions_.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(finder.directions_, axis=-1), 1, atol=1e-6)
    assert isinstance(finder.metrics_, dict)
    for name in EDITED_PROPERTIES:
        assert any(f"_{name}_" in key for key in finder.metrics_), f"no number tells how well {name} was fitted"


def test_moving_along_a_direction_raises_the_score(make, world):
    X, scores, truth = world
    finder = fitted(make(), X, scores)
    assert finder.group_names_ == ["all"]
    cosines = np.einsum("pgd,pd->pg", finder.directions_, truth)
    assert cosines.min() > 0.8
    at_points = np.stack([finder.direction(x) for x in X[:20]])
    assert np.einsum("npd,pd->np", at_points, truth).min() > 0.5


def test_direction_of_one_latent(make, world):
    X, scores, _ = world
    groups = groups_of(scores)
    finder = fitted(make(), X, scores, groups)
    directions = finder.direction(X[0], str(groups[0]))
    assert directions.shape == (len(EDITED_PROPERTIES), SIZE)
    assert directions.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)


def test_same_seed_same_directions_whatever_the_global_generator(make, world):
    X, scores, _ = world
    np.random.seed(1)  # noqa: NPY002
    one = fitted(make(), X, scores).directions_
    np.random.seed(2)  # noqa: NPY002
    other = fitted(make(), X, scores).directions_
    np.testing.assert_array_equal(one, other)


def test_fit_leaves_its_inputs_alone(make, world):
    X, scores, _ = world
    kept = X.copy(), scores.copy()
    fitted(make(), X, scores)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(scores, kept[1])


def test_progress_reaches_the_total(make, world):
    X, scores, _ = world
    bar = tiny.Bar()
    fitted(make(), X, scores, progress=bar)
    assert bar.n == bar.total > 0


def test_a_finder_of_a_file_gives_the_same_directions(make, world):
    X, scores, _ = world
    groups = groups_of(scores)
    finder = fitted(make(), X, scores, groups)
    recipe = json.loads(json.dumps(recipe_of(finder)))
    restored = make_finder(recipe).restore(
        *(finder.directions_, finder.group_names_, PROPERTIES, EDITED_PROPERTIES, finder.state_), jacobian
    )
    assert type(restored) is type(finder)
    assert restored.pointwise == finder.pointwise
    for x, group in zip(X[:5], groups, strict=False):
        np.testing.assert_allclose(restored.direction(x, group), finder.direction(x, group), atol=1e-6)


def test_what_is_edited_must_be_scored(make, world):
    X, scores, _ = world
    with pytest.raises(ValueError, match="properties to edit: nose, expected some of what the scorer measures"):
        fitted(make(), X, scores, edited=["nose"])


def spoiled(array: np.ndarray, num: int) -> np.ndarray:
    array = array.copy()
    array.flat[:num] = np.nan
    return array


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X, s: (X[0], s, None), "X has shape"),
        (lambda X, s: (X[:0], s[:0], None), "X has shape"),
        (lambda X, s: (X, s[:, :7], None), r"scores have shape \[640, 7\]"),
        (lambda X, s: (X[1:], s, None), "639 samples but scores have 640"),
        (lambda X, s: (spoiled(X, 3), s, None), "X: 3 of"),
        (lambda X, s: (X, spoiled(s, 2), None), "scores: 2 of"),
        (lambda X, s: (X, s, ["a"] * 639), r"groups have shape \[639\]"),
    ],
)
def test_unusable_inputs_are_named(make, world, spoil, message):
    X, scores, _ = world
    with pytest.raises(ValueError, match=message):
        fitted(make(), *spoil(X, scores))


def test_no_direction_before_fit(make):
    with pytest.raises(ValueError, match="call fit first"):
        make().direction(np.zeros(SIZE))


def test_a_vector_of_another_size_is_refused(make, world):
    X, scores, _ = world
    with pytest.raises(ValueError, match=str(SIZE)):
        fitted(make(), X, scores).direction(np.zeros(SIZE + 1))


class PerGroup(DirectionFinder):
    """A finder that has been fitted on two groups."""

    def __init__(self):
        self.directions_ = np.stack([np.eye(3, dtype=np.float32), -np.eye(3, dtype=np.float32)], axis=1)
        self.group_names_ = ["a", "b"]

    def _fit(self, samples):
        """Fitted already."""


def test_a_group_is_looked_up():
    np.testing.assert_array_equal(PerGroup().direction(np.zeros(3), "a"), np.eye(3))
    np.testing.assert_array_equal(PerGroup().direction(np.zeros(3), "b"), -np.eye(3))


@pytest.mark.parametrize("group", [None, "c"])
def test_a_group_that_fit_did_not_see_is_refused(group):
    with pytest.raises(ValueError, match="expected one of a, b"):
        PerGroup().direction(np.zeros(3), group)
