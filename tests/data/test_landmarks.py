"""The detector on rendered faces; they resemble photographs enough for it."""

import builtins
import socket

import numpy as np
import pytest
import torch

from ohlora_gan.data import landmarks
from ohlora_gan.data.landmarks import NoFace, SeveralFaces
from ohlora_gan.data.parse_scores import MAP_SIZE
from ohlora_gan.models.gan import from_uint8
from ohlora_gan.names import Part
from ohlora_gan.world.face import FaceAttributes
from ohlora_gan.world.painter import render, render_with_parse_map


def test_without_mediapipe_the_error_names_the_extra(monkeypatch):
    original = builtins.__import__

    def no_mediapipe(name, *args, **kwargs):
        if name.startswith("mediapipe"):
            raise ImportError("No module named 'mediapipe'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_mediapipe)
    with pytest.raises(ValueError, match=r'pip install "ohlora-gan\[landmarks\]"'):
        landmarks.LandmarkDetector()


@pytest.fixture(scope="module")
def mediapipe():
    return pytest.importorskip("mediapipe", reason='needs pip install "ohlora-gan[landmarks]"')


@pytest.fixture(scope="module")
def rendered(mediapipe):
    """Three faces, mouth ever wider, turned and tilted from left to right: pictures and parse maps at 256."""
    pairs = [
        render_with_parse_map(FaceAttributes(mouth=mouth, pose=pose, background_mean=0.9), 256)
        for mouth, pose in ((0.0, -0.8), (0.5, 0.0), (1.0, 0.8))
    ]
    return np.stack([image for image, _ in pairs]), np.stack([drawn for _, drawn in pairs])


def test_it_measures_faces_without_a_network(rendered, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the detector asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    measured = landmarks.measure(rendered[0])
    assert measured["found"].tolist() == [True] * 3
    assert (np.diff(measured["mouth_opening"]) > 0.02).all()
    assert (np.diff(measured["tilt"]) > 0.06).all()
    assert (np.diff(measured["turn"]) > 0.1).all()


def test_small_images_are_enough(rendered):
    small = rendered[0][:, ::4, ::4].copy()
    assert small.shape == (3, 64, 64, 3)
    measured = landmarks.measure(small)
    assert measured["found"].all()
    assert (np.diff(measured["tilt"]) > 0.06).all()
    assert (np.diff(measured["turn"]) > 0.1).all()


def test_a_picture_counts_alone(rendered):
    forth, back = (landmarks.measure(images) for images in (rendered[0], rendered[0][::-1].copy()))
    for name, values in forth.items():
        np.testing.assert_array_equal(values, back[name][::-1])


def test_a_mirror_image_measures_alike(rendered):
    plain, mirrored = (landmarks.measure(images) for images in (rendered[0], rendered[0][:, :, ::-1].copy()))
    signs = {"eye_aspect": 1, "mouth_opening": 1, "smile": 1, "nod": 1, "tilt": -1, "turn": -1}
    assert signs.keys() == {*landmarks.MEASURES}
    for name, sign in signs.items():
        np.testing.assert_allclose(mirrored[name], sign * plain[name], atol=1e-6, err_msg=name)


def test_a_scorer_tells_what_is_measured(rendered):
    blank = np.full((1, 256, 256, 3), 90, dtype=np.uint8)
    scorer = landmarks.LandmarkScorer()
    told = scorer(from_uint8(torch.from_numpy(np.concatenate([rendered[0], blank]))))
    assert told.shape == (4, len(scorer.property_names))
    assert np.isnan(told).all(axis=1).tolist() == [False, False, False, True]
    measured = landmarks.measure(rendered[0])
    for name, column in scorer.columns.items():
        np.testing.assert_allclose(told[:3, scorer.property_names.index(name)], measured[column], rtol=1e-6)


def test_a_head_that_is_bowed_nods(mediapipe):
    pictures = [render(FaceAttributes(pitch=pitch), 256) for pitch in (-1.0, 1.0)]
    nods = landmarks.measure(np.stack(pictures))["nod"]
    assert nods[1] - nods[0] > 0.03


def test_maps_agree_with_the_renderers(rendered):
    image, truth = rendered[0][1], rendered[1][1]
    pick = ((np.arange(MAP_SIZE) + 0.5) * 256 / MAP_SIZE).astype(int)
    drawn, truth = landmarks.by_landmarks("", image)[1], truth[np.ix_(pick, pick)]
    floors = {Part.BACKGROUND: 0.9, Part.HAIR: 0.5, Part.NOSE: 0.4, Part.LEFT_EYE: 0.3, Part.RIGHT_EYE: 0.3}
    for code, floor in floors.items():
        both, either = ((drawn == code) & (truth == code)).sum(), ((drawn == code) | (truth == code)).sum()
        assert both / either > floor, code


def test_none_and_several_faces_are_told_apart(rendered):
    blank = np.full((256, 256, 3), 90, dtype=np.uint8)
    with pytest.raises(NoFace):
        landmarks.by_landmarks("", blank)
    with pytest.raises(SeveralFaces):
        landmarks.by_landmarks("", np.concatenate([rendered[0][1], rendered[0][1]], axis=1))
    measured = landmarks.measure(np.stack([blank, rendered[0][1]]))
    assert measured["found"].tolist() == [False, True]
    assert np.isnan(measured["mouth_opening"]).tolist() == [True, False]


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8, 3)), np.zeros((8, 8, 3), np.uint8), [1, 2]])
def test_other_arrays_are_refused(mediapipe, images):
    with pytest.raises(ValueError, match=r"uint8 \[(N, )?H, W, 3\]"):
        landmarks.measure(images)
