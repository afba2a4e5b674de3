"""Editing by feedback in a world that is bent: targets are reached, the rest stays, and what is unsafe is said."""

import numpy as np
import pytest
import torch
from torch import nn

from ohlora_gan.directions.files import DirectionSet
from ohlora_gan.editing.closed_loop import NEAR, ClosedLoop, HeldMover, Steps, broyden
from ohlora_gan.editing.moves import StraightMover
from ohlora_gan.latents.layers import W, WPlus
from ohlora_gan.latents.space import FaceSpace, change_map, score_jacobian
from ohlora_gan.testing import Bar
from tests import tiny
from tests.analytic_world import SIZE, make_world

EYES, MOUTH, POSE, HAIR, SKIN = range(5)
BENT = {"painted": torch.tanh, "scored": lambda scores: scores + 0.08 * scores**2, "gain": 0.4}
CHANGES = {"eyes": 0.8, "mouth": -0.5}


@pytest.fixture(scope="module")
def bent():
    return make_world(**BENT)


@pytest.fixture(scope="module")
def codes(bent):
    return bent.space.codes(W(), *bent.space.latents("test", range(12)))


@pytest.fixture(scope="module")
def loop(bent):
    return ClosedLoop(bent.space, W())


def test_it_reaches_its_targets_and_holds_the_rest(bent, loop, codes):
    found = loop.edit(codes, CHANGES)
    assert found.codes.shape == codes.shape
    np.testing.assert_allclose(found.wanted - found.start, [[0.8, -0.5, 0, 0, 0]] * 12, atol=1e-4)
    assert np.abs(found.reached - found.wanted).max() < 0.05
    np.testing.assert_allclose(found.reached, bent.space.score_codes(W(), found.codes), atol=1e-4)
    np.testing.assert_allclose(found.start, bent.space.score_codes(W(), codes), atol=1e-4)
    straight = codes + (np.linalg.pinv(bent.response) @ [0.8, -0.5, 0, 0, 0]).astype(np.float32)
    assert np.abs(bent.space.score_codes(W(), straight) - found.wanted).max() > 0.3  # the world is bent


def test_more_steps_come_nearer(bent, codes):
    misses = [
        miss(ClosedLoop(bent.space, W(), steps=Steps(steps, damping=0.0)).edit(codes, CHANGES)) for steps in (1, 2, 5)
    ]
    assert misses[0] > 3 * misses[1] > 9 * misses[2]


def miss(found):
    return float(np.nanmax(np.abs(found.reached - found.wanted)))


def image_change(world, before, found):
    """Mean absolute change of the pictures' pixels, 0 to 1."""
    pairs = zip(world.space.render(W(), before), world.space.render(W(), found.codes), strict=True)
    return torch.cat([change_map(*pair) for pair in pairs]).mean()


def test_changes_may_differ_from_face_to_face(loop, codes):
    eyes = np.linspace(-0.6, 0.6, 12)
    found = loop.edit(codes, {"eyes": eyes})
    np.testing.assert_allclose(found.reached[:, EYES] - found.start[:, EYES], eyes, atol=0.05)


def test_a_score_may_be_asked_for_instead_of_a_change(loop, codes):
    found = loop.edit(codes, {"eyes": 0.3}, targets="score")
    np.testing.assert_allclose(found.wanted[:, EYES], 0.3, atol=1e-5)
    np.testing.assert_allclose(found.reached[:, EYES], 0.3, atol=0.05)
    np.testing.assert_allclose(found.reached[:, HAIR], found.start[:, HAIR], atol=0.05)


def test_what_is_not_held_goes_where_it_likes(loop, codes):
    rest, none = loop.edit(codes, CHANGES), loop.edit(codes, CHANGES, hold="none")
    assert np.isnan(none.wanted[:, [POSE, HAIR, SKIN]]).all()
    assert miss(none) < 0.05
    assert np.abs(none.reached - none.start)[:, [POSE, HAIR, SKIN]].max() > 0.2
    length = [np.linalg.norm(found.codes - codes, axis=1).mean() for found in (rest, none)]
    assert length[1] < 0.9 * length[0]


