"""Steps that change one score and leave others: against closed forms, and where they are ill-posed."""

import numpy as np
import pytest

from ohlora_gan.directions.base import Costs, held_names, steps

NAMES = ("eyes", "mouth", "pose", "hair")
SIZE = 7


@pytest.fixture
def response():
    return np.random.default_rng(2).standard_normal((len(NAMES), SIZE)) + 1.0


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_it_is_interfacegans_conditional_projection(response):
    """n1 - N2^T (N2 N2^T)^-1 N2 n1, which for one condition is n1 - (n1 . n2) n2 of unit normals."""
    found = steps(response, NAMES, NAMES, "all")
    for i, normal in enumerate(unit(response)):
        others = np.delete(unit(response), i, axis=0)
        projected = normal - others.T @ np.linalg.solve(others @ others.T, others @ normal)
        np.testing.assert_allclose(found[i], unit(projected), atol=1e-12)
    (one,) = steps(response, NAMES, ["eyes"], ["hair"])
    n1, n2 = unit(response)[[0, 3]]
    np.testing.assert_allclose(one, unit(n1 - (n1 @ n2) * n2), atol=1e-12)


def test_all_is_the_pseudo_inverse_and_none_the_rows(response):
    np.testing.assert_allclose(steps(response, NAMES, NAMES, "all"), unit(np.linalg.pinv(response).T), atol=1e-12)
    np.testing.assert_allclose(steps(response, NAMES, ["pose", "eyes"], "none"), unit(response[[2, 0]]), atol=1e-12)


def test_with_a_metric_the_step_is_the_cheapest(response):
    """Against the saddle point of the constrained problem, and against other steps with the same effect."""
    rng = np.random.default_rng(4)
    root = rng.standard_normal((SIZE, SIZE))
    metric = root @ root.T + 0.1 * np.eye(SIZE)
    found = steps(response, NAMES, ["mouth"], "all", Costs(metric, SIZE))[0]
    target = np.array([0.0, 1.0, 0.0, 0.0])
    saddle = np.block([[metric, response.T], [response, np.zeros((4, 4))]])
    cheapest = np.linalg.solve(saddle, np.concatenate([np.zeros(SIZE), target]))[:SIZE]
    np.testing.assert_allclose(found, unit(cheapest), atol=1e-9)
    free = np.linalg.svd(response)[2][4:]  # moves no score
    others = cheapest + rng.standard_normal((200, len(free))) @ free
    assert np.einsum("nd,de,ne->n", others, metric, others).min() > cheapest @ metric @ cheapest


def test_many_responses_at_once_are_as_one_at_a_time(response):
    many = np.stack([response, response[::-1], 2 * response + 1])
    costs = Costs(np.diag(np.arange(1.0, SIZE + 1)), SIZE)
    found = steps(many, NAMES, ["eyes", "hair"], "all", costs, damping=0.1)
    assert found.shape == (3, 2, SIZE)
    for one, own in zip(found, many, strict=True):
        np.testing.assert_allclose(one, steps(own, NAMES, ["eyes", "hair"], "all", costs, damping=0.1), atol=1e-12)


def test_a_score_that_hardly_responds_counts_like_any_other(response):
    faint = response * np.array([1, 1e-7, 1, 1])[:, None]
    np.testing.assert_allclose(
        steps(faint, NAMES, NAMES, "all", damping=0.05), steps(response, NAMES, NAMES, "all", damping=0.05), atol=1e-9
    )


def test_damping_keeps_what_cannot_be_told_apart_from_blowing_up(response):
    """Two scores that nearly are one: the exact step is nearly across its own score, the damped one follows it."""
    alike = response.copy()
    alike[3] = alike[0] + 1e-7 * np.random.default_rng(0).standard_normal(SIZE)
    own = unit(alike)[0]
    exact, damped = (steps(alike, NAMES, ["eyes"], ["hair"], damping=damping)[0] for damping in (0.0, 0.01))
    assert exact @ own < 1e-6
    assert damped @ own > 0.99


def test_a_score_that_nothing_changes(response):
    dead = response * np.array([1, 1, 1, 0])[:, None]
    with pytest.raises(ValueError, match="eyes cannot be told from what is to be held: use damping above 0"):
        steps(dead, NAMES, ["eyes"], "all")
    assert np.isfinite(steps(dead, NAMES, ["eyes"], "all", damping=0.01)).all()
    with pytest.raises(ValueError, match="nothing changes hair"):
        steps(dead, NAMES, ["hair"], "all", damping=0.01)


def test_held_names():
    assert held_names("none", NAMES) == []
    assert held_names("all", NAMES) == list(NAMES)
    assert held_names(("hair",), NAMES) == ["hair"]
    with pytest.raises(ValueError, match="decorrelate names nose, expected some of eyes, mouth, pose, hair"):
        held_names(["hair", "nose"], NAMES)
    with pytest.raises(ValueError, match="decorrelate is 'hair', expected none, all, or a list"):
        held_names("hair", NAMES)


@pytest.mark.parametrize("damping", [-0.1, float("nan")])
def test_damping_has_a_range(response, damping):
    with pytest.raises(ValueError, match="expected at least 0"):
        steps(response, NAMES, ["eyes"], damping=damping)


def test_a_metric_has_a_shape_and_is_positive():
    with pytest.raises(ValueError, match=r"metric has shape \[3, 3\], expected \[7, 7\]"):
        Costs(np.eye(3), SIZE)
    with pytest.raises(ValueError, match="metric is not positive: raise its shrinkage"):
        Costs(np.diag([1.0, 1, 1, 1, 1, 1, -1]), SIZE)
