import dataclasses

import numpy as np
import pytest
import torch

from ohlora_gan.data import datasets
from ohlora_gan.data.datamodules import FacesDataModule
from ohlora_gan.data.datasets import MIRROR_SIGNS, FacesDataset, Mirrored, matching_indices, mirror_signs
from ohlora_gan.names import PROPERTIES
from ohlora_gan.world import face as faces
from ohlora_gan.world.painter import render
from tests import tiny


def test_batches_are_images_and_scores_in_range():
    data = FacesDataModule(resolution=32, num_images=12, num_val=4, num_test=4, batch_size=4)
    images, scores = next(iter(data.train_dataloader()))
    assert images.shape == (4, 3, 32, 32)
    assert scores.shape == (4, 8)
    assert images.min() >= -1
    assert images.max() <= 1
    assert images.std() > 0.1


def test_a_face_is_the_renderers_and_is_rendered_once(monkeypatch):
    data = FacesDataset(seed=3, indices=[5, 9], resolution=32)
    image, scores = data[1]
    attributes = faces.sample_attributes(3, 9)
    want = torch.from_numpy(render(attributes, 32)).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(image, want)
    np.testing.assert_array_equal(scores, tiny.true_scores(attributes))
    monkeypatch.setattr(datasets, "render", None)
    assert torch.equal(data[1][0], image)


def test_splits_share_no_face():
    data = FacesDataModule(resolution=32, num_images=30, num_val=30, num_test=30)
    splits = [set(data.dataset(split).indices) for split in ("train", "val", "test")]
    assert not splits[0] & splits[1]
    assert not splits[0] & splits[2]
    assert not splits[1] & splits[2]


def test_keep_selects_faces_by_attribute():
    indices = matching_indices(0, 0, 20, {"gender": 1, "glass": 0})
    kept = [faces.sample_attributes(0, i) for i in indices]
    assert all(a.gender == 1 and a.glass == 0 for a in kept)
    every = [i for i in range(indices[-1] + 1) if i not in indices]
    assert all(a.gender != 1 or a.glass != 0 for a in (faces.sample_attributes(0, i) for i in every))


def test_thinning_leaves_the_extremes_and_a_share_of_the_middle():
    every = [faces.sample_attributes(0, i) for i in range(1_000)]
    middle = {i for i, face in enumerate(every) if abs(faces.standardized("hairstyle", face.hairstyle)) <= 1}
    indices = set(matching_indices(0, 0, 600, {}, {"hairstyle": 0.3}))
    last = max(indices)
    assert indices - middle == {i for i in range(last + 1) if i not in middle}
    share = len(indices & middle) / sum(i <= last for i in middle)
    assert abs(share - 0.3) < 0.08
    assert matching_indices(0, 0, 50, {"gender": 1}, {"hairstyle": 1}) == matching_indices(0, 0, 50, {"gender": 1})


def test_training_faces_alone_are_thinned():
    plain, thinned = (FacesDataModule(num_images=60, num_val=40, num_test=40, thin=t) for t in ({}, {"eyes": 0.1}))
    assert plain.dataset("train").indices != thinned.dataset("train").indices
    assert plain.dataset("val").indices == thinned.dataset("val").indices
    assert plain.dataset("test").indices == thinned.dataset("test").indices


@pytest.mark.parametrize(("name", "share"), [("hat", 0.5), ("gender", 0.5), ("eyes", 0), ("eyes", 1.5)])
def test_what_cannot_be_thinned_is_said(name, share):
    with pytest.raises(ValueError, match=rf"data\.thin={{{name}: {share}}}, expected a share above 0 and at most 1"):
        matching_indices(0, 0, 1, {}, {name: share})


def test_what_cannot_be_kept_is_said():
    with pytest.raises(ValueError, match=r"data\.keep names 'hat', expected some of eyes, .+, quality"):
        matching_indices(0, 0, 1, {"hat": 1})
    with pytest.raises(ValueError, match="none of 10,000"):
        matching_indices(0, 0, 1, {"gender": 7})


