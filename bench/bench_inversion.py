"""How well rendered faces that no training has seen are inverted and edited: ``python bench/bench_inversion.py v9 50``.

Directions are found by ridge regression at w. The judge, a scorer that had no part in inverting and finding, looks at
each face before and after each edit; edits of as many sampled faces of the generator are there to compare with.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import ohlora_gan as og
from ohlora_gan.api import Directions, Faces
from ohlora_gan.data.datasets import matching_indices
from ohlora_gan.files import write_json
from ohlora_gan.models.gan import from_uint8
from ohlora_gan.models.zoo import open_scorer
from ohlora_gan.names import EDITED_PROPERTIES
from ohlora_gan.world.face import sample_attributes
from ohlora_gan.world.painter import render

SEED = 987_654_321  # no training renders its faces
KEEP = {"v9": {"gender": 1, "quality": 1, "age": 0, "glass": 0}}
STRENGTHS = (-1.0, -0.5, 0.5, 1.0)


def judged(judge: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """The judge's scores ``[N, P]`` of uint8 ``[N, R, R, 3]``."""
    with torch.no_grad():
        return judge(from_uint8(torch.from_numpy(images))).numpy()


def edits(found: Directions, faces: Faces, judge: torch.nn.Module, start: np.ndarray) -> dict[str, list[float]]:
    """By property: correlation of the strengths asked for and the judge's change, its slope, and what else moved."""
    names, figures = list(found.gan.properties), {}
    for name in EDITED_PROPERTIES:
        asked, got, rest = [], [], []
        for strength in tqdm(STRENGTHS, desc=name):
            change = judged(judge, found.edit(faces, **{name: strength}).images) - start
            asked += [strength] * len(faces)
            got += change[:, names.index(name)].tolist()
            rest += np.abs(np.delete(change, names.index(name), axis=1)).mean(axis=1).tolist()
        slope = float(np.polyfit(asked, got, 1)[0])
        right = np.mean(np.sign(got) == np.sign(asked))
        figures[name] = [float(np.corrcoef(asked, got)[0, 1]), slope, float(right), float(np.mean(rest))]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generator")
    parser.add_argument("num", type=int, nargs="?", default=50)
    parser.add_argument("--n", type=int, default=2000, help="samples that directions are found with")
    parser.add_argument("--output", type=Path, default=Path("runs/inversion"))
    asked = parser.parse_args()
    gan, judge = og.load(asked.generator), open_scorer("property_cnn_judge").eval()
    indices = matching_indices(SEED, 0, asked.num, KEEP.get(asked.generator, {}))
    pictures = [render(sample_attributes(SEED, i), gan.resolution) for i in indices]
    started = time.process_time()
    gan.invert(pictures[0], crop="none", cache=asked.output)
    learning = time.process_time() - started
    started, wall = time.process_time(), time.monotonic()
    faces = gan.invert(*pictures, crop="none", cache=asked.output)
    seconds, wall = (time.process_time() - started) / asked.num, (time.monotonic() - wall) / asked.num
    given = judged(judge, np.stack(pictures))
    off = judged(judge, faces.images) - given
    found = gan.find("ridge", layer="w", n=asked.n, cache=asked.output)
    sampled = gan.sample(asked.num, seed=SEED)
    names = list(gan.properties)
    figures = {
        "generator": asked.generator,
        "faces": asked.num,
        "learning, CPU s": learning,
        "CPU s a face": seconds,
        "s a face": wall,
        **{name: faces.agreement[name].describe().to_dict() for name in faces.agreement},
        "judge, scores off": dict(zip(names, np.abs(off).mean(axis=0).tolist(), strict=True)),
        "judge, correlation": {
            p: float(np.corrcoef(given[:, i], given[:, i] + off[:, i])[0, 1]) for i, p in enumerate(names)
        },
        "edits": edits(found, faces, judge, judged(judge, faces.images)),
        "edits of sampled faces": edits(found, sampled, judge, judged(judge, sampled.images)),
    }
    print(json.dumps(figures, indent=1))
    write_json(asked.output / f"{asked.generator}.json", figures)


if __name__ == "__main__":
    main()
