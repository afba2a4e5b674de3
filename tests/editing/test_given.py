"""Latents of others are read by what they are: z, one w, or one w a layer."""

import re

import numpy as np
import pytest
import torch

from ohlora_gan.editing.given import GivenW, codes_of, read_given, save_w
from ohlora_gan.latents.layers import W, WPlus
from ohlora_gan.latents.saved import LatentsError, SavedLatents, save_latents
from ohlora_gan.latents.space import FaceSpace
from tests import tiny

RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def generator():
    """z of 16, label of 7, and 8 layers that take a w of 16."""
    return tiny.generator()


def written(folder, name, array):
    path = folder / name
    if path.suffix == ".npz":
        np.savez(path, **array)
    elif path.suffix == ".npy":
        np.save(path, array)
    else:
        torch.save(array, path)
    return path


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("faces_w.npy", (16,), (1, 16)),
        ("faces_w.npy", (1, 16), (1, 16)),
        ("faces_w.npy", (3, 1, 16), (3, 16)),
        ("faces_w.npy", (3, 16), (3, 16)),
        ("encoded.npy", (8, 16), (1, 8, 16)),
        ("encoded_w.npy", (8, 16), (1, 8, 16)),
        ("encoded.npy", (1, 8, 16), (1, 8, 16)),
        ("encoded.npy", (5, 8, 16), (5, 8, 16)),
        ("a_wplus.pt", (8, 16), (1, 8, 16)),
    ],
)
def test_w(tmp_path, generator, name, shape, expected):
    array = numbers(*shape)
    path = written(tmp_path, name, torch.from_numpy(array) if name.endswith(".pt") else array)
    found = read_given(path, generator)
    assert isinstance(found, GivenW)
    np.testing.assert_array_equal(found.w, array.reshape(expected))


@pytest.mark.parametrize(("name", "shape"), [("z.npy", (16,)), ("my_z.npy", (3, 16)), ("any.npy", (3, 23))])
def test_z(tmp_path, generator, name, shape):
    array = numbers(*shape)
    found = read_given(written(tmp_path, name, array), generator)
    assert isinstance(found, SavedLatents)
    whole = np.atleast_2d(array)
    np.testing.assert_array_equal(found.z, whole[:, :16])
    np.testing.assert_array_equal(found.label, whole[:, 16:] if whole.shape[1] == 23 else np.zeros((len(whole), 7)))


def test_what_projectors_and_encoders_save(tmp_path, generator):
    w = numbers(1, 8, 16)
    nvidia = written(tmp_path, "projected_w.npz", {"w": w})
    rosinality = written(tmp_path, "project.pt", {"a.png": {"latent": torch.from_numpy(w[0]), "noise": [1.0]}})
    half = written(tmp_path, "latents.pt", torch.from_numpy(w).half())
    double = written(tmp_path, "latents.npy", w.astype(np.float64))
    for path in (nvidia, rosinality, double):
        np.testing.assert_array_equal(read_given(path, generator).w, w)
    np.testing.assert_allclose(read_given(half, generator).w, w, atol=1e-2)


def test_what_is_said_goes_before_the_shape(tmp_path, generator):
    array = numbers(8, 16)
    path = written(tmp_path, "any.npy", array)
    np.testing.assert_array_equal(read_given(path, generator, "w").w, array)
    np.testing.assert_array_equal(read_given(path, generator, "z").z, array)
    assert read_given(path, generator, "wplus").w.shape == (1, 8, 16)


def test_without_a_generator_sizes_are_the_published_ones(tmp_path):
    array = numbers(18, 512)
    path = written(tmp_path, "encoded.npy", array)
    assert read_given(path, None, "wplus").w.shape == (1, 18, 512)
    with pytest.raises(LatentsError, match="may be z or w or wplus: say which"):
        read_given(path, None)
    assert read_given(written(tmp_path, "encoded_wp.npy", array), None).w.shape == (1, 18, 512)


def test_ours_are_read_back(tmp_path, generator):
    given = GivenW(numbers(2, 8, 16), {"generator": "abc"})
    found = read_given(save_w(tmp_path / "l.safetensors", given), generator)
    np.testing.assert_array_equal(found.w, given.w)
    assert found.origin == given.origin
    own = save_latents(tmp_path / "z.safetensors", SavedLatents(numbers(2, 16), numbers(2, 7)))
    assert isinstance(read_given(own, generator), SavedLatents)


NAN = np.full((1, 16), np.nan, np.float32)


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("any.npy", numbers(3, 16), "[3, 16], which may be z or w: say which with --latents-layer"),
        (
            "any.npy",
            numbers(18, 512),
            "[18, 512], expected z [N, 16] or [N, 23] with its label, w [N, 16], or one w a ",
        ),
        ("any.npy", numbers(2, 5, 16), "[2, 5, 16], expected z [N, 16]"),
        ("any_w.npy", numbers(2, 17), "[2, 17], expected"),
        ("any.npy", numbers(1, 2, 3, 16), "[1, 2, 3, 16], expected"),
        ("any.npy", np.arange(16), "holds int64, expected an array of floats"),
        ("w.npy", NAN, "16 of its numbers are not finite"),
        ("two.npz", {"w": numbers(1, 16), "z": numbers(1, 16)}, "holds w, z, expected one array of latents"),
        ("text.pt", {"w": "none"}, "holds w, expected one array of latents"),
        ("none.npy", None, "cannot be read"),
        ("cut.npy", b"\x93NUMPY\x01\x00", "is damaged"),
        ("cut.pt", b"nothing", "is no file of weights"),
        ("faces.txt", b"0.5", "are of an unknown kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_told_in_a_sentence(tmp_path, generator, name, array, said):
    path = tmp_path / name
    if isinstance(array, bytes):
        path.write_bytes(array)
    elif array is not None:
        written(tmp_path, name, array)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        read_given(path, generator)
    assert str(path) in str(caught.value)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, generator):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    for name in ("evil.npy", "evil.pkl"):
        np.save(tmp_path / "evil.npy", np.array([Evil()], dtype=object), allow_pickle=True)
        (tmp_path / "evil.pkl").write_bytes(__import__("pickle").dumps(Evil()))
        with pytest.raises(ValueError, match="could run code"):
            read_given(tmp_path / name, generator)
    assert not (tmp_path / "touched").exists()


def test_codes(generator):
    space = FaceSpace(generator, tiny.scorer())
    w = numbers(2, 16)
    for layer in (W(), WPlus()):
        where, codes = codes_of(GivenW(w), space, layer)
        with torch.no_grad():
            there = where.to_w(generator, torch.from_numpy(codes)).numpy()
        np.testing.assert_allclose(there, np.repeat(w[:, None], 8, axis=1), atol=1e-5)
    z, label = space.latents("test", range(2))
    layer, codes = codes_of(SavedLatents(z.numpy(), label.numpy()), space, W())
    np.testing.assert_allclose(codes, space.codes(layer, z, label), atol=1e-6)
    with pytest.raises(LatentsError, match=r"the generator takes \[N, 16\] or \[N, 8, 16\]"):
        codes_of(GivenW(numbers(1, 9, 16)), space, W())
