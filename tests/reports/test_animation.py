import numpy as np
import pytest
from PIL import Image

from ohlora_gan.reports.pages import ping_pong, save_animation


def frames(num=5):
    """A red square that wanders over a grey slope."""
    made = np.repeat(np.linspace(40, 220, 64).astype(np.uint8)[None, None, :, None], 3, axis=3).repeat(48, axis=1)
    made = made.repeat(num, axis=0)
    for i, frame in enumerate(made):
        frame[10:20, 4 + 10 * i : 14 + 10 * i] = (250, 20, 10)
    return made


def read(path):
    with Image.open(path) as picture:
        found = []
        for i in range(picture.n_frames):
            picture.seek(i)
            found.append(np.asarray(picture.convert("RGB")).astype(int))
        return np.stack(found), picture.info


def test_ping_pong_stops_nowhere():
    assert ping_pong(np.arange(4)).tolist() == [0, 1, 2, 3, 2, 1]
    assert ping_pong(np.arange(2)).tolist() == [0, 1]


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_all_frames_come_back_and_the_file_is_the_same_each_time(tmp_path, kind):
    made = frames()
    path = save_animation(tmp_path / "new" / f"a.{kind}", made, fps=20)
    found, info = read(path)
    assert found.shape == made.shape
    assert info["duration"] == 50
    assert info["loop"] == 0
    assert np.abs(found - made).mean() < 3
    assert path.read_bytes() == save_animation(tmp_path / f"b.{kind}", made, fps=20).read_bytes()


def test_what_stands_still_in_a_gif_does_not_flicker(tmp_path):
    found, _ = read(save_animation(tmp_path / "a.gif", frames()))
    below = found[:, 25:]
    assert (below == below[0]).all()


def test_small_bright_colours_live_on_in_a_gif(tmp_path):
    made = np.random.default_rng(0).integers(0, 255, (1, 128, 128, 1)).repeat(3, axis=3).astype(np.uint8)
    made[0, :4, :4] = (250, 20, 10)
    found, _ = read(save_animation(tmp_path / "a.gif", made))
    assert np.abs(found[0, 1, 1] - (250, 20, 10)).max() < 40


@pytest.mark.parametrize(
    ("name", "made", "fps", "message"),
    [
        ("a.png", frames(), 10, "a .gif or a .webp, got a.png"),
        ("a.gif", frames()[:0], 10, "0 frames"),
        ("a.gif", frames(), 0, "0 a second"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, name, made, fps, message):
    with pytest.raises(ValueError, match=message):
        save_animation(tmp_path / name, made, fps)
