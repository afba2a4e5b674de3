"""Runs the commands of a page of the docs as they stand there: ``python tests/documented.py PAGE`` in an empty folder.

The files that pages name are made first. What takes hours is made small by more settings, fewer pictures and a part of
a sweep's lists, and the shipped generators by stand-ins with few feature maps. Of ``make`` and of the chain of all
stages only the plan is asked for. The programs are called in this process, one after the other, so that torch is
imported once. Labelling by landmarks runs where MediaPipe is installed.
"""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

STOPPED_RUN = "runs/train/2026-01-01_12-00-00"
NAMES = {"GENERATOR": "my_generator.pth", "WEIGHTS": "my_generator.pth", "SCORER": "my_scorer.safetensors"}
"""Words of a page that stand for a file -> the file."""

TRAIN = {"trainer.enable_progress_bar": "false", "trainer.max_epochs": "1", "logger": "csv", "model.batch_size": "4"}
FMAPS = [8, 8, 8, 8, 8]
GAN = {"trainer.max_steps": "1", "callbacks.samples.num_images": "4", "callbacks.scores.num_images": "8"}
GAN |= {"model.module.generator.fmaps": str(FMAPS).replace(" ", "")}
FACES = {"data.num_images": "32", "data.num_val": "16", "data.num_test": "16"}
FULL_SIZE = {"model.module.generator.fmaps": "[8,8,8,8,8,8,8]"}
GENERATED = {"data.num_generated": "16", "data.require": "{}", "data.render_batch_size": "16"}
SEARCH = {"n": "400", "num_calibration": "3", "test.num_latents": "2", "test.num_saturation": "1"}
SEARCH |= {"test.retest": "false", "strips.num_faces": "1", "strips.steps": "3", "logger": "csv"}
FEW = {name: SEARCH[name] for name in ("num_calibration", "test.num_saturation", "test.retest")}
"""What makes a search smaller whose samples and tests the page itself has few of."""
IMAGE_METRIC = {"metric.num_latents": "4", "metric.num_probes": "4"}
METHODS = {
    "mean_jacobian": {"method.finder.num_jacobians": "8", **IMAGE_METRIC},
    "closed_loop": {"method.loop.steps": "1", "test.num_latents": "1", **IMAGE_METRIC},
}
SWEEP = {"method": "svm", "layer": "w,mapping_split2"}
"""Of an experiment that is a sweep by itself."""
NUM_IMAGES = {"filter-means": "20", "scorers": "40", "quality": "100", "truth": "10", "rescore": "10"}
NUM_PICTURES = {"render": "32", "sample": "4"}


def commands(text: str) -> Iterator[str]:
    """The commands of a page in their order: lines of ``bash`` blocks, and those that stand whole in backticks."""
    for part in re.split(r"^(```\w*\n.*?^```)", text, flags=re.MULTILINE | re.DOTALL):
        if part.startswith("```bash"):
            lines = re.sub(r"\\\n\s*", " ", part).splitlines()[1:-1]
            yield from (
                " ".join(line.partition(" #")[0].split()) for line in lines if line and not line.startswith("#")
            )
        elif not part.startswith("```"):
            whole = r"(python \S+\.py|\S*ohlora [a-z][a-z-]+) \S.*|ohlora (runs|doctor)|make [a-z].*"
            words = (" ".join(found.split()) for found in re.findall(r"`([^`]+)`", part))
            yield from (word for word in words if re.fullmatch(whole, word))


def small(words: list[str]) -> list[str]:
    """A command's words, with those that make it small."""
    words = [NAMES.get(word, word) for word in words]
    if words[1] == "bench/bench.py" and "--help" not in words:  # --quality takes far longer
        return ["python", words[1], "--sizes", "mini", "--repeats", "1", "--threads", "1", "--no-memory"]
    if words[0] == "python":
        keys = [word.partition("=")[0] for word in words[2:]]
        more = small_settings(words[1], dict(word.partition("=")[::2] for word in words[2:]))
        kept = [word for word, key in zip(words[2:], keys, strict=True) if key not in more]
        if "-m" in keys:
            kept = [
                word.partition(",")[0] if word.startswith("method=") else ",".join(word.split(",")[:2]) for word in kept
            ]
            more |= {} if "method" in keys else SWEEP
        return [*words[:2], *kept, *(f"{key}={value}" for key, value in more.items())]
    name = words[1]
    if name in NUM_PICTURES:
        return [
            words[0],
            name,
            *(NUM_PICTURES[name] if len(word) > 2 and word.isdecimal() else word for word in words[2:]),
        ]
    if name == "transfer":
        by = [] if "--jacobians" in words else ["--samples", "10"]
        return [*("2" if word == "24" else word for word in words), "--n", "2", *by]
    if name in NUM_IMAGES:
        return [*words, "--n", NUM_IMAGES[name], *(["--rounds", "1"] if name == "truth" else [])]
    if name == "edit":
        cheap = ["--metric", "cloud"] if "closed-loop" in words else []
        which = ["--learn", "0"] if "--image" in words else [] if "--latents" in words else ["--faces", "0"]
        return [*words, *which, "--steps", "3", "--frames", "2", *cheap]
    return words