def test_named_scores_are_held(loop, codes):
    found = loop.edit(codes, CHANGES, hold=["hair"])
    moved = np.abs(found.reached - found.start)
    assert np.isnan(found.wanted[:, [POSE, SKIN]]).all()
    assert moved[:, HAIR].max() < 0.05
    assert moved[:, [POSE, SKIN]].max() > 0.2


def test_a_metric_makes_steps_cheap(bent, loop, codes):
    metric = bent.paint.sum(axis=0) @ bent.paint.sum(axis=0).T
    plain, cheap = loop.edit(codes, CHANGES), ClosedLoop(bent.space, W(), metric).edit(codes, CHANGES)
    assert miss(cheap) < 0.05
    assert image_change(bent, codes, cheap) < 0.8 * image_change(bent, codes, plain)


def test_steps_keep_to_what_a_layer_may_move():
    world = make_world()
    layer = WPlus(1, 1)
    codes = world.space.codes(layer, *world.space.latents("test", range(4)))
    found = ClosedLoop(world.space, layer, np.eye(SIZE), Steps(damping=0.0)).edit(codes, {"eyes": 0.4}, beyond="allow")
    np.testing.assert_array_equal(found.codes[:, :SIZE], codes[:, :SIZE])
    assert np.abs(found.codes[:, SIZE:] - codes[:, SIZE:]).max() > 0.01
    assert miss(found) < 0.05


@pytest.mark.parametrize("refresh", [2, 3])
def test_with_fewer_derivatives_it_arrives_too(bent, codes, monkeypatch, refresh):
    counted = []
    loop = ClosedLoop(bent.space, W(), steps=Steps(6, refresh=refresh))
    look = loop._look
    monkeypatch.setattr(loop, "_look", lambda v: counted.append(1) or look(v))
    assert miss(loop.edit(codes, CHANGES)) < 0.05
    assert len(counted) == 6 // refresh


def test_broyden_agrees_with_the_last_step():
    rng = np.random.default_rng(0)
    jacobian, move, change = (rng.standard_normal(shape) for shape in ((4, 3, 6), (4, 6), (4, 3)))
    better = broyden(jacobian, move, change)
    np.testing.assert_allclose(np.einsum("npd,nd->np", better, move), change)
    across = rng.standard_normal((4, 6))
    across -= (across * move).sum(axis=1, keepdims=True) / (move**2).sum(axis=1, keepdims=True) * move
    kept = [np.einsum("npd,nd->np", rows, across) for rows in (better, jacobian)]
    np.testing.assert_allclose(kept[0], kept[1], atol=1e-12)
    np.testing.assert_array_equal(broyden(jacobian, 0 * move, 0 * change), jacobian)


def test_no_result_depends_on_the_batch(codes):
    found = [
        ClosedLoop(make_world(**BENT, batch_size=size).space, W()).edit(codes, {"eyes": np.linspace(-2, 2, 12)})
        for size in (5, 64)
    ]
    for name in ("codes", "start", "wanted", "reached", "distance"):
        np.testing.assert_allclose(getattr(found[0], name), getattr(found[1], name), atol=2e-4)
    assert [bool(note) for note in found[0].notes] == [bool(note) for note in found[1].notes]


def test_progress_reaches_the_total(codes):
    bar = Bar(12)
    loop = ClosedLoop(make_world(batch_size=5).space, W())
    loop.edit(codes, {"eyes": 0.1}, progress=bar)
    assert bar.calls == [(5, 12), (10, 12), (12, 12)]


def test_an_edit_that_does_not_help_is_not_made():
    """The scorer answers with noise finer than any step: the face stays, and its miss is said."""
    world = make_world(scored=lambda scores: torch.sin(1e4 * scores) * 1e-3)
    codes = world.space.codes(W(), *world.space.latents("test", range(4)))
    found = ClosedLoop(world.space, W()).edit(codes, {"eyes": 3.0}, beyond="allow")
    before, after = (np.linalg.norm(found.wanted - scores, axis=1) for scores in (found.start, found.reached))
    assert (after <= before).all()
    assert all("missed eyes by 3.0" in note or "missed eyes by 2.99" in note for note in found.notes)


