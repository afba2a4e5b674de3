"""How well faces that no training has seen are inverted and edited.

    python bench/bench_inversion.py v9 50
    python bench/bench_inversion.py model.safetensors 20 --photographs FOLDER --scorer FILE --judge landmarks

Rendered faces, or photographs that were held out. Directions are found by ridge regression at w. The judge, a scorer
that had no part in inverting and finding, looks at each face before and after each edit, in standard deviations of
sampled faces; edits of as many sampled faces of the generator are there to compare with. Where a judge finds no face,
the picture is left out and counted.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import ohlora_gan as og
from ohlora_gan.api import Directions, Faces
from ohlora_gan.data.datasets import matching_indices
from ohlora_gan.data.pictures import PictureSource, to_square
from ohlora_gan.files import write_json
from ohlora_gan.models.gan import from_uint8
from ohlora_gan.models.zoo import open_scorer
from ohlora_gan.world.face import sample_attributes
from ohlora_gan.world.painter import render

SEED = 987_654_321  # no training renders its faces
KEEP = {"v9": {"gender": 1, "quality": 1, "age": 0, "glass": 0}}
STRENGTHS = (-1.0, -0.5, 0.5, 1.0)


class Judge:
    """A scorer that had no part: its scores in standard deviations of a generator's sampled faces.

    Args:
        name: of the scorer, as ``open_scorer`` takes it.
        properties: of the scorer that directions are found with; those that both know are judged.
        sampled: uint8 ``[N, R, R, 3]``.
    """

    def __init__(self, name: str, properties: tuple[str, ...], sampled: np.ndarray):
        self._scorer = open_scorer(name).eval()
        told = list(getattr(self._scorer, "property_names", properties))
        self.names = [name for name in properties if name in told]
        self._columns, self._unit = [told.index(name) for name in self.names], np.float64(1)
        self._unit = np.nanstd(self(sampled), axis=0)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Float64 ``[N, P]`` of uint8 ``[N, R, R, 3]``; NaN where no face is found."""
        with torch.no_grad():
            scores = self._scorer(from_uint8(torch.from_numpy(images)))
        return scores.double().numpy()[:, self._columns] / self._unit

    def edits(self, found: Directions, faces: Faces) -> dict[str, dict[str, float]]:
        """By property: correlation of strength asked for and the judge's change, its slope, and what else moved."""
        start, figures = self(faces.images), {}
        for name in (name for name in found.properties if name in self.names):
            place, asked, changes = self.names.index(name), np.repeat(STRENGTHS, len(faces)), []
            for strength in tqdm(STRENGTHS, desc=name):
                changes.append(self(found.edit(faces, **{name: strength}).images) - start)
            change = np.concatenate(changes)
            seen = np.isfinite(change).all(axis=1)
            asked, got, rest = asked[seen], change[seen, place], np.abs(np.delete(change[seen], place, axis=1))
            figures[name] = {
                "correlation": float(np.corrcoef(asked, got)[0, 1]),
                "slope": float(np.polyfit(asked, got, 1)[0]),
                "right way": float(np.mean(np.sign(got) == np.sign(asked))),
                "others moved": float(rest.mean()),
                "faces lost": float(1 - seen.mean()),
            }
        return figures


def rendered(name: str, num: int, resolution: int) -> list[np.ndarray]:
    """Faces uint8 ``[R, R, 3]`` as the generator was trained for."""
    return [render(sample_attributes(SEED, i), resolution) for i in matching_indices(SEED, 0, num, KEEP.get(name, {}))]


def photographs(folder: str, num: int, resolution: int) -> list[np.ndarray]:
    """The first pictures of a folder or zip, their largest central squares uint8 ``[R, R, 3]``."""
    source = PictureSource(folder)
    return [to_square(source.picture(name), resolution) for name in source.names[:num]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generator")
    parser.add_argument("num", type=int, nargs="?", default=50)
    parser.add_argument("--n", type=int, default=2000, help="samples that directions are found with")
    parser.add_argument("--photographs", help="folder or zip of pictures to invert; default: rendered faces")
    parser.add_argument("--scorer", default="auto", help="that directions are found with")
    parser.add_argument("--judge", default="property_cnn_judge")
    parser.add_argument("--output", type=Path, default=Path("runs/inversion"))
    asked = parser.parse_args()
    gan = og.load(asked.generator, scorer=asked.scorer)
    pictures = (
        photographs(asked.photographs, asked.num, gan.resolution)
        if asked.photographs
        else rendered(asked.generator, asked.num, gan.resolution)
    )
    started = time.process_time()
    gan.invert(pictures[0], crop="none", cache=asked.output)
    learning = time.process_time() - started
    started, wall = time.process_time(), time.monotonic()
    faces = gan.invert(*pictures, crop="none", cache=asked.output)
    seconds, wall = (time.process_time() - started) / asked.num, (time.monotonic() - wall) / asked.num
    sampled = gan.sample(asked.num, seed=SEED)
    judge = Judge(asked.judge, gan.properties, gan.sample(200, seed=SEED + 1).images)
    given, kept = judge(np.stack(pictures)), judge(faces.images)
    seen = np.isfinite(given + kept).all(axis=1)
    given, kept = given[seen], kept[seen]
    found = gan.find("ridge", layer="w", n=asked.n, cache=asked.output)
    figures = {
        "generator": asked.generator,
        "faces": asked.num,
        "learning, CPU s": learning,
        "CPU s a face": seconds,
        "s a face": wall,
        **{name: faces.agreement[name].describe().to_dict() for name in faces.agreement},
        "judge, faces lost": float(1 - seen.mean()),
        "judge, scores off": dict(zip(judge.names, np.abs(kept - given).mean(axis=0).tolist(), strict=True)),
        "judge, correlation": {
            name: float(np.corrcoef(given[:, i], kept[:, i])[0, 1]) for i, name in enumerate(judge.names)
        },
        "edits": judge.edits(found, faces),
        "edits of sampled faces": judge.edits(found, sampled),
    }
    print(json.dumps(figures, indent=1))
    write_json(asked.output / f"{Path(asked.generator).stem}.json", figures)
    strip = np.concatenate([np.stack(pictures), faces.images], axis=2)[:8]
    Image.fromarray(np.concatenate(strip)).save(asked.output / "given_and_found.png")


if __name__ == "__main__":
    main()
