"""What runs log to dashboards: who they are, lineage by names and hashes, a vector run and a sweep read back."""

import json
import re

import pytest
from omegaconf import open_dict

from ohlora_gan.models import checkpoint
from ohlora_gan.models.checkpoint import file_hash
from ohlora_gan.models.zoo import ASSETS
from ohlora_gan.pipelines import logged, workspace
from ohlora_gan.pipelines.compare import read_runs
from ohlora_gan.pipelines.find_vectors import Leaderboard, find_vectors
from ohlora_gan.pipelines.train import made_from
from ohlora_gan.training.boards import artifact_of, wandb_logger
from ohlora_gan.training.callbacks import SampleGrid
from ohlora_gan.training.loggers import open_loggers
from ohlora_gan.training.vitals import Vitals
from tests import tiny
from tests.offline_runs import OfflineRun
from tests.test_configs import composed
from tests.training.tiny_training import fit, gan

KINDS = {
    "train model=pretrain": ("pretrain", "pretrain"),
    "train model=finetune_v1": ("finetune_v1", "finetune"),
    "train model=finetune_v9": ("finetune_v9", "finetune"),
    "train model=property_cnn": ("property_cnn", "scorer"),
    "train model=truth": ("truth", "scorer"),
    "train model=attribute_cnn_photo data=generated": ("attribute_cnn_photo", "distil"),
    "train model=filter_cnn attribute=glass": ("filter_cnn glass", "filter"),
    "find_vectors method=ridge layer=w n=400": ("ridge at w, n=400", "vectors"),
    "find_vectors method=closed_loop": ("closed_loop at mapping_split2", "vectors"),
}


@pytest.mark.parametrize("line", KINDS)
def test_a_run_is_called_what_it_is(line, tmp_path):
    name, *overrides = line.split()
    who = logged.identity(composed(name, *overrides, tmp_path=tmp_path))
    assert (who["name"], who["job_type"]) == KINDS[line]
    assert who["group"] is None
    assert all(0 < len(tag) <= 64 for tag in who["tags"])


def test_a_stage_of_a_chain_is_in_its_group(tmp_path):
    folder = tmp_path / "chain" / "mini" / "v9"
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text("{}")
    assert logged.identity(composed("train", tmp_path=folder))["group"] == "chain/mini"


def test_what_the_user_gives_comes_first(tmp_path):
    cfg = composed("train", "logger.name=mine", "logger.tags=[a]", "logger.mode=disabled", tmp_path=tmp_path)
    _, run = logged.make_loggers(cfg)
    assert (run._wandb_init["name"], run._wandb_init["tags"]) == ("mine", ["a"])
    assert run._wandb_init["job_type"] == "finetune"


def test_a_generator_has_one_name_and_hash_where_it_is_made_and_where_it_is_used(tmp_path):
    folder = tmp_path / "v9"
    checkpoint.save(folder / "model.safetensors", {"generator": tiny.generator()})
    made = logged.network("generator", folder / "model.safetensors")
    cfg = composed("train", f"checkpoint={folder}/model.safetensors", tmp_path=tmp_path)
    used = {thing.title: thing for thing in logged.used_things(cfg, made_from(cfg))}
    assert made.title == "generator-v9"
    assert artifact_of(used["generator-v9"]).digest == artifact_of(made).digest
    assert {name.partition("-")[0] for name in used} == {"dataset", "generator", "scorer", "filter"}
    assert used["scorer-property_cnn"].about["sha256"] == file_hash(ASSETS / "property_cnn.safetensors")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A sweep's folder with a job in it, logged offline."""
    root = tmp_path_factory.mktemp("sweep")
    scorer = tiny.scorer()
    list(scorer.parameters())[-2].data.mul_(20)
    checkpoint.save(root / "g.safetensors", {"generator": tiny.generator()})
    checkpoint.save(root / "s.safetensors", {"scorer": scorer})
    checkpoint.save(root / "j.safetensors", {"scorer": tiny.scorer()})
    files = [f"checkpoint={root}/g.safetensors", f"scorer={root}/s.safetensors", f"judge={root}/j.safetensors"]
    small = ["layer=w", "n=40", "groups=none", "method=ridge", "num_calibration=4", "test.num_latents=4"]
    small += ["test.num_saturation=2", "strips.num_faces=2", "strips.steps=5", f"paths.bank_dir={root}/banks"]
    find_vectors(composed("find_vectors", *files, *small, "logger=wandb", tmp_path=root / "sweep" / "0"))
    return root / "sweep"


