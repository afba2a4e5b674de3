"""Synthetic run folders of find_vectors.py with a judge.json, for what compares runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from ohlora_gan.files import grid, save_png

EDITED = ("eyes", "mouth", "pose")
NAMES = (*EDITED, "hair_color")


def spread(value: float, half: float = 0.02) -> list[float]:
    return [value, value - half, value + half]


def scorer(role: str, sum_corr: float, pass_share: float, leak: float) -> dict[str, Any]:
    """A scorer's figures as the judge writes them."""
    return {
        "role": role,
        "names": list(NAMES),
        "corr": {name: spread(sum_corr / 3) for name in EDITED},
        "sum_corr": spread(sum_corr),
        "sum_abs_corr": spread(sum_corr + 0.01),
        "pass_share": spread(pass_share, 0.03),
        "retest": {"pass_share": spread(pass_share), "passed_both": 0.9},
        "response": np.eye(3, 4).tolist(),
        "leakage": {
            name: {"worst": leak * (i + 1), "name": "hair_color", "rms": leak, "interval": [leak * i, leak * (i + 2)]}
            for i, name in enumerate(EDITED)
        },
        "linearity": dict.fromkeys(EDITED, 0.95),
        "saturation": {name: [-2.0, 2.0] for name in EDITED},
        "drift": {"hair_color": spread(0.1)},
        "lost": 0.0,
    }


def judgement(
    method: str = "svm", layer: str = "w", n: int = 1000, good: float = 2.5, **changes: Any
) -> dict[str, Any]:
    """A judge.json: ``good`` is the sum of correlations by the judging scorer."""
    share = max(0.0, good - 2)
    return {
        "method": method,
        "decorrelate": "all" if method == "ridge" else "none",
        "metric": "euclid",
        "layer": layer,
        "n": n,
        "edited": list(EDITED),
        "grid": "sigma",
        "num_latents": 200,
        "seconds": {"sampling": 20.0, "finding": n / 1000, "testing": 30.0},
        "equivalent_to_w": layer == "mapping_split2",
        "by": {
            "property_cnn": scorer("finding", good + 0.05, min(1.0, share + 0.05), 0.05),
            "judge_cnn": scorer("judging", good, share, 0.06),
        },
        "image_change": {"whole": spread(0.05, 0.003), "outside": spread(0.03, 0.002)},
        **changes,
    }


def write_run(folder: Path, content: dict[str, Any] | None, *overrides: str, faces: int = 4, **settings: Any) -> Path:
    """A run folder: configuration, overrides, strips of ``faces`` rows and 5 columns, judge.json unless None."""
    content_of_config = {"task": "find_vectors", "n": 1000, "seed": 0, "checkpoint": "v9", "strips": {"steps": 5}}
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create({**content_of_config, **settings}), folder / "config.yaml")
    OmegaConf.save(OmegaConf.create(list(overrides)), folder / ".hydra" / "overrides.yaml")
    if content is None:
        return folder
    for i, name in enumerate(EDITED):
        shades = np.arange(faces * 5, dtype=np.uint8).reshape(-1, 1, 1, 1) * 12 + np.uint8(i)
        save_png(folder / "strips" / f"strip_{name}.png", grid(np.tile(shades, (1, 16, 16, 3)), columns=5))
    (folder / "report.html").write_text("report")
    (folder / "judge.json").write_text(json.dumps(content))
    return folder
