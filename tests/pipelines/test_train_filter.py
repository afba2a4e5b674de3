"""train.py model=filter_cnn from config to files, at 32x32."""

import csv
import json
import os
import signal

import pytest
import torch

from ohlora_gan.data.datamodules import FacesDataModule
from ohlora_gan.models import checkpoint
from ohlora_gan.models.zoo import open_filters
from ohlora_gan.pipelines import train as filter_pipeline
from ohlora_gan.pipelines.checks import check_train
from ohlora_gan.pipelines.train import train
from ohlora_gan.training.filters import FilterModule
from tests.test_configs import composed

pytestmark = pytest.mark.filterwarnings("ignore")

TINY = [
    "model=filter_cnn",
    "attribute=gender",
    "resolution=32",
    "data.num_images=120",
    "data.num_test=60",
    "data.batch_size=24",
    "model.module.net.width=4",
    "model.folds.num_folds=2",
    "model.folds.threshold=null",
    "trainer.max_epochs=2",
    "trainer.enable_progress_bar=false",
]


def run(folder, *overrides):
    return train(composed("train", *TINY, *overrides, tmp_path=folder))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("filter")
    assert 0 <= run(folder, "optimized_metric=test/auroc") <= 1
    return folder


def test_a_run_leaves_ensemble_table_and_figures(trained):
    saved = checkpoint.load(trained / "model.safetensors")
    assert list(saved.networks) == ["gender"]
    assert (saved.info["stage"], saved.info["world"]) == ("filter", 2)
    metrics = json.loads((trained / "metrics.json").read_text())
    assert saved.info["metrics"] == metrics
    assert {"val/loss", "val/f1", "test/auroc", "test/base_rate", "folds_at_threshold"} <= set(metrics)
    with (trained / "folds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["fold"], row["epoch"]) for row in rows] == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]
    best = [min(float(row["val_loss"]) for row in rows if row["fold"] == fold) for fold in "01"]
    assert metrics["val/loss"] == pytest.approx(sum(best) / 2, abs=1e-4)
    logged = (trained / "csv" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert "fold_1/attempt_0/val/auroc" in logged
    assert "test/auroc" in logged
    ensemble = open_filters([trained / "model.safetensors"])["gender"]
    test = FacesDataModule(32, num_test=60, attributes=["gender"]).dataset("test")
    with torch.no_grad():
        found = torch.cat([ensemble(image[None]) for image, _ in test])
    truth = torch.from_numpy(test.scores[:, 0])
    assert metrics["test/accuracy"] == pytest.approx(((found > 0.5) == truth).float().mean().item())


def test_a_finished_run_trains_nothing_again(trained, monkeypatch):
    before = {path.name: path.read_bytes() for path in trained.glob("*.safetensors")}

    def fail(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(FilterModule, "training_step", fail)
    run(trained)
    for name in ("fold_0.safetensors", "fold_1.safetensors"):
        assert (trained / name).read_bytes() == before[name]
    with pytest.raises(ValueError, match=r"made with model\.module=.* give another paths\.output_dir"):
        run(trained, "model.module.lr=0.1")


def test_an_interrupted_run_goes_on_to_the_same_weights(trained, tmp_path, monkeypatch):
    step = FilterModule.training_step

    def interrupted(self, batch, batch_idx):
        if self.hparams["stream"].startswith("fold_1"):
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(FilterModule, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert (tmp_path / "fold_0.safetensors").is_file()
    assert not (tmp_path / "model.safetensors").exists()
    kept = (tmp_path / "fold_0.safetensors").stat().st_mtime_ns
    run(tmp_path)
    assert (tmp_path / "fold_0.safetensors").stat().st_mtime_ns == kept
    once, twice = (checkpoint.load(folder / "model.safetensors").tensors["gender"] for folder in (trained, tmp_path))
    assert all(torch.equal(value, twice[key]) for key, value in once.items())


def test_folds_start_from_given_weights(trained, tmp_path, monkeypatch):
    starts = []

    def keep(self):
        starts.append({key: value.clone() for key, value in self.net.state_dict().items()})

    monkeypatch.setattr(FilterModule, "on_fit_start", keep)
    run(tmp_path, f"checkpoint={trained}/model.safetensors", "trainer.max_epochs=1")
    parents = open_filters([trained / "model.safetensors"])["gender"].folds
    assert len(starts) == 2
    for start, parent in zip(starts, parents, strict=True):
        assert all(torch.equal(value, start[key]) for key, value in parent.state_dict().items())
    with pytest.raises(ValueError, match="does not fit SmallFilterCNN"):
        run(tmp_path / "other", f"checkpoint={trained}/model.safetensors", "model.module.net.width=3")


def test_boxes_thresholds_and_rates_follow_the_attribute():
    glass = composed("train", "model=filter_cnn", "attribute=glass").model
    assert (list(glass.module.net.box), glass.folds.threshold) == ([8, 22, 4, 28], 0.1)
    lips = composed("train", "model=filter_cnn", "attribute=lips").model
    assert (list(lips.module.net.box), lips.folds.threshold) == ([0, 32, 0, 32], None)
    age = composed("train", "model=filter_cnn_256", "attribute=age", "resolution=256").model
    assert (age.module.net.name, age.module.lr, age.folds.patience) == ("age", 2.5e-5, 20)
    own = composed("train", "model=filter_cnn_256", "attribute=lips", "resolution=256").model
    assert own.module.net.name == "gender"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["attribute=null"],
            "model=filter_cnn learns one attribute: give attribute=gender, quality, age, glass or a column",
        ),
        (["attribute=a.b"], "without dots"),
        (["data.attributes=[lips]"], r"data.attributes=\['lips'\], but a filter learns one"),
        (["ckpt_path=x"], "ckpt_path=x resumes no filter: give paths.output_dir="),
        (["device=ddp"], "device=ddp is of several devices"),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        check_train(composed("train", "model=filter_cnn", "attribute=gender", *overrides))


def test_a_network_of_another_size_is_refused():
    module = FilterModule(torch.nn.Identity())
    module.net.resolution = 256
    with pytest.raises(ValueError, match="takes 256x256 images, resolution is 64: give resolution=256"):
        filter_pipeline.check_resolution(composed("train", "model=filter_cnn_256"), module)
