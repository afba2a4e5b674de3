"""One's own pictures as a data module: splits, labels, mirror images, what is left out."""

import csv
import logging
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from ohlora_gan.data import datamodules as image_folder
from ohlora_gan.data.datamodules import CelebADataModule, ImageFolderDataModule


def save(path, value=200, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode != "RGB" else (value, 10, 10)).save(path)


@pytest.fixture
def folder(tmp_path):
    """20 pictures, number i of red value 10 i, and labels.csv: lip 5 i + 3, turn i - 10, woman -1 or 1, text."""
    rows = []
    for i in range(20):
        save(tmp_path / "p" / f"{i:02d}.png", value=10 * i)
        rows.append([f"{i:02d}.png", 5 * i + 3, i - 10, 1 if i % 3 else -1, "x"])
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "lip", "turn", "woman", "note"), *rows])
    return tmp_path


def labelled(folder, **options):
    defaults = {"labels": folder / "labels.csv", "resolution": 32, "batch_size": 4}
    return ImageFolderDataModule(folder / "p", **(defaults | options))


def names(data, split):
    return [data.pictures.names[i] for i in data.dataset(split).indices]


def numbers(dataset):
    """Numbers of a data set's pictures, read off their colour."""
    reds = [float((dataset[i][0][0].mean() + 1) * 127.5) for i in range(len(dataset))]
    return [round(red / 10) for red in reds]


def test_pictures_without_labels(folder):
    data = ImageFolderDataModule(folder / "p", 32, 4)
    assert not data.labelled
    assert data.attribute_names == ()
    assert numbers(data.dataset("train")) == list(range(20))
    images, scores = next(iter(data.train_dataloader()))
    assert images.shape == (4, 3, 32, 32)
    assert images.abs().max() <= 1
    assert scores.shape == (4, 0)
    assert data.val_dataloader() == data.test_dataloader() == []


def test_scores_are_those_of_the_picture(folder):
    data = labelled(folder, num_val=5, num_test=4)
    assert data.labelled
    assert data.attribute_names == ("lip", "turn", "woman")
    train = data.dataset("train")
    raw = np.array(numbers(train))
    np.testing.assert_allclose(train.scores[:, 0], (raw - raw.mean()) / raw.std(ddof=1), rtol=1e-5)
    np.testing.assert_array_equal(train.scores[:, 2], raw % 3 > 0)
    np.testing.assert_array_equal(torch.stack([train[i][1] for i in range(len(train))]), train.scores)
    assert data.normalization.mean["lip"] == pytest.approx((5 * raw + 3).mean())
    assert set(data.normalization.std) == {"lip", "turn"}
    test = data.dataset("test")
    lip = 5 * np.array(numbers(test)) + 3
    want = (lip - data.normalization.mean["lip"]) / data.normalization.std["lip"]
    np.testing.assert_allclose(test.scores[:, 0], want, rtol=1e-5)


def test_splits_share_nothing_and_stay_when_pictures_are_added(folder):
    before = ImageFolderDataModule(folder / "p", 32, num_val=5, num_test=4, seed=1)
    splits = {name: set(names(before, name)) for name in ("train", "val", "test")}
    assert [len(splits[name]) for name in ("train", "val", "test")] == [11, 5, 4]
    assert len(set.union(*splits.values())) == 20
    again = ImageFolderDataModule(folder / "p", 32, num_val=5, num_test=4, seed=1)
    other = ImageFolderDataModule(folder / "p", 32, num_val=5, num_test=4, seed=2)
    assert names(again, "val") == names(before, "val") != names(other, "val")
    save(folder / "p" / "new.png")
    after = ImageFolderDataModule(folder / "p", 32, num_val=5, num_test=4, seed=1)
    moved = [n for name in ("train", "val", "test") for n in names(after, name) if n not in splits[name]]
    assert len(set(moved) - {"new.png"}) <= 2  # at most one picture from each of two borders


def test_a_tenth_is_kept_out_where_there_are_labels(folder):
    data = labelled(folder)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [16, 2, 2]
    (loader,) = data.val_dataloader()
    assert [len(images) for images, _ in loader] == [2]  # fewer than a batch, and none is lost


def test_mirror_images(folder):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :8] = 255
    Image.fromarray(pixels).save(folder / "p" / "00.png")
    data = labelled(folder, mirror=True, num_val=0, num_test=0)
    items = data.train_dataloader().dataset
    assert len(items) == 40
    assert torch.equal(items[20][0], items[0][0].flip(2))
    assert not torch.equal(items[20][0], items[0][0])
    for i in (0, 7):
        assert items[20 + i][1].tolist() == (items[i][1] * torch.tensor([1, -1, 1])).tolist()
    np.testing.assert_array_equal(items.scores, [items[i][1].tolist() for i in range(40)])
    assert abs(data.normalization.mean["turn"]) < 1e-9  # straight ahead is 0 before and after
    assert len(data.dataset("train")) == 20


def test_attributes_that_a_mirror_changes(folder):
    with pytest.raises(ValueError, match=r"mirror_signs\.lip=0 .+ use mirror=false"):
        labelled(folder, mirror=True, mirror_signs={"lip": 0})
    with pytest.raises(ValueError, match=r"mirror_signs\.lip=2, expected 1, -1 or 0"):
        labelled(folder, mirror=True, mirror_signs={"lip": 2})
    with pytest.raises(ValueError, match="woman is binary"):
        labelled(folder, mirror=True, mirror_signs={"woman": -1})
    assert len(labelled(folder, mirror_signs={"lip": 0}).training_data()) == 16