def test_a_vector_run_is_read_back_key_by_key(found):
    run = OfflineRun(found / "0")
    assert (run.run.display_name, run.run.job_type) == ("ridge at w, n=40", "vectors")
    assert list(run.run.tags) == ["ridge", "w", "g", "s"]
    assert run.config["n"] == 40
    assert {"versions", "machine", "command", "seed", "device"} <= run.config["run"].keys()
    figures = logged.figures_of(json.loads((found / "0" / "judge.json").read_text()))
    assert all(run.of(name) == [pytest.approx(value)] for name, value in figures.items())
    order = list(figures)
    assert order[:2] == ["judged/sum_corr", "judged/pass_share"]
    assert order.index("judging/j/sum_corr") < order.index("finding/s/sum_corr")
    for name in ("eyes", "mouth", "pose"):
        for kind in ("corr", "slope", "passes", "side_effect", "miss"):
            assert {f"judging/j/{kind}/{name}", f"finding/s/{kind}/{name}"} <= run.keys
        assert run.of(f"strips/{name}/captions")[0][0].startswith(name)
    assert run.of("progress/sampling")[-1] == 40
    assert run.of("progress/testing") == [1, 2, 3, 4]
    assert run.of("judges/nrows") == [6]
    for name in ("s", "j"):
        assert run.of(f"response/{name}/nrows") == [3]
        assert run.of(f"response_map/{name}/count") == [1]
    assert run.of("report/_type") == ["html-file"]
    assert {"seconds/sampling", "seconds/finding", "seconds/calibrating", "seconds/testing"} <= run.keys
    assert run.used() == {"generator-g": "generator", "scorer-s": "scorer", "scorer-j": "scorer"}
    assert sorted(run.made().values()) == ["bank", "report", "vectors"]
    assert {"vectors-0", "report-0"} <= run.made().keys()
    assert run.aims["judged/sum_corr"] == "max"
    assert run.aims["judged/worst_side_effect"] == "min"


@pytest.fixture(scope="module")
def summed_up(found):
    """The run that sums the sweep up."""
    cfg = composed("find_vectors")
    with open_dict(cfg):
        cfg.hydra = {"sweep": {"dir": str(found)}, "overrides": {"task": ["n=40,80"]}, "sweeper": {"params": None}}
    Leaderboard().on_multirun_end(cfg)
    return OfflineRun(found / "wandb")


def test_a_sweep_is_summed_up_in_a_run_of_its_own(found, summed_up):
    run = summed_up
    assert (run.run.display_name, run.run.job_type) == ("sweep of 1 cells", "judge")
    assert run.run.run_group == "/".join(found.parts[-2:])
    assert run.config["overrides"] == ["n=40,80"]
    assert {"versions", "machine", "command", "seed", "device"} <= run.config["run"].keys()
    assert (run.aims["best/sum_corr"], run.aims["best/worst_side_effect"]) == ("max", "min")
    assert run.of("leaderboard/nrows") == [1]
    assert run.of("leaderboard/ncols") == [12]
    assert run.of("cells") == [1]
    (cell,), _ = read_runs([found])
    assert run.of("best/sum_corr") == [cell.by["j"].sum_corr.value]
    assert run.used() == {"vectors-0": "vectors"}
    assert run.used().items() <= OfflineRun(found / "0").made().items()
    assert run.made() == {"report-sweep": "report"}
    (table,) = [one for one in run.artifacts.values() if one.type == "run_table"]
    assert sum(part.path.endswith(".png") for part in table.manifest.contents) == 3  # a face a property


# --- The workspace shows what runs log ---

OTHERS = {"train/loss", "val/loss", "val/r2_mean", "scores/mean/.*", "scores/std/.*", "memory/gpu_mb", "judged/damage"}
"""What panels show of scorers, a whole fine-tuning, a GPU and the judge truth: other runs than these log it."""


def shown(section):
    """The keys that a section's panels show, regular expressions too, with the axis of lines."""
    keys, axes = set(), set()
    for panel in workspace.panels()[section]:
        for name in ("y", "x", "metrics", "media_keys", "table_name", "metric_regex", "columns"):
            value = getattr(panel, name, None) or []
            for key in [value] if isinstance(value, str) else value:
                (axes if name == "x" and hasattr(panel, "metric_regex") else keys).add(getattr(key, "metric", key))
    return {key for key in keys if not str(key).startswith("c::")}, axes


def is_logged(key, run):
    """Whether a run has a key, or one that a regular expression means, be it a figure, a picture, or a table."""
    return any(re.fullmatch(f"{key}(/.*)?", name) for name in run.keys)


def test_panels_of_a_search_show_what_it_logs(found, summed_up):
    pytest.importorskip("wandb_workspaces", reason="pip install 'ohlora-gan[dashboard]'")
    run = OfflineRun(found / "0")
    for section, logs in {"vectors": [run], "sweep": [run, summed_up]}.items():
        keys, _ = shown(section)
        keys = {key for key in keys - OTHERS if not key.startswith("response_map/")} | {"response_map/j"}
        assert {key for key in keys if not any(is_logged(key, one) for one in logs)} == set()
    _, axes = shown("vectors")
    assert axes == {"Step"}  # Lightning's counter stands still where nothing is trained
    assert set(run.of("trainer/global_step")) <= {0}


def test_panels_of_a_training_show_what_it_logs(tmp_path):
    pytest.importorskip("wandb_workspaces", reason="pip install 'ohlora-gan[dashboard]'")
    with open_loggers([wandb_logger(tmp_path)]) as loggers:
        fit(tmp_path, gan(), [SampleGrid(tmp_path, 100, 1), Vitals(1)], logger=loggers, max_steps=2)
    run = OfflineRun(tmp_path)
    keys, axes = shown("training")
    assert {key for key in keys - OTHERS if not is_logged(key, run)} == set()
    assert axes == {"trainer/global_step"}
    assert run.of("trainer/global_step")[-1] > 0
