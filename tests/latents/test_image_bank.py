import numpy as np
import pytest
import torch

from ohlora_gan.latents.bank import ImageBank, images_path, read_image
from ohlora_gan.latents.layers import W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.filters import Panel
from ohlora_gan.models.gan import from_uint8
from tests import tiny


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(ImageBank, "shard", 10)


def space(batch_size=8, seed=0, generator_seed=0, filter_seed=3):
    panel = Panel({"gender": tiny.filter_ensemble("gender", filter_seed), "scorer": tiny.scorer()})
    return FaceSpace(tiny.generator(seed=generator_seed), panel, batch_size=batch_size, seed=seed, quantize=True)


def made(bank):
    """Notes which shards a bank makes."""
    starts, make = [], bank.make_shard
    bank.make_shard = lambda start: starts.append(start) or make(start)
    return starts


def test_scores_are_those_of_the_images_that_are_kept(tmp_path):
    bank = ImageBank(tmp_path, space())
    scores = bank.scores(25)
    assert scores.shape == (25, 9)
    pictures = np.stack([read_image(bank.folder, i) for i in range(25)])
    assert pictures.dtype == np.uint8
    assert pictures.shape == (25, 32, 32, 3)
    with torch.no_grad():
        want = bank.space.scorer(from_uint8(torch.from_numpy(pictures))).numpy()
    np.testing.assert_allclose(scores, want, atol=1e-5)
    of_latents = bank.space.images(W(), bank.space.w("generated", range(25)))
    assert np.abs(of_latents.astype(int) - pictures).max() <= 1  # rounding may depend on how images are batched


def test_a_sample_depends_on_seed_and_number_alone(tmp_path):
    banks = [ImageBank(tmp_path / str(size), space(size)) for size in (3, 10)]
    scores = [bank.scores(n) for bank, n in zip(banks, (12, 25), strict=True)]
    np.testing.assert_allclose(scores[0], scores[1][:12], atol=1e-2)
    off = read_image(banks[0].folder, 11).astype(int) - read_image(banks[1].folder, 11)
    assert np.abs(off).max() <= 1
    assert banks[0].folder.name == banks[1].folder.name


def test_more_images_begin_with_those_that_are_there(tmp_path):
    first = ImageBank(tmp_path, space()).scores(12)
    bank = ImageBank(tmp_path, space())
    starts = made(bank)
    assert np.array_equal(bank.scores(25)[:12], first)
    assert starts == [20]
    assert bank.num_stored() == 30


def test_other_weights_seeds_or_truncations_have_their_own_bank(tmp_path):
    spaces = [space(), space(seed=1), space(generator_seed=7), space(filter_seed=8)]
    folders = [ImageBank(tmp_path, s).folder for s in spaces] + [ImageBank(tmp_path, space(), psi=0.7).folder]
    assert len(set(folders)) == 5


def test_an_interrupted_bank_goes_on(tmp_path, monkeypatch):
    bank, write = ImageBank(tmp_path, space()), ImageBank.write

    def interrupted(self, path, content):
        if path.name == "scores_0000010.safetensors":  # its images are there, its scores are not
            raise KeyboardInterrupt
        write(self, path, content)

    monkeypatch.setattr(ImageBank, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bank.scores(25)
    monkeypatch.undo()
    monkeypatch.setattr(ImageBank, "shard", 10)
    again = ImageBank(tmp_path, space())
    assert again.num_stored() == 10
    starts = made(again)
    again.scores(25)
    assert starts == [10, 20]


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda content: b""])
@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_shard_is_made_again(tmp_path, damage, which):
    bank = ImageBank(tmp_path, space())
    scores = bank.scores(25)
    path = (images_path(bank.folder, 10), bank.scores_path(10))[which]
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    starts = made(bank)
    assert np.array_equal(bank.scores(25), scores)
    assert starts == [10]
    assert path.read_bytes() == whole


def test_a_full_disk_is_told_and_keeps_what_is_done(tmp_path, monkeypatch):
    bank = ImageBank(tmp_path, space())
    bank.scores(10)
    full = OSError(28, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(full))
        with pytest.raises(ValueError, match=r"No space left on device.*cache_dir=.*the 10 that are there are kept"):
            bank.scores(25)
    assert not list(bank.folder.glob("*.partial"))
    starts = made(bank)
    bank.scores(25)
    assert starts == [10, 20]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot be written to .*file"):
        ImageBank(tmp_path / "file", space()).scores(5)


def test_scores_that_are_no_numbers_are_refused(tmp_path):
    broken = space()
    broken.scorer.networks[1].eyes_score_cnn.fc_final.bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="pictures have scores that are not finite"):
        ImageBank(tmp_path, broken).scores(5)


def test_truncation_moves_w_toward_its_average():
    full = space().w("t", range(4))
    one = space()
    one.generator.truncation.w_avg.fill_(0.5)
    np.testing.assert_allclose(one.w("t", range(4), psi=0.6), 0.5 + 0.6 * (full - 0.5), atol=1e-6)
    np.testing.assert_array_equal(one.w("t", range(4)), full)
