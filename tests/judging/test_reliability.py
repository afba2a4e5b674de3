"""Reliability and its ceiling: what is known of them beforehand; the changes depend on seed and index alone."""

import csv

import numpy as np
import pytest
import torch
from torch import nn

from ohlora_gan.judging import reliability as module
from ohlora_gan.judging.reliability import (
    pearson,
    perturb,
    reliability,
    retest,
    write_scorer_table,
)


def pictures(n=40, side=32, seed=0):
    """Smooth pictures, uint8 [n, side, side, 3], of different brightness."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (n, 3, 4, 4)) * 0.5 + rng.uniform(0, 120, (n, 1, 1, 1)))
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 255)
    return smooth.permute(0, 2, 3, 1).to(torch.uint8).numpy()


class Toy(nn.Module):
    """Brightness, which survives small changes, and the parity of one pixel's level, which does not."""

    property_names = ("brightness", "parity")

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        parity = ((images[:, 0, 16, 16] + 1) * 127.5).round() % 2
        return self.dropout(torch.stack([images.mean(dim=(1, 2, 3)), parity], dim=1))


def test_changes_follow_from_seed_copy_and_index_alone():
    images = pictures()
    before = np.random.default_rng().bit_generator.state, torch.get_rng_state()
    whole = perturb(images, seed=3, repeat=0)
    assert torch.equal(torch.get_rng_state(), before[1])
    parts = [perturb(images[i : i + 7], 3, 0, range(i, min(i + 7, 40))) for i in range(0, 40, 7)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(perturb(images[[5]], 3, 0, [5])[0], whole[5])
    for other in (perturb(images, 3, 1), perturb(images, 4, 0), perturb(images, 3, 0, range(1, 41))):
        assert all((a != b).any() for a, b in zip(other, whole, strict=True))


def test_changes_are_small_and_keep_shape():
    images = pictures()
    copies = perturb(images, 0, 0)
    assert copies.dtype == np.uint8
    assert copies.shape == images.shape
    difference = np.abs(copies.astype(float) - images)
    assert 1 < difference.mean() < 8
    assert abs(copies.mean() - images.mean()) < 0.5
    assert perturb(images[:0], 0, 0).shape == (0, 32, 32, 3)


def test_a_copy_moves_by_less_than_a_sixty_fourth_of_its_side(monkeypatch):
    monkeypatch.setattr(module, "MAX_NOISE", 0.0)
    monkeypatch.setattr(module, "MAX_ZOOM", 0.0)
    y, x = np.mgrid[0:64, 0:64]
    spot = 255 * np.exp(-((x - 31.5) ** 2 + (y - 31.5) ** 2) / 50)
    images = np.repeat(spot[None, ..., None], 3, axis=3).astype(np.uint8).repeat(30, axis=0)
    copies = perturb(images, 0, 0).mean(axis=3)
    copies = np.where(copies > 20, copies, 0)
    centers = np.stack([(copies * axis).sum((1, 2)) / copies.sum((1, 2)) for axis in (x, y)]) - 31.5
    assert np.abs(centers).max() < 1.05
    assert centers.std(axis=1) == pytest.approx(1 / np.sqrt(3), abs=0.2)  # uniform on -1 to 1 pixel


def test_reliability_is_the_share_of_variance_without_noise():
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=(4000, 1, 2)), rng.normal(size=(4000, 2, 2)) * [0.5, 1.0]
    r_xx, low, high, ceiling = reliability(truth + noise).values()
    assert r_xx == pytest.approx([0.8, 0.5], abs=0.03)
    assert ceiling == pytest.approx(np.sqrt(r_xx))
    assert (low < r_xx).all()
    assert (r_xx < high).all()
    # Fisher's interval of a correlation r is 2 x 1.96 (1 - r^2) / sqrt(n) wide
    assert high - low == pytest.approx(3.92 * (1 - r_xx**2) / np.sqrt(4000), rel=0.15)
    # and no correlation with the truth is higher than the ceiling
    assert pearson((truth + noise)[:, 0], truth[:, 0]).value == pytest.approx(ceiling, abs=0.02)


def test_a_negative_reliability_counts_as_none():
    opposite = np.random.default_rng(0).normal(size=(50, 1, 1)) * [[[1.0], [-1.0]]]
    assert reliability(opposite)["reliability"] == pytest.approx([-1])
    assert reliability(opposite)["ceiling"] == [0]


def test_pearson_and_its_interval():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(50, 3)) + 1000, rng.normal(size=(50, 3))
    b[:, 0] += a[:, 0]
    assert pearson(a, b).value == pytest.approx([np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(3)])
    _, low, high = pearson(a, b, seed=5)
    assert np.array_equal(low, pearson(a, b, seed=5).low)
    assert (low < high).all()
    a[:, 1] = 0.1
    assert np.isnan(pearson(a, b).value).tolist() == [False, True, False]


def test_a_robust_score_is_reliable_and_a_fragile_one_is_not():
    scorer, images = Toy().eval(), pictures(200)

    def in_batches(size):
        parts = [retest(scorer, images[i : i + size], 0, range(200)[i : i + size]) for i in range(0, 200, size)]
        return reliability(np.concatenate(parts))["reliability"]

    found = in_batches(64)
    assert found[0] > 0.99
    assert abs(found[1]) < 0.3
    assert np.array_equal(in_batches(200), found)
    assert retest(scorer, images[:3]).shape == (3, 2, 2)


def test_a_single_score_may_come_without_an_axis():
    scorer = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1), nn.Flatten(0))
    assert retest(scorer, pictures(3)).shape == (3, 2, 1)


def test_table(tmp_path):
    columns = {"r2": torch.tensor([0.5, 0.25]), "ceiling": np.array([0.9, 0.5])}
    write_scorer_table(tmp_path / "table.csv", ("a", "b"), columns)
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["property", "r2", "ceiling"]
    assert [row["property"] for row in rows] == ["a", "b"]
    assert [float(row["ceiling"]) for row in rows] == [0.9, 0.5]
    assert float(rows[1]["r2"]) == 0.25


def test_too_few_pictures_tell_nothing():
    assert np.isnan(list(reliability(np.zeros((3, 2, 1))).values())).all()
