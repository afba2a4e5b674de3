"""Faces are cut out of photographs and pasted back, without landmarks and with given ones."""

import numpy as np
import pytest
from PIL import Image

from ohlora_gan.data import alignment
from ohlora_gan.data.alignment import Cut, cut, read_photo, similarity
from ohlora_gan.data.landmarks import NoFace, SeveralFaces
from ohlora_gan.errors import UserError

POINTS = np.array([[0.35, 0.47], [0.63, 0.46], [0.42, 0.71], [0.57, 0.71]])


def smooth(height, width):
    """A picture without sharp edges, uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width]
    channels = [127 + 100 * np.sin(x / width * 5), 127 + 100 * np.cos(y / height * 4), 60 + 100 * x / width]
    return np.stack(channels, axis=-1).astype(np.uint8)


def turned(points, angle, scale, shift):
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ matrix.T + shift


@pytest.fixture
def marks(monkeypatch):
    """Says which points are found in any photograph, or what is raised."""

    def say(found):
        def points_of(photo):
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(alignment, "has_landmarks", lambda: True)
        monkeypatch.setattr(alignment, "points_of", points_of)

    return say


def test_a_similarity_is_found_exactly():
    place = similarity(POINTS, turned(POINTS, 0.3, 120, (40, 10)))
    np.testing.assert_allclose(POINTS @ place[:, :2].T + place[:, 2], turned(POINTS, 0.3, 120, (40, 10)), atol=1e-9)


def test_the_face_comes_where_the_generator_has_it(marks):
    """A mark that stands where an eye is comes to where eyes lie in the generator's pictures."""
    there = turned(POINTS, 0.4, 150, (90, 20))
    photo = np.full((260, 300, 3), 20, np.uint8)
    x, y = np.rint(there[0]).astype(int)
    photo[y - 3 : y + 4, x - 3 : x + 4] = 255
    marks(there)
    found, said = cut(photo, "auto", lambda: POINTS)
    assert (found.how, said) == ("landmarks", "")
    picture = found.picture(64)[..., 0]
    place = np.array(np.unravel_index(picture.argmax(), picture.shape))[::-1]
    np.testing.assert_allclose(place, POINTS[0] * 64, atol=1.5)


@pytest.mark.parametrize(("crop", "shape"), [("center", (50, 90)), ("none", (50, 90)), ("center", (200, 64))])
def test_without_landmarks(crop, shape):
    photo = smooth(*shape)
    found, said = cut(photo, crop, lambda: pytest.fail("nobody asked for it"))
    image = Image.fromarray(photo)
    side, (height, width) = min(shape), shape
    box = ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2)
    expected = (image.crop(box) if crop == "center" else image).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.abs(found.picture(32).astype(int) - np.asarray(expected)).mean() < 2
    assert said == ""


def test_what_lies_beyond_repeats_the_edge():
    photo = np.full((40, 40, 3), 200, np.uint8)
    place = np.array([[120, 0, -40], [0, 120, -40]], dtype=float)
    assert (Cut(photo, place, "landmarks").picture(30) == 200).all()


def test_a_change_is_pasted_where_the_face_is():
    photo = smooth(200, 240)
    place = similarity(POINTS, turned(POINTS, 0.3, 100, (80, 40)))
    found = Cut(photo, place, "landmarks")
    assert (found.pasted(np.zeros((32, 32, 3))) == photo).all()
    change = np.zeros((32, 32, 3))
    change[10:22, 10:22, 1] = -50
    before, after = found.picture(32).astype(int), Cut(found.pasted(change), place, "landmarks").picture(32).astype(int)
    assert np.abs((after - before)[12:20, 12:20] - (0, -50, 0)).max() <= 3
    outside = found.pasted(np.full((32, 32, 3), 99.0)) != photo
    assert not outside[:, :20].any()
    assert outside.any()


def test_what_landmarks_do_not_find(marks):
    photo = smooth(60, 60)
    marks(NoFace())
    found, said = cut(photo, "auto", lambda: POINTS)
    assert found.how == "center"
    assert "no face is found" in said
    with pytest.raises(UserError, match="no face is found in the photograph"):
        cut(photo, "landmarks", lambda: POINTS)
    marks(SeveralFaces())
    with pytest.raises(UserError, match="several faces"):
        cut(photo, "auto", lambda: POINTS)
    marks(POINTS * 60)
    found, said = cut(photo, "auto", lambda: None)
    assert found.how == "center"
    assert "generator's own pictures" in said
    with pytest.raises(UserError, match="nothing can be aligned"):
        cut(photo, "landmarks", lambda: None)


def test_that_landmarks_are_missing_is_said(monkeypatch):
    monkeypatch.setattr(alignment, "has_landmarks", lambda: False)
    found, said = cut(smooth(60, 60), "auto", lambda: POINTS)
    assert found.how == "center"
    assert "pip install 'ohlora-gan[landmarks]'" in said


def test_photographs_of_any_kind(tmp_path):
    photo = smooth(30, 40)
    Image.fromarray(photo).save(tmp_path / "a.png")
    image = Image.fromarray(photo)
    for source in (photo, image, tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes()):
        np.testing.assert_array_equal(read_photo(source), photo)
    (tmp_path / "b.png").write_bytes(b"no picture")
    image.resize((4, 4)).save(tmp_path / "c.png")
    for source, said in (
        (tmp_path / "none.png", "cannot be read"),
        (tmp_path, "cannot be read"),
        (tmp_path / "b.png", "not a picture"),
        (tmp_path / "c.png", "too small"),
        (photo.astype(float), r"float64 \[30, 40, 3\], expected uint8"),
        (photo[..., 0], r"expected uint8 \[H, W, 3\]"),
    ):
        with pytest.raises(UserError, match=said):
            read_photo(source)


def test_a_turned_head_is_not_made_larger():
    """Its eyes come nearer to each other, its mouth does not come nearer to its eyes."""
    squeezed = (POINTS - 0.5) * (0.7, 1) + 0.5
    place = similarity(POINTS, squeezed * 100)
    assert np.linalg.norm(place[:, 0]) == pytest.approx(100, rel=0.02)