def test_own_names(folder):
    data = labelled(folder, attributes={"man": "not woman", "lips": "lip"}, num_val=0, num_test=0)
    assert data.attribute_names == ("man", "lips")
    assert data.dataset("train").scores[:4, 0].tolist() == [1, 0, 0, 1]


def test_pictures_without_all_labels_are_left_out_and_counted(folder, caplog):
    lines = (folder / "labels.csv").read_text().splitlines()
    lines[3] = "02.png,,1,1,x"
    (folder / "labels.csv").write_text("\n".join(lines[:-1]))
    data = labelled(folder, attributes=["lip"], num_val=0, num_test=0)
    assert numbers(data.dataset("train")) == [i for i in range(19) if i != 2]
    assert "2 of 20 pictures are left out: 1 without a row in labels.csv, 1 with an empty cell among lip" in caplog.text
    assert len(labelled(folder, attributes=["turn"]).pictures) == 19


def test_broken_pictures_are_left_out_counted_and_listed(folder, caplog):
    (folder / "p" / "03.png").write_bytes(b"")
    (folder / "p" / "04.png").write_text("no picture")
    save(folder / "p" / "05.png", size=(40, 3))
    data = labelled(folder, report=folder / "out" / "skipped.csv", num_val=0, num_test=0)
    assert numbers(data.dataset("train")) == [0, 1, 2, *range(6, 20)]
    assert "3 of 20 pictures" in caplog.text
    assert "1 empty file; 1 not a picture of a known kind; 1 too small" in caplog.text
    listed = list(csv.DictReader((folder / "out" / "skipped.csv").open()))
    assert [row["file"] for row in listed] == ["03.png", "04.png", "05.png"]
    assert listed[2]["reason"] == "too small: 40 x 3 pixels, expected 16 a side"
    with pytest.raises(ValueError, match=r"03\.png .+ cannot be used: empty file"):
        labelled(folder, strict=True)


def test_a_zip_is_read_in_place_by_several_processes(folder, monkeypatch):
    with zipfile.ZipFile(folder / "p.zip", "w") as archive:
        for path in sorted((folder / "p").iterdir()):
            archive.write(path, path.name)
    plain = labelled(folder)
    monkeypatch.setattr(image_folder.Pictures, "MAX_CACHE", 0)
    data = ImageFolderDataModule(folder / "p.zip", 32, 4, labels=folder / "labels.csv", num_workers=2)
    pairs = list(zip(data.train_dataloader(), plain.train_dataloader(), strict=True))
    assert len(pairs) == 4
    for (images, scores), (want_images, want_scores) in pairs:
        assert torch.equal(images, want_images)
        assert torch.equal(scores, want_scores)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": "left"}, "data.crop is 'left', expected center, none, or how much"),
        ({"crop": 0}, "data.crop is 0, expected center, none, or how much"),
        ({"crop": 1.5}, "data.crop is 1.5, expected"),
        ({"crop": True}, "data.crop is True, expected"),
        ({"labels": None, "attributes": ["lip"]}, "give data.labels=FILE.csv"),
        ({"num_val": 15, "num_test": 5}, "of 20 pictures leave none to train on"),
        ({"num_val": -1}, "data.num_val=-1"),
        ({"min_size": 100}, "holds no picture that can be used, of 20: 20 too small"),
    ],
)
def test_settings_that_do_not_fit(folder, options, message):
    with pytest.raises(ValueError, match=message):
        labelled(folder, **options)


def test_a_label_that_never_changes(folder):
    rows = [f"{i:02d}.png,7" for i in range(20)]
    (folder / "labels.csv").write_text("\n".join(["file,lip", *rows]))
    with pytest.raises(ValueError, match="lip is 7 in all"):
        labelled(folder)


def test_celeba(folder, caplog):
    caplog.set_level(logging.INFO)
    for i in range(20):
        save(folder / "img_align_celeba" / f"{i:06d}.jpg", value=10 * i)
    rows = [f"{i:06d}.jpg {1 if i % 2 else -1} {1 if i < 5 else -1}" for i in range(20)]
    (folder / "list_attr_celeba.txt").write_text("\n".join(["20", "Male Young ", *rows]))
    data = CelebADataModule(folder, attributes={"gender": "not Male", "age": "not Young"}, resolution=32, num_val=4)
    assert data.attribute_names == ("gender", "age")
    assert not data.normalization.mean
    train = np.array(numbers(data.dataset("train")))
    assert len(train) == 14
    np.testing.assert_array_equal(data.dataset("train").scores, np.stack([train % 2 == 0, train >= 5], axis=1))
    partition = [f"{i:06d}.jpg {i // 10}" for i in range(20)]
    (folder / "list_eval_partition.txt").write_text("\n".join(partition))
    data = CelebADataModule(folder, resolution=32)
    assert [numbers(data.dataset(s)) for s in ("train", "val", "test")] == [list(range(10)), list(range(10, 20)), []]
    assert len(CelebADataModule(folder, official_split=False, resolution=32).dataset("test")) == 2
    with pytest.raises(ValueError, match=r"has no img_align_celeba or img_align_celeba\.zip"):
        CelebADataModule(folder / "p")