def test_a_dead_score_neither_hinders_nor_blows_up_the_rest():
    def deaf(scores):
        return torch.cat([scores[:, :SKIN], 0 * scores[:, SKIN:]], dim=1)

    world = make_world(scored=deaf)
    codes = world.space.codes(W(), *world.space.latents("test", range(4)))
    loop = ClosedLoop(world.space, W())
    assert miss(loop.edit(codes, CHANGES)) < 0.05
    found = loop.edit(codes, {"eyes": 0.5, "skin": 9.0}, beyond="allow")
    assert np.isfinite(found.codes).all()
    np.testing.assert_allclose(found.reached[:, EYES] - found.start[:, EYES], 0.5, atol=0.05)
    assert all("missed skin by 9.00" in note for note in found.notes)


# targets beyond what sampled faces show


def test_a_target_beyond_is_clipped_with_a_word(bent, loop, codes):
    found = loop.edit(codes, {"eyes": 50.0})
    highest = np.maximum(loop.safe_range.high[EYES], found.start[:, EYES])
    np.testing.assert_allclose(found.wanted[:, EYES], highest, rtol=1e-4)
    start = found.start[0, EYES]
    assert found.notes[0].startswith(f"eyes is to go from {start:+.2f} to {start + 50:+.2f}, beyond what sampled")
    assert f"to {highest[0]:+.2f}): held at the limit." in found.notes[0]


def test_a_target_beyond_is_refused_with_a_word(loop, codes):
    with pytest.raises(ValueError, match=r"eyes is to go from .* beyond what sampled faces show .*ask for less, or"):
        loop.edit(codes, {"eyes": [0.1] * 11 + [50.0]}, beyond="refuse")
    assert miss(loop.edit(codes, CHANGES, beyond="refuse")) < 0.05


def test_a_target_beyond_is_tried_where_that_is_allowed(loop, codes):
    found = loop.edit(codes, {"eyes": 50.0}, beyond="allow")
    np.testing.assert_allclose(found.wanted[:, EYES] - found.start[:, EYES], 50, atol=1e-3)
    assert not any("held at the limit" in note for note in found.notes)
    assert all("missed eyes by" in note for note in found.notes)


def test_a_face_outside_the_range_may_come_back(bent, loop):
    codes = bent.space.codes(W(), *bent.space.latents("choose", range(1000)))
    highest = codes[[np.argmax(bent.space.score_codes(W(), codes)[:, EYES])]]
    out = loop.edit(highest, {"eyes": 0.5}, beyond="allow").codes
    back = loop.edit(out, {"eyes": -0.2}, beyond="refuse")
    assert back.notes == [""] or "beyond" not in back.notes[0]
    assert back.reached[0, EYES] < back.start[0, EYES]


def test_codes_far_out_are_said_to_be(loop, codes):
    near = loop.edit(codes, {"eyes": 0.1})
    np.testing.assert_allclose(near.distance, loop.safe_range.distance(near.codes), rtol=1e-5)
    assert near.distance.max() < 1
    assert near.notes == [""] * 12
    far = loop.edit(codes * 4, {"eyes": 0.1}, beyond="allow")
    assert (far.distance > 1).any()
    for distance, note in zip(far.distance, far.notes, strict=True):
        assert (f"{distance:.2f} times as far out as sampled faces." in note) == (distance > 1)


class Brightness(nn.Module):
    """Takes dark pictures for unreal; its score of one picture depends on the others of a batch."""

    def forward(self, images, label=None):
        return images.mean(dim=(1, 2, 3))[:, None] * len(images)


