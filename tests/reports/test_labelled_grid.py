import numpy as np
import pytest

from ohlora_gan.reports.pages import SHOWN, enlarged, labelled_grid

FACES = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64, 3)).astype(np.uint8)


def test_small_faces_are_doubled_and_large_ones_stay():
    assert enlarged(FACES).shape == (2, 3, 128, 128, 3)
    large = np.zeros((1, 256, 256, 3), np.uint8)
    assert enlarged(large) is large


def test_every_face_has_its_place_and_words_have_room():
    large = np.random.default_rng(0).integers(0, 200, (2, 3, SHOWN, SHOWN, 3)).astype(np.uint8)
    plain = labelled_grid(large, ["", ""], ["a", "b", "c"])
    captioned = labelled_grid(large, ["seed 0", "seed 1"], ["a", "b", "c"], "title", [["x"] * 3, ["x\ny"] * 3])
    assert captioned.shape[0] > plain.shape[0] + 2 * 24
    assert captioned.shape[1] > plain.shape[1] + 20
    for sheet in (plain, captioned):
        windows = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], (SHOWN, 1))[..., 0]
        for face in large.reshape(-1, SHOWN, SHOWN, 3):
            assert (windows == face[:, 0, 0]).all(axis=2).sum() == 1


def test_words_must_fit():
    with pytest.raises(ValueError, match="2 rows, 2 columns of words"):
        labelled_grid(FACES, ["a", "b"], ["a", "b"])