def small_settings(program: str, given: dict[str, str]) -> dict[str, str]:
    """Settings that make a run of a program of Hydra small, in place of those that are given."""
    if program == "find_vectors.py":
        method = {} if "-m" in given else METHODS.get(given.get("method", ""), {})
        search = {**SEARCH}
        if given.get("method") == "closed_loop":  # finds nothing: it has no samples and no groups
            del search["n"], search["num_calibration"]
            given = {**given, "groups": ""}
        groups = {} if given.keys() & {"groups", "group_by"} else {"groups": "none"}
        if given.get("layer") != "mapping_split2" and not given.keys() & {
            "scorer",
            "judge",
            "checkpoint",
            "experiment",
        }:
            search["judge"] = "property_cnn_judge"  # one search is judged by the truth, too, which draws each face anew
        return FEW if given.get("n") == "20" else {**search, **method, **groups}
    if program != "train.py":
        return {}
    more = TRAIN | (FACES if given.get("data", "faces") == "faces" else {})
    if given["model"].startswith(("pretrain", "finetune")):
        more = more | GAN
    if "reference_256" in given.get("experiment", ""):
        more = more | FULL_SIZE
    return more | (GENERATED if given.get("data") == "generated" else {})


def run(words: list[str]) -> int:
    """Runs a command; returns its exit code."""
    from ohlora_gan.__main__ import main

    if words[0] == "make":
        return subprocess.run(["make", "--dry-run", *words[1:]], cwd=PROJECT, stdout=subprocess.DEVNULL).returncode
    if words[0].startswith(".venv-landmarks") and ("label" not in words or not find_spec("mediapipe")):
        return 0  # what is distilled from landmarks needs a generator of faces, see test_faces_of_a_stranger
    if words[1:2] == ["explore"]:
        words = [*words, "--help"]  # it serves until Ctrl+C
    if words[0] != "python":
        plan = ["--cfg", "job"] if words[1] == "chain" else []
        return exit_code(lambda: main([*words[1:], *plan]))
    sys.argv = words[1:]
    sys.path.insert(0, str((PROJECT / words[1]).parent))  # as Python does
    return exit_code(lambda: runpy.run_path(str(PROJECT / words[1]), run_name="__main__"))


def exit_code(call: Callable[[], object]) -> int:
    """What a program that ends by returning or by ``SystemExit`` ends with; 1 after a traceback."""
    try:
        result = call()
    except SystemExit as stop:
        return int(stop.code or 0)
    except Exception:
        traceback.print_exc()
        return 1
    return result if isinstance(result, int) else 0


def shrink_shipped_models() -> None:
    """Puts stand-ins of few feature maps in place of the shipped generators, for as long as the process lives."""
    from ohlora_gan.files import write_json
    from ohlora_gan.models import checkpoint, gan, zoo

    shipped, zoo.ASSETS = zoo.ASSETS, Path("assets").absolute()
    zoo.ASSETS.mkdir()
    for path in shipped.glob("*.safetensors"):
        weights, copy = checkpoint.load(path), zoo.ASSETS / path.name
        if "generator" in weights.networks:
            networks = {
                name: getattr(gan, described["class"])(**(described["config"] | {"fmaps": FMAPS}))
                for name, described in weights.networks.items()
            }
            checkpoint.save(copy, networks, half=True, **weights.info)
        else:
            copy.symlink_to(path)
        write_json(copy.with_suffix(".json"), {"sha256": checkpoint.file_hash(copy)})