def test_the_discriminator_says_what_looks_unreal(bent, codes):
    loop = ClosedLoop(bent.space, W(), discriminator=Brightness())
    found = loop.edit(codes, {"eyes": 0.1})
    pictures = next(iter(bent.space.render(W(), found.codes)))
    expected = pictures.mean(dim=(1, 2, 3)).numpy() - loop.safe_range.realism
    np.testing.assert_allclose(found.realism, expected, atol=1e-5)
    dark = codes - 3 * bent.paint.sum(axis=(0, 2)).astype(np.float32)
    unreal = loop.edit(dark, {"eyes": 0.0}, beyond="allow")
    assert (unreal.realism < 0).all()
    assert all("looks less real than sampled faces." in note for note in unreal.notes)
    assert np.isnan(ClosedLoop(bent.space, W()).edit(codes[:2], {"eyes": 0.1}).realism).all()


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {}, r"nothing to change: give a property and its change, such as eyes=\+1"),
        ({"nose": 1}, {}, "does not measure nose, expected some of eyes, mouth, pose, hair, skin"),
        ({"eyes": 1}, {"hold": ["nose"]}, "does not measure nose"),
        ({"eyes": 1}, {"hold": "hair"}, "hold is 'hair', expected rest, none, or a list"),
        ({"eyes": 1}, {"hold": ["eyes"]}, "eyes is to be changed and held"),
        ({"eyes": float("nan")}, {}, "the change of eyes is not a finite number"),
        ({"eyes": [0.0] * 11 + [float("inf")]}, {}, "the change of eyes is not a finite number"),
        ({"eyes": 1}, {"beyond": "stop"}, "beyond is 'stop', expected one of clip, refuse, allow"),
        ({"eyes": 1}, {"targets": "level"}, "targets is 'level', expected one of change, score"),
    ],
)
def test_what_cannot_be_asked_for(loop, codes, changes, settings, message):
    with pytest.raises(ValueError, match=message):
        loop.edit(codes, changes, **settings)


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (Steps, {"damping": -1}, "damping=-1"),
        (Steps, {"damping": float("nan")}, "damping=nan"),
        (Steps, {"num": 0}, "steps=0"),
        (Steps, {"longest": 0}, "longest=0"),
        (Steps, {"refresh": 0}, "refresh=0"),
    ],
)
def test_settings_out_of_their_range(make, settings, message):
    with pytest.raises(ValueError, match=f"closed loop: .*{message}"):
        make(**settings)


def test_a_metric_of_another_size(bent):
    with pytest.raises(ValueError, match=r"metric has shape \[3, 3\], expected \[16, 16\]"):
        ClosedLoop(bent.space, W(), np.eye(3))
    assert NEAR > 0.05  # the tests above ask for more than the notes do


# --- Straight moves that hold scores ---


def test_a_held_move_keeps_what_it_promises_and_holds_the_rest():
    space = FaceSpace(tiny.generator(), tiny.scorer())
    codes = space.codes(W(), *space.latents("test", range(2)))
    _, jacobian = score_jacobian(space, W(), codes)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, 1, codes.shape[1]))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    found = DirectionSet(vectors, ["all"], "w", "x", properties=("eyes", "mouth"), slopes=np.ones((2, 1)))
    straight = StraightMover(found)
    small = {"eyes": [0.01, -0.02]}
    names = list(space.property_names)
    for hold in (["pose"], "rest"):
        step = HeldMover(straight, space, W(), hold)(codes, ["all"] * 2, small).codes - codes[:, None]
        plain = straight(codes, ["all"] * 2, small).codes - codes[:, None]
        change, before = (np.einsum("nkd,npd->nkp", moved, jacobian) for moved in (step, plain))
        held = [names.index("pose")] if hold == ["pose"] else [p for p, name in enumerate(names) if name != "eyes"]
        assert np.abs(change[..., held]).max() < 0.05 * np.abs(before[..., held]).max()
        eyes = names.index("eyes")
        np.testing.assert_allclose(change[..., eyes], before[..., eyes], rtol=0.05, atol=1e-5)
    with pytest.raises(ValueError, match="eyes is to be changed and held"):
        HeldMover(straight, space, W(), ["eyes"])(codes, ["all"] * 2, small)
    with pytest.raises(ValueError, match="beard cannot be held"):
        HeldMover(straight, space, W(), ["beard"])