def test_fewer_images_than_a_batch():
    with pytest.raises(ValueError, match="fewer than one batch of 64"):
        FacesDataModule(resolution=32, num_images=10, batch_size=64).train_dataloader()


def test_any_attribute_of_the_faces_is_a_score():
    data = FacesDataModule(resolution=32, num_images=6, batch_size=2, attributes=["lips", "gender", "pose"])
    train = data.dataset("train")
    assert data.attribute_names == ("lips", "gender", "pose")
    attributes = [faces.sample_attributes(0, i) for i in range(6)]
    want = [[(a.lips - 0.5) * 12**0.5, a.gender, a.pose * 3**0.5] for a in attributes]
    np.testing.assert_allclose(train.scores, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(train[4][1], train.scores[4])
    assert train.scores.dtype == np.float32


def test_scores_are_known_without_a_picture(monkeypatch):
    monkeypatch.setattr(datasets, "render", None)
    data = FacesDataModule(resolution=32, num_images=500, num_val=0)
    scores = data.dataset("train").scores
    np.testing.assert_array_equal(scores[3], tiny.true_scores(faces.sample_attributes(0, 3)))
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=0.2)
    np.testing.assert_allclose(scores.std(axis=0), 1, atol=0.1)
    assert data.dataset("val").scores.shape == (0, 8)


@pytest.mark.parametrize("attributes", [["hat"], ["noise_seed"], ["lips", "lips"], []])
def test_attributes_that_faces_do_not_have(attributes):
    with pytest.raises(ValueError, match=r"data\.attributes=.+ expected different ones of eyes, "):
        FacesDataModule(attributes=attributes)


def test_the_attributes_are_those_of_the_world():
    data = FacesDataModule(32, 8, 2, 2, keep={"gender": 0}, attributes=["roll", "gender"], thin={"pitch": 0.5})
    assert data.world == 2
    train = data.dataset("train")
    drawn = [faces.sample_attributes(0, i) for i in train.indices]
    assert {face.gender for face in drawn} == {0}
    assert train.indices != matching_indices(0, 0, 8, {"gender": 0})  # some are thinned out
    np.testing.assert_allclose(train.scores[:, 0], [face.roll * 3**0.5 for face in drawn], rtol=1e-5)


def test_mirrored_data():
    data = FacesDataset(seed=3, indices=[5, 9], resolution=32)
    signs = mirror_signs(PROPERTIES)
    both = Mirrored(data, signs)
    assert len(both) == 4
    assert signs.tolist() == [-1 if name == "pose" else 1 for name in PROPERTIES]
    assert torch.equal(both[3][0], data[1][0].flip(2))
    assert torch.equal(both[1][0], data[1][0])
    np.testing.assert_array_equal(both[3][1], data[1][1] * torch.from_numpy(signs))
    np.testing.assert_array_equal(both.scores, np.stack([both[i][1] for i in range(4)]))


def test_a_mirror_turns_round_what_it_is_said_to():
    drawn = [faces.sample_attributes(0, i) for i in range(6)]
    signed = [name for name in faces.CONTINUOUS if name in MIRROR_SIGNS]
    assert signed == ["pose", "roll", "light_direction", "background_x"]

    def distance(names):
        """Of mirrored pictures from those of faces with these attributes turned round."""
        turned = [dataclasses.replace(face, **{name: -getattr(face, name) for name in names}) for face in drawn]
        pairs = [(render(a, 64)[:, ::-1], render(b, 64)) for a, b in zip(drawn, turned, strict=True)]
        return np.mean([np.abs(a.astype(int) - b).mean() for a, b in pairs])

    right = distance(signed)
    assert all(distance([n for n in signed if n != name]) > right for name in signed)
    assert all(distance([*signed, name]) > right for name in ("pitch", "background_y"))
