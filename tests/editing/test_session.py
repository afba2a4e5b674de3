import numpy as np
import pytest
import torch

from ohlora_gan.editing.closed_loop import ClosedLoopMover
from ohlora_gan.editing.moves import Faces, Limits, SafeRange, Session, StraightMover, sampled_faces
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from tests import tiny

NAMES = ("eyes", "mouth", "pose")
RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((3, 16))  # scores of a code are MATRIX @ code


class LinearSpace:
    """Pictures and scores that are linear in the code."""

    property_names = NAMES
    generator = tiny.generator()

    def render(self, layer, codes):
        yield torch.from_numpy(codes).reshape(-1, 1, 4, 4).expand(-1, 3, -1, -1)

    def score(self, images):
        return images[:, 0].flatten(1) @ torch.from_numpy(MATRIX.astype(np.float32)).T


class Found:
    """Directions that change one score alone, with their true slopes."""

    properties, medians = ("mouth", "eyes"), {}
    own = np.linalg.pinv(MATRIX).T[[1, 0]]
    norms = np.linalg.norm(own, axis=1, keepdims=True)

    def direction(self, x, group=None):
        return self.own / self.norms

    def steps(self, strengths, group=None):
        return strengths * self.norms[:, 0]


def safe(low, high):
    """A safe range of round numbers."""
    return SafeRange(np.full(3, low), np.full(3, high), np.zeros(16), np.eye(16), outermost=2.0, radius=1.0)


def linear_faces(num=3):
    codes = RNG.standard_normal((num, 16)).astype(np.float32)
    return Faces([f"seed {i}" for i in range(num)], list(range(num)), codes, codes @ MATRIX.T, [""] * num)


def session(faces, low=-99.0, high=99.0, targets="change"):
    return Session(LinearSpace(), W(), faces, StraightMover(Found()), Limits(safe(low, high), NAMES, targets))


def test_strengths_in_sigmas_reach_the_scores_asked_for():
    faces = linear_faces()
    walk = session(faces).walk({"eyes": 1.5, "mouth": -0.5}, steps=5)
    assert walk.images.shape == (3, 5, 4, 4, 3)
    assert (walk.middle, walk.end) == (2, 4)
    np.testing.assert_allclose(walk.codes[:, walk.middle], faces.codes, atol=1e-6)
    np.testing.assert_allclose(walk.measured(0), np.tile([-1.5, -0.75, 0, 0.75, 1.5], (3, 1)), atol=1e-4)
    np.testing.assert_allclose(walk.measured(1)[:, walk.end], -0.5, atol=1e-4)
    np.testing.assert_allclose(walk.measured(2), 0, atol=1e-4)
    np.testing.assert_allclose(walk.distance, np.linalg.norm(walk.codes, axis=2) / 2, rtol=1e-5)


def test_a_single_change_is_shown_from_low_to_high_scores():
    walk = session(linear_faces()).walk({"eyes": -1.0}, steps=3)
    np.testing.assert_allclose(walk.measured(0), np.tile([-1.0, 0, 1.0], (3, 1)), atol=1e-4)
    assert walk.end == 0


def test_scores_are_reached_from_wherever_a_face_is():
    faces = linear_faces()
    to_scores = session(faces, targets="score")
    walk = to_scores.walk({"eyes": -1.0}, steps=5)
    assert (walk.middle, walk.end) == (2, 4)
    np.testing.assert_allclose(walk.scores[:, walk.end, 0], -1.0, atol=1e-4)
    np.testing.assert_allclose(walk.scores[:, 3, 0], (faces.scores[:, 0] - 1) / 2, atol=1e-4)
    np.testing.assert_allclose(walk.codes[:, walk.middle], faces.codes, atol=1e-6)
    _, scores = to_scores.look(to_scores.move({"eyes": np.array([0.0, 2.0]), "mouth": np.array([1.0, -1.0])}))
    np.testing.assert_allclose(scores[:, :, 0], [[0.0, 2.0]] * 3, atol=1e-4)
    np.testing.assert_allclose(scores[:, :, 1], [[1.0, -1.0]] * 3, atol=1e-4)


def test_a_score_beyond_the_range_is_said():
    faces = linear_faces(1)
    faces.scores[:, 0] = 0.5
    limits = session(faces, -2.0, 2.0, targets="score").limits
    assert limits.beyond(faces, {"eyes": 1.9}) == []
    (words,) = limits.beyond(faces, {"eyes": 3.0})
    assert words.startswith("eyes=+3 takes seed 0 from +0.50 to +3.00, beyond")


def test_faces_move_alone_as_they_do_together():
    faces = linear_faces()
    one = Faces(faces.names[1:2], [1], faces.codes[1:2], faces.scores[1:2], [""])
    together, alone = (session(f).walk({"mouth": 1.0}, 3).codes for f in (faces, one))
    np.testing.assert_array_equal(together[1:2], alone)


def test_targets_are_held_in_the_range_and_said():
    faces = linear_faces()
    faces.scores[:, 0] = [0.0, 1.8, 3.0]
    limited = session(faces, -2.0, 2.0)
    walk = limited.walk({"eyes": 1.0}, steps=3)
    np.testing.assert_allclose(walk.measured(0)[:, walk.end], [1.0, 0.2, 0.0], atol=1e-4)
    assert walk.held["eyes"].tolist() == [[False, False, False], [False, False, True], [False, False, True]]
    words = limited.limits.beyond(faces, {"eyes": 1.0})
    assert len(words) == 2
    assert words[0] == (
        "eyes=+1 takes seed 1 from +1.80 to +2.80, beyond what faces of this generator show (-2.00 to +2.00)"
    )


class Loop:
    """A closed loop that remembers what it was asked for."""

    def edit(self, codes, changes, hold, **how):
        self.asked, self.hold = changes, hold
        return type("Result", (), {"codes": codes + 1, "notes": [f"note {i}" for i in range(len(codes))]})()


def test_a_closed_loop_gets_every_face_and_step():
    loop, faces = Loop(), linear_faces(2)
    changes = {"eyes": np.array([[1.0, 2, 3], [4, 5, 6]])}
    codes, notes = ClosedLoopMover(loop, ("pose",))(faces.codes, faces.groups, changes)
    assert loop.asked["eyes"].tolist() == [1, 2, 3, 4, 5, 6]
    assert loop.hold == ("pose",)
    np.testing.assert_array_equal(codes, np.repeat(faces.codes[:, None], 3, axis=1) + 1)
    assert notes[1] == ["note 3", "note 4", "note 5"]


@pytest.fixture(scope="module")
def space():
    return FaceSpace(tiny.generator(), tiny.scorer())


def test_a_face_is_its_number_and_has_the_group_of_its_scores(space):
    faces = sampled_faces(space, W(), [7, 2], {"hair_color": 0.0})
    assert faces.names == ["seed 7", "seed 2"]
    np.testing.assert_allclose(sampled_faces(space, W(), [2], {}).codes, faces.codes[1:], atol=1e-6)
    expected = ["h" if row[space.property_names.index("hair_color")] >= 0 else "l" for row in faces.scores]
    assert faces.groups == expected
