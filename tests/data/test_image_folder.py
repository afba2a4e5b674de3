import numpy as np
import pytest
import torch
from PIL import Image

from ohlora_gan.data.image_folder import ImageFolderDataModule, ImageFolderDataset, find_images


def save(path, size=(40, 30), mode="RGB", value=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode != "RGB" else (value, 10, 10)).save(path)


def test_pictures_of_any_kind_become_square_images(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "sub" / "b.jpg", size=(20, 90))
    save(tmp_path / "c.png", mode="L")
    data = ImageFolderDataset(tmp_path, 32, mirror=False)
    assert len(data) == 3
    for image, scores in (data[i] for i in range(3)):
        assert image.shape == (3, 32, 32)
        assert image.abs().max() <= 1
        assert torch.equal(scores, torch.zeros(8))
    assert data[0][0][0].mean() == pytest.approx(200 / 127.5 - 1, abs=0.02)


def test_mirror_images_double_the_set(tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :8] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = ImageFolderDataset(tmp_path, 32, mirror=True)
    assert len(data) == 2
    assert torch.equal(data[1][0], data[0][0].flip(2))
    assert not torch.equal(data[1][0], data[0][0])


def test_what_is_no_picture_is_counted(tmp_path, caplog):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    (tmp_path / "notes.txt").write_text("no picture")
    assert [p.name for p in find_images(tmp_path)] == ["a.png"]
    assert "1 of 2 files" in caplog.text


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(ValueError, match="holds no pictures"):
        ImageFolderDataModule(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        ImageFolderDataModule(tmp_path / "none")


def test_a_picture_that_is_cut_off_is_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.jpg cannot be decoded"):
        ImageFolderDataset(tmp_path, 32, mirror=False)[0]
