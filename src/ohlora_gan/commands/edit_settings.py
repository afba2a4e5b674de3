"""The arguments of ``python -m ohlora_gan.commands.edit``: KEY=VALUE, read and checked."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ohlora_gan.editing.closed_loop import TARGETS
from ohlora_gan.judging.measure import PARTS
from ohlora_gan.latents.metric import METRICS

HELP = """python -m ohlora_gan.commands.edit KEY=VALUE ...

Changes faces by score sigmas and writes strips, grids, an animation and edit.json.

  python -m ohlora_gan.commands.edit vectors=runs/find_vectors/DATE seeds=[0,1,2] eyes=+1 mouth=-0.5
  python -m ohlora_gan.commands.edit vectors=runs/find_vectors/DATE eyes=1 pose=1 mode=independent
  python -m ohlora_gan.commands.edit mode=closed_loop eyes=+1 mouth=-0.5 keep=rest metric=image

  PROPERTY=      change of a score, in sigmas, relative to the face's own; any number of properties
  vectors=       a run folder of find_vectors.py, or a vectors.safetensors; mode=closed_loop needs none
  checkpoint=    the generator (default: that of the run, else v9)
  scorer=        the network that scores faces (default: that of the run, else property_cnn)
  truncation_psi=  below 1 faces are alike and clean (default: that of the run, else 1)
  seeds=         numbers of the faces (default [0,1,2]); latents=FILE takes saved ones instead
  seed=          of all random numbers, the faces' too (default: that of the run, else 0)
  mode=          joint: all at once (default); independent: one by one; jitter: at once, in several versions;
                 closed_loop: until the scores are reached
  beyond=        scores that no face of the generator has: clip (default) to the nearest that one has, or refuse
  steps=         faces a strip, odd (default 9)
  versions=      jittered versions of a face (default 5); jitter= how far (default 0.5), in units of each
                 coordinate's standard deviation; jitter_unit=one: in units of the layer itself
  targets=       of a closed loop: change (default), of the face's own score, or score, which all faces are taken to
  keep=          of a closed loop: rest (default), none, or names [hair_color,pose]: scores to hold
  layer=         of a closed loop without vectors (default w)
  metric=        of a closed loop, what a step costs: its length (euclid), how unlike sampled faces it is (cloud), or
                 how much it changes the picture (image, the default); an image or cloud metric is measured once
  region=        of metric=image, what should stay: border (what surrounds the face, default), face, or all
  cloud=         of metric=image, how much of metric=cloud is added (default 0.01): with 0 the least change of
                 the picture may deceive the scorer, and heads do not turn
  paths.bank_dir=  where measured metrics are kept (default runs/banks)
  frames=, fps=  of the animation (default 15 from end to end, 15 a second)
  output=        the folder (default: one in runs/edit, named by the time)
  device=        cpu (default), cuda or mps"""

MODES = ("joint", "independent", "jitter", "closed_loop")
BEYOND = ("clip", "refuse")
UNITS = ("cloud", "one")
DEVICES = ("cpu", "cuda", "mps")
ONLY_CLOSED_LOOP = ("metric", "region", "cloud", "keep", "targets", "layer")
ONLY_JITTER = ("versions", "jitter", "jitter_unit")


@dataclass(frozen=True)
class EditSettings:
    """What to edit and how.

    Attributes:
        changes: property -> change in score sigmas, relative to the face's own score.
        vectors: a run folder or a directions file; None: none, which only a closed loop can do with.
        checkpoint, scorer: None: those of the run that found the vectors, else the shipped ones.
        truncation_psi, seed: None: those of the run, else 1 and 0.
        seeds: numbers of the faces; latents: a file of saved ones instead.
        mode: one of ``MODES``.
        layer: where a closed loop without vectors moves codes.
        metric, cloud: of the closed loop, see ``latents.metric``; region: one of ``image_change.PARTS``.
        keep, targets: of the closed loop, see ``closed_loop.ClosedLoop.edit``.
        beyond: what to do where a target lies beyond what faces of the generator have.
        steps: faces a strip, odd, so that the unedited face is among them.
        versions, jitter, jitter_unit: jittered versions of each face, how far in units of each coordinate's standard
            deviation (``cloud``) or of the layer itself (``one``).
        frames: of the animation, from one end to the other; fps: frames a second.
        bank_dir: where measured metrics are kept.
        output: the folder; None: one in ``runs/edit`` named by the time.
        device: ``cpu``, ``cuda`` or ``mps``.
    """

    changes: Mapping[str, float]
    vectors: Path | None = None
    checkpoint: str | None = None
    scorer: str | None = None
    truncation_psi: float | None = None
    seed: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    latents: Path | None = None
    mode: str = "joint"
    layer: str = "w"
    metric: str = "image"
    region: str = "border"
    cloud: float = 0.01
    keep: str | tuple[str, ...] = "rest"
    targets: str = "change"
    beyond: str = "clip"
    steps: int = 9
    versions: int = 5
    jitter: float = 0.5
    jitter_unit: str = "cloud"
    frames: int = 15
    fps: float = 15.0
    bank_dir: Path = Path("runs/banks")
    output: Path | None = None
    device: str = "cpu"
    given: Sequence[str] = field(default=(), repr=False)


def parse(arguments: Sequence[str]) -> EditSettings:
    """Reads KEY=VALUE arguments; a key that is no setting is a property, to be checked against the scorer.

    Raises:
        ValueError: one sentence about the first argument that cannot be used.
    """
    settings: dict[str, Any] = {}
    changes: dict[str, float] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        key = key.removeprefix("paths.")
        if not equals or not re.fullmatch(r"\w+", key):
            raise ValueError(f"{argument!r} is no KEY=VALUE, such as seeds=[0,1,2] or eyes=+1")
        if key in settings or key in changes:
            raise ValueError(f"{key}= is given twice: give it once")
        if key in READERS:
            settings[key] = READERS[key](key, value)
        else:
            changes[key] = _strength(key, value)
    found = EditSettings(changes, given=tuple(settings), **settings)
    _check(found)
    return found


def check_properties(settings: EditSettings, names: Sequence[str]) -> None:
    """Raises ValueError where something is to be changed or kept that the scorer does not measure."""
    kept = settings.keep if isinstance(settings.keep, tuple) else ()
    for name in (*settings.changes, *kept):
        if name not in names:
            close = get_close_matches(name, [*names, *READERS], n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise ValueError(
                f"{name!r} is neither a setting nor a property of the scorer{hint}: expected one of {', '.join(names)}"
            )


def _check(found: EditSettings) -> None:
    """Raises ValueError where settings do not go together."""
    closed = found.mode == "closed_loop"
    if not found.changes:
        raise ValueError("nothing to change: give a property and a strength in score sigmas, such as eyes=+1")
    if found.vectors is None and not closed:
        raise ValueError(
            "vectors= is missing: give the folder of a find_vectors.py run or a vectors.safetensors, "
            "or mode=closed_loop, which needs none"
        )
    for keys, mode in ((ONLY_CLOSED_LOOP, "closed_loop"), (ONLY_JITTER, "jitter")):
        if wrong := [key for key in keys if key in found.given and found.mode != mode]:
            raise ValueError(f"{wrong[0]}= is a setting of mode={mode}: leave it out, or give mode={mode}")
    if "layer" in found.given and found.vectors is not None:
        raise ValueError("layer= is the layer of the vectors where vectors= is given: leave one of them out")
    if wrong := [key for key in ("region", "cloud") if key in found.given and found.metric != "image"]:
        raise ValueError(f"{wrong[0]}= is a setting of metric=image: leave it out, or give metric=image")
    if found.latents is not None and "seeds" in found.given:
        raise ValueError("seeds= and latents= both say which faces to edit: give one of them")
    if found.steps % 2 == 0:
        raise ValueError(f"steps={found.steps}, expected an odd number, so that the unedited face is in the middle")


def _strength(key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{key}={value}, expected a strength in score sigmas such as {key}=+1 or {key}=-0.5")
    if number == 0:
        raise ValueError(f"{key}={value} changes nothing: leave it out, or give a strength such as {key}=+1")
    return number


def _number(low: float, high: float, whole: bool = False) -> Callable[[str, str], float]:
    def read(key: str, value: str) -> float:
        try:
            number = int(value) if whole else float(value)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise ValueError(f"{key}={value}, expected a {'whole ' * whole}number from {low:g} to {high:g}")
        return number

    return read


def _choice(*names: str) -> Callable[[str, str], str]:
    def read(key: str, value: str) -> str:
        if value not in names:
            raise ValueError(f"{key}={value}, expected one of {', '.join(names)}")
        return value

    return read


def _text(key: str, value: str) -> str:
    if not value:
        raise ValueError(f"{key}= has no value: give one, or leave it out")
    return value


def _path(key: str, value: str) -> Path:
    return Path(_text(key, value))


def _seeds(key: str, value: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\[\s*\d+(\s*,\s*\d+)*\s*\]|\d+", value):
        raise ValueError(f"{key}={value}, expected whole numbers of 0 or more such as {key}=[0,1,2]")
    seeds = tuple(int(number) for number in re.findall(r"\d+", value))
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{key}={value} names a face twice: give each number once")
    return seeds


def _keep(key: str, value: str) -> str | tuple[str, ...]:
    if value in ("rest", "none"):
        return value
    if not re.fullmatch(r"\[\s*\w+(\s*,\s*\w+)*\s*\]", value):
        raise ValueError(f"{key}={value}, expected rest, none, or names such as {key}=[hair_color,pose]")
    return tuple(re.findall(r"\w+", value))


READERS: dict[str, Callable[[str, str], Any]] = {
    "vectors": _path,
    "checkpoint": _text,
    "scorer": _text,
    "truncation_psi": _number(0.01, 1),
    "seed": _number(0, 2**63 - 1, whole=True),
    "seeds": _seeds,
    "latents": _path,
    "mode": _choice(*MODES),
    "layer": _text,
    "metric": _choice(*METRICS),
    "region": _choice(*PARTS),
    "cloud": _number(0, 1000),
    "keep": _keep,
    "targets": _choice(*TARGETS),
    "beyond": _choice(*BEYOND),
    "steps": _number(3, 99, whole=True),
    "versions": _number(1, 99, whole=True),
    "jitter": _number(0, 100),
    "jitter_unit": _choice(*UNITS),
    "frames": _number(2, 500, whole=True),
    "fps": _number(1, 50),
    "bank_dir": _path,
    "output": _path,
    "device": _choice(*DEVICES),
}
"""Every setting but the properties, and what reads its value."""
