"""What ``ckpt_path=`` may be: a whole last.ckpt of the same model; settings that have changed are said."""

import pickle
import shutil
import zipfile

import pytest
import torch

from ohlora_gan.errors import UserError
from ohlora_gan.pipelines.train import train
from tests.test_configs import composed

pytestmark = pytest.mark.filterwarnings("ignore")

TINY = [
    "model=property_cnn",
    "model.test=false",
    "model.module.net.width=4",
    "resolution=32",
    "data.num_images=64",
    "data.num_val=32",
    "data.batch_size=16",
    "trainer.max_epochs=1",
    "trainer.enable_progress_bar=false",
]


def run(folder, *overrides):
    return train(composed("train", *TINY, *overrides, tmp_path=folder))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(folder, "callbacks.checkpoint.every_n_train_steps=1")
    return folder


def test_the_same_settings_say_nothing(trained, tmp_path, caplog):
    run(tmp_path, f"ckpt_path={trained}/last.ckpt", "trainer.max_epochs=2", "data.num_workers=1")
    assert "other settings" not in caplog.text


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.module.net.width=8"], "is of another model than model=property_cnn with .* instead of"),
        (["model=finetune_v9"], "is of another model than model=finetune_v9 .* is missing"),
    ],
)
def test_another_model(trained, tmp_path, overrides, words):
    settings = [word for word in TINY if not (word.startswith("model") and "finetune" in overrides[0])]
    extra = ["resolution=64", "scorer=null", "filters=[]"] if "finetune" in overrides[0] else []
    with pytest.raises(UserError, match=words):
        train(composed("train", *settings, *overrides, *extra, f"ckpt_path={trained}/last.ckpt", tmp_path=tmp_path))
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize("override", ["data.batch_size=8", "data.num_images=96", "seed=3", "model.module.lr=0.5"])
def test_other_settings_are_said(trained, tmp_path, caplog, override):
    run(tmp_path, f"ckpt_path={trained}/last.ckpt", "trainer.max_epochs=1", override)
    assert f"other settings than those of the run in {trained}, which goes on with them: {override} (it had" in (
        caplog.text.replace("model.seed", "seed").replace("data.seed", "seed")
    )


class Payload:
    def __reduce__(self):
        return (print, ("executed",))


def zip_with_a_pickle(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Payload()))
        file.writestr("archive/version", "3")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


DAMAGES = {
    "pickle": (zip_with_a_pickle, "loading it could run code|is damaged"),
    "torch pickle": (lambda path: torch.save({"a": Payload()}, path), "loading it could run code"),
    "weights alone": (lambda path: torch.save({"a": torch.zeros(3)}, path), "holds no state of a training"),
    "no dict": (lambda path: torch.save([1], path), "holds no state of a training"),
    "a flipped bit": (flip, "is damaged"),
    "cut off": (cut, "is cut off|is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is cut off"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "does not exist|is damaged|no run's last.ckpt"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_no_checkpoint(trained, tmp_path, capsys, name):
    damage, words = DAMAGES[name]
    path = shutil.copy(trained / "last.ckpt", tmp_path / "last.ckpt")
    damage(path)
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "new", f"ckpt_path={path}")
    assert "executed" not in capsys.readouterr().out
    assert not (tmp_path / "new" / "config.yaml").exists()
