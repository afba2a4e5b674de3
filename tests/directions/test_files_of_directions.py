import numpy as np
import pytest

from ohlora_gan.directions.base import all_group_names
from ohlora_gan.directions.files import DirectionsError, DirectionSet, load_directions, save_directions


def unit(shape):
    values = np.random.default_rng(0).standard_normal(shape)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def test_round_trip(tmp_path):
    found = DirectionSet(unit((3, 16, 12)), all_group_names(), "w", "svm", {"hair_color": 0.5}, {"seed": 0})
    loaded = load_directions(save_directions(tmp_path / "vectors.safetensors", found))
    assert np.array_equal(loaded.directions, found.directions)
    assert (loaded.group_names, loaded.layer, loaded.method) == (found.group_names, "w", "svm")
    assert (loaded.medians, loaded.provenance) == ({"hair_color": 0.5}, {"seed": 0})
    assert np.array_equal(loaded.direction(np.zeros(12), "hhhl"), found.directions[:, 1])


def test_the_file_says_which_properties_its_directions_change(tmp_path):
    found = DirectionSet(unit((1, 1, 12)), ["all"], "w", "svm", properties=("lip_color",))
    assert load_directions(save_directions(tmp_path / "one.safetensors", found)).properties == ("lip_color",)
    found = DirectionSet(unit((3, 1, 12)), ["all"], "w", "svm")
    assert load_directions(save_directions(tmp_path / "x.safetensors", found)).properties == ("eyes", "mouth", "pose")


def test_ungrouped_directions_serve_every_latent():
    found = DirectionSet(unit((3, 1, 12)), ["all"], "w", "svm")
    assert np.array_equal(found.direction(np.zeros(12), "llll"), found.directions[:, 0])


def test_slopes_turn_sigmas_into_lengths(tmp_path):
    slopes = np.array([[0.5, 1.0], [2.0, 4.0], [1.0, 1.0]])
    found = DirectionSet(unit((3, 2, 12)), ["h", "l"], "w", "svm", {"hair": 0.1}, slopes=slopes, spreads=slopes / 10)
    loaded = load_directions(save_directions(tmp_path / "vectors.safetensors", found))
    assert np.array_equal(loaded.slopes, found.slopes)
    assert np.array_equal(loaded.spreads, found.spreads)
    assert loaded.slopes.dtype == np.float32
    np.testing.assert_allclose(loaded.steps([[1, 1, 1], [-2, 0, 3]], "h"), [[2, 0.5, 1], [-4, 0, 3]])
    np.testing.assert_allclose(loaded.steps([[1, 1, 1]], "l"), [[1, 0.25, 1]])
    with pytest.raises(DirectionsError, match="group 'x' has no directions"):
        loaded.steps([[1, 1, 1]], "x")
    with pytest.raises(DirectionsError, match="slopes are not known: calibrate them"):
        DirectionSet(unit((3, 1, 12)), ["all"], "w", "svm").steps([[1, 1, 1]])


@pytest.mark.parametrize("slopes", [[[1.0], [2.0]], [[1.0], [0.0], [1.0]], [[1.0], [-1], [1]], [[1], [np.nan], [1]]])
def test_slopes_are_positive_numbers_one_a_direction(slopes):
    with pytest.raises(DirectionsError, match="slopes are not 3 x 1 numbers above 0: calibrate them anew"):
        DirectionSet(unit((3, 1, 12)), ["all"], "w", "svm", slopes=slopes)


def test_what_a_finder_needs_is_kept(tmp_path):
    recipe = {"class": "LocalJacobianFinder", "settings": {"share": 0.5, "decorrelate": ["hair"], "damping": None}}
    state = {"mean": np.arange(6, dtype=np.float32).reshape(2, 3), "eyes.fc1.0.weight": np.ones(4, np.float32)}
    needed = {"names": ("eyes", "hair"), "recipe": recipe, "state": state, "free": (4, 8)}
    found = DirectionSet(unit((3, 1, 12)), ["all"], "wplus_1_1", "local_jacobian", **needed)
    loaded = load_directions(save_directions(tmp_path / "vectors.safetensors", found))
    assert (loaded.names, loaded.recipe, loaded.free) == (("eyes", "hair"), recipe, (4, 8))
    assert sorted(loaded.state) == sorted(state)
    assert all(np.array_equal(loaded.state[name], value) for name, value in state.items())
    with pytest.raises(DirectionsError, match="depend on the face: open them with open_directions"):
        loaded.direction(np.zeros(12))


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(DirectionsError, match="unit length"):
        DirectionSet(2 * unit((3, 1, 12)), ["all"], "w", "svm")
    with pytest.raises(DirectionsError, match="unit length"):
        DirectionSet(np.full((3, 1, 12), np.nan), ["all"], "w", "svm")
    with pytest.raises(DirectionsError, match="shape"):
        DirectionSet(unit((2, 1, 12)), ["all"], "w", "svm")
    with pytest.raises(DirectionsError, match="does not exist"):
        load_directions(tmp_path / "none.safetensors")
    path = save_directions(tmp_path / "x.safetensors", DirectionSet(unit((3, 16, 12)), all_group_names(), "w", "svm"))
    with pytest.raises(DirectionsError, match="'xxxx' has no directions"):
        load_directions(path).direction(np.zeros(12), "xxxx")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DirectionsError, match="cut off"):
        load_directions(path)