def prepare() -> None:
    """Makes the files that the pages name, in the working folder."""
    shrink_shipped_models()
    import numpy as np
    import pandas as pd
    import torch

    from ohlora_gan.directions.base import all_group_names
    from ohlora_gan.directions.files import write_directions
    from ohlora_gan.models import checkpoint
    from tests import nvidia_files, tiny

    assert run(shlex.split("ohlora render 40 --output PICTURES")) == 0
    Path("photos").symlink_to("PICTURES")
    labels = pd.read_csv("PICTURES/labels.csv")
    labels[["file", "lips", "eyes"]].to_csv("labels.csv", index=False)
    make_labelled(labels)
    draws = np.random.default_rng(0)
    write_directions("FOLDER", unit(draws, 3, 16, 1024), all_group_names(), "mapping_split2")
    np.save("eyes_boundary.npy", unit(draws, 1, 16))
    Path("BOUNDARIES").mkdir()
    for name in ("smile", "age", "eyes"):
        np.save(f"BOUNDARIES/{name}.npy", unit(draws, 1, 16))
    Path("my_net.py").write_text(NETWORK, encoding="utf-8")
    Path("my_scores.py").write_text(TEXTS, encoding="utf-8")
    write_latent_tables(draws)
    shutil.copy("PICTURES/000000.png", "photo.jpg")
    np.save("encoded.npy", draws.standard_normal((10, 256)).astype(np.float32))
    snapshot = {"G_ema": nvidia_files.store(nvidia_files.generator(resolution=64))}
    nvidia_files.write(Path("network-snapshot.pkl"), snapshot)
    generator, discriminator = (make(resolution=64, fmaps=[8] * 5) for make in (tiny.generator, tiny.discriminator))
    parts = {"generator": generator, "discriminator": discriminator, "generator_smooth": generator}
    torch.save({name: network.state_dict() for name, network in parts.items()}, "my_generator.pth")
    for name, make in (("generator", tiny.generator), ("discriminator", tiny.discriminator)):
        shape = {"z_dim": 512, "w_dim": 512, "mapping_dim": 512, "split": False} if name == "generator" else {}
        network = make(resolution=256, fmaps=[8] * 7, **shape)
        torch.save({name: network.state_dict()}, f"{name}_v1.pth")
    for name in ("my_scorer", "A", "B"):
        checkpoint.save(Path(f"{name}.safetensors"), {"scorer": tiny.SmallPropertyCNN(width=4, resolution=64)})
    search = ["python", "find_vectors.py", "layer=w"]
    for method in ("svm", "ridge"):
        assert run(small([*search, f"method={method}", f"paths.output_dir=RUNS/{method}"])) == 0
    Path("RUN").symlink_to("RUNS/svm")
    assert run(small(["python", "train.py", "model=finetune_v9", f"paths.output_dir={STOPPED_RUN}"])) == 0


NETWORK = """from torch import nn


def dcgan():
    make = nn.ConvTranspose2d
    return nn.Sequential(make(100, 16, 8), nn.BatchNorm2d(16), nn.ReLU(), make(16, 3, 8, 8), nn.Tanh())
"""


TEXTS = """from torch import nn


class Texts(nn.Module):
    property_names = ["smiling", "beard"]

    def forward(self, images):
        return images[:, :2].mean(dim=(2, 3))
"""


SEGMENTER = """import numpy as np
from PIL import Image


def segment(image):
    return np.array(Image.open("parsed/parsing_000000.png"))
"""


def make_labelled(labels) -> None:
    """What labelling by landmarks would leave, a segmenter, and a folder in Oh-LoRA's layout."""
    from ohlora_gan.files import save_png
    from ohlora_gan.world.face import sample_attributes
    from ohlora_gan.world.painter import render_with_parse_map

    for i, name in enumerate(labels["file"]):
        codes = render_with_parse_map(sample_attributes(0, i), 224)[1]
        save_png(Path("labelled/maps") / name, codes)
        save_png(Path(f"parsed/parsing_{i:06d}.png"), codes)
        shutil.copy(Path("PICTURES") / name, f"parsed/face_{i:06d}.png")
    measures = labels.rename(columns={"mouth": "mouth_opening", "pose": "turn"})
    measures[["file", "mouth_opening", "turn"]].to_csv("labelled/labels.csv", index=False)
    Path("my_segmenter.py").write_text(SEGMENTER, encoding="utf-8")


def unit(draws, *shape: int):
    """Random unit vectors."""
    import numpy as np

    vectors = draws.standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def write_latent_tables(draws) -> None:
    """Latents as Oh-LoRA keeps them."""
    import numpy as np

    from ohlora_gan.latents.saved import SavedLatents, write_latents

    z, label = draws.standard_normal((2, 512)), draws.standard_normal((2, 7))
    corrs = {name: np.ones(2) for name in ("eyes", "mouth", "pose")}
    latents = SavedLatents(
        z.astype(np.float32), label.astype(np.float32), groups=["hhhh", "llll"], cases=[0, 1], corrs=corrs
    )
    write_latents("latents", latents, "mapping_split2", "svm")
    Path("latents/ohlora_z_vectors_svm.csv").rename("ohlora_z_vectors.csv")
    Path("latents/ohlora_mapping_split2_group_names_svm.csv").rename("group_names.csv")


def all_commands(pages: list[str]) -> list[str]:
    """The commands of pages, each once."""
    return list(dict.fromkeys(c for page in pages for c in commands((PROJECT / page).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    wanted, failed = all_commands(sys.argv[1:]), []
    prepare()
    for command in wanted:
        words = small(shlex.split(command))
        print("\n$", command, "\n  as", shlex.join(words), flush=True)
        started = time.process_time()
        code = run(words)
        failed += [command] if code else []
        print(f"  exit code {code} after {time.process_time() - started:.1f} s", flush=True)
    sys.exit(f"failed: {failed}" if failed else 0)
