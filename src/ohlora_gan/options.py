"""What commands can be asked for: options that travel together, as dataclasses with defaults, ranges and help.

A command takes such a dataclass as a parameter (`commands.flat` makes options of its fields), and what it calls takes
the same one. Nothing here imports a network.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ohlora_gan.errors import UserError

DeviceName = Literal["auto", "cpu", "cpu_bf16", "cuda", "cuda_bf16", "cuda_amp", "mps"]
Generation = Literal["v1", "v2"]


def option(default: Any, help: str, metavar: str | None = None, *, shown: str | bool = True, **more: Any) -> Any:
    """A field that is an option of a command.

    Args:
        default: of the field; ``{}`` is a new one each time.
        help: what ``--help`` says.
        metavar: what it calls the value.
        shown: what it says of the default.
        more: ``flag``, where it is another than the field's name; ``between``, the range of a number; ``typed``, the
            type on the command line where ``read`` makes the field's value of it, and ``text``, its default there.
    """
    metadata = {"help": help, "metavar": metavar, "show_default": shown, **more}
    return (
        field(default_factory=dict, metadata=metadata) if default == {} else field(default=default, metadata=metadata)
    )


def group(kind: type, panel: str | None = None) -> Any:
    """A field that is a dataclass of options, which ``--help`` shows in a panel."""
    return field(default_factory=kind, metadata={"panel": panel})


DEVICE: Mapping[str, Any] = {"help": "where networks run: auto takes a GPU where there is one"}
SEED: Mapping[str, Any] = {"help": "of all random numbers", "between": (0, 2**63 - 1)}


# --- How words become values ---


def read_strengths(pairs: Iterable[str]) -> dict[str, float]:
    """``["eyes=+1", "mouth=-0.5"]`` as property -> strength in score sigmas; 0 is none."""
    found: dict[str, float] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not re.fullmatch(r"\w+", name):
            raise UserError(f"--set {pair}, expected PROPERTY=STRENGTH such as --set eyes=+1 or --set mouth=-0.5")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"--set {pair}, expected a strength in score sigmas such as --set {name}=+1")
        if value == 0:
            raise UserError(f"--set {pair} changes nothing: leave it out, or give a strength such as {name}=+1")
        if name in found:
            raise UserError(f"--set {name}= is given twice: give it once")
        found[name] = value
    return found


def read_counts(option: str, text: str, example: str) -> dict[str, int]:
    """``gender=1,quality=1`` as name -> whole number."""
    pairs = [re.fullmatch(r"(\w+)=(\d+)", part.strip()) for part in text.split(",") if text]
    if not all(pairs):
        raise UserError(f"{option} {text}, expected NAME=VALUE such as {example}")
    return {pair[1]: int(pair[2]) for pair in pairs if pair}


def read_keep(text: str) -> dict[str, int]:
    """Binary attributes that all rendered faces have."""
    return read_counts("--keep", text, "gender=1,quality=1")


def read_tops(pairs: Iterable[str]) -> dict[str, int]:
    """Columns, and how many pictures with their highest values to show."""
    tops = read_counts("--top", ",".join(pairs), "mouth=10")
    if 0 in tops.values():
        raise UserError("--top asks for 0 pictures, expected COLUMN=NUMBER such as mouth=10")
    return tops


def read_faces(text: str) -> tuple[int, ...]:
    """``0,1,2`` as numbers."""
    if not re.fullmatch(r"\d+(\s*,\s*\d+)*", text.strip()):
        raise UserError(f"--faces {text}, expected whole numbers of 0 or more such as --faces 0,1,2")
    return tuple(int(number) for number in text.split(","))


def read_hold(names: Sequence[str]) -> str | tuple[str, ...]:
    """What an edit holds still: ``rest`` or ``none`` alone, or names."""
    words = {"rest", "none"} & {*names}
    if words and len(names) > 1:
        raise UserError(f"--hold has {' and '.join(names)}, expected {' or '.join(sorted(words))} alone, or names")
    return names[0] if words else tuple(names)


def read_bounds(bounds: Iterable[str]) -> dict[str, str]:
    """``["gender>=0.92", "age<0.1"]`` as filter -> bound."""
    found = {}
    for text in bounds:
        match = re.fullmatch(r"\s*(\w+)\s*([<>].*)", text)
        if not match:
            raise UserError(f"--require {text!r}, expected a bound in quotes such as 'gender>=0.92'")
        found[match[1]] = match[2]
    return found


def read_names(text: str) -> tuple[str, ...]:
    """``eyes,mouth`` as names."""
    return tuple(text.split(","))


# --- Runs of find_vectors.py: their networks, faces edited along their directions, and which direction is best ---


@dataclass(frozen=True)
class Models:
    """Networks and faces that are asked for instead of those of the run that found the vectors."""

    checkpoint: str | None = option(None, "the generator: a name or a file", "MODEL", shown="the run's")
    scorer: str | None = option(
        None, "a name, a file, landmarks, or package.module:factory", "MODEL", shown="the run's"
    )
    seed: int | None = option(None, **SEED, shown="the run's")
    device: DeviceName = option("cpu", **DEVICE)


@dataclass(frozen=True)
class Loop:
    """A closed loop: see ``closed_loop.ClosedLoop.edit``, ``latents.metric`` and ``judging.measure``."""

    hold: str | Sequence[str] = option(
        "rest",
        "scores to hold: rest, none, or names; without a loop, by their derivatives",
        "NAME",
        shown="rest; none without a loop",
        typed=list[str],
        read=read_hold,
    )
    targets: Literal["change", "score"] = option("change", "sigmas against the face's own score, or the score to reach")
    layer: str = option("z", "where it moves; z keeps to faces that the generator knows", "LAYER")
    metric: Literal["euclid", "cloud", "image"] = option(
        "image", "what a step costs: its length, how unlike sampled faces it is, how much it changes the picture"
    )
    region: Literal["all", "face", "border"] = option("all", "of metric image: what should stay")
    cloud: float = option(
        0.01, "of metric image: how much of metric cloud is added; with 0 the scorer may be deceived", between=(0, 1000)
    )
    bank_dir: Path = option(Path("runs/banks"), "where measured metrics are kept", "FOLDER")


@dataclass(frozen=True)
class Jitter:
    """Versions of edited faces (HiGAN's)."""

    versions: int = option(5, "of each face", between=(1, 99))
    jitter: float = option(0.5, "how far they are from it", between=(0, 100))
    jitter_unit: Literal["cloud", "one"] = option(
        "cloud", "each coordinate's standard deviation, or the layer's own unit"
    )


@dataclass(frozen=True)
class Drawn:
    """Pictures of an edit."""

    steps: int = option(9, "faces a strip, odd", between=(3, 99))
    frames: int = option(15, "of the animation, one way", between=(2, 500))
    fps: float = option(15.0, "frames a second", between=(1, 50))


@dataclass(frozen=True)
class Photo:
    """Photographs that are edited, see ``editing.photos``."""

    image: Sequence[Path] = option(
        (), "a photograph to edit; repeatable", "FILE", shown=False, typed=list[Path], read=tuple
    )
    crop: Literal["auto", "landmarks", "center", "none"] = option(
        "auto", "the face: by landmarks, else the central square; or all of the picture as it is"
    )
    paste: bool = option(False, "put the edited face back into the photograph, too")
    learn: int = option(
        4000, "faces of the generator that a network learns to invert from, once; 0: none, slower", between=(0, 10**6)
    )


@dataclass(frozen=True)
class EditSettings:
    """What to edit and how.

    Attributes:
        vectors: a run folder or a directions file; None: none, which only a closed loop can do with.
        given: the options that the user gave, to refuse those that the mode ignores.
    """

    changes: Mapping[str, float] = option(
        {},
        "change of a score, in sigmas; of what is not scored, in standard deviations of the codes; repeatable",
        "PROPERTY=STRENGTH",
        flag="--set",
        shown=False,
        typed=list[str],
        read=read_strengths,
    )
    mode: Literal["joint", "independent", "jitter", "closed-loop"] = option(
        "joint", "all at once, one by one, at once in several versions, or until the scores are reached"
    )
    faces: Sequence[int] = option((0, 1, 2), "which faces", "NUMBERS", typed=str, text="0,1,2", read=read_faces)
    latents: Path | None = option(
        None, "latents instead: .safetensors, .csv, or others' .npy, .npz, .pt", "FILE", shown=False
    )
    latents_layer: Literal["z", "w", "wplus"] | None = option(
        None, "of others' latents, where shape and name leave it open", shown=False
    )
    photo: Photo = group(Photo, "Photographs (--image)")
    beyond: Literal["clip", "refuse"] = option(
        "clip", "scores that no face of the generator has: go to the nearest that one has, or refuse"
    )
    models: Models = group(Models)
    truncation_psi: float | None = option(
        None, "below 1 faces are alike and clean", shown="the run's, else 1", between=(0.01, 1)
    )
    output: Path | None = option(None, "where to write", "FOLDER", shown="runs/edit/DATE")
    loop: Loop = group(Loop, "A closed loop (--mode closed-loop)")
    jitter: Jitter = group(Jitter, "Versions (--mode jitter)")
    drawn: Drawn = group(Drawn, "Pictures")
    vectors: Path | None = None
    given: Collection[str] = ()


@dataclass(frozen=True)
class Rescoring:
    """How directions compete, see ``judging.rescoring.rescore``."""

    n: int = option(1000, "faces; images are this by candidates")
    step: float = option(2.0, "length of the moves")
    match: bool = option(False, "choose steps that change images equally: layers compare")
    properties: Sequence[str] | None = option(
        None, "only this; repeatable", "NAME", flag="--property", shown="all", typed=list[str]
    )
    by_layer: bool = option(False, "which synthesis layers carry which property, too")


@dataclass(frozen=True)
class Transferring:
    """How directions go over to another checkpoint, see ``pipelines.transfer``."""

    samples: int = option(200, "latents on which strengths are measured anew", between=(2, 100_000))
    jacobians: int = option(
        0,
        "so many latents instead, whose derivatives also rid directions of what changes other scores (24 are enough)",
        between=(0, 100_000),
        shown="none",
    )
    there: Path | None = option(
        None, "a run on the other checkpoint with the run's settings", "RUN", shown="searched now"
    )
    n: int | None = option(None, "faces of the test", shown="the run's, else 100", between=(2, 100_000))
    scorer: str | None = option(None, "the property network: a name or a file", "MODEL", shown="the run's")
    seed: int | None = option(None, **SEED, shown="the run's")
    device: DeviceName = option("cpu", **DEVICE)


@dataclass(frozen=True)
class Distilling:
    """How a scorer is distilled, see `pipelines.distill`."""

    n: int = option(20_000, "pictures, of which a tenth, 2,000 at most, is held out")
    epochs: int = option(12, "passes over them")
    seed: int = option(0, **SEED)
    device: DeviceName = option("cpu", **DEVICE)
    output: Path = option(Path("runs/distilled"), "where distilled scorers and pictures are kept", "FOLDER")


# --- What a generator's faces are compared with ---


@dataclass(frozen=True)
class Reference:
    """What faces of a generator are compared with."""

    keep: Mapping[str, int] = option(
        {}, "of the rendered faces, such as gender=1,quality=1", "NAME=VALUE,...", typed=str, read=read_keep
    )
    pictures: Path | None = option(None, "compare with these photographs: a folder or a zip file", "PICTURES")
    landmarks: bool = option(False, "in what share of the images a face is found, too")


# --- Pictures that one has ---


@dataclass(frozen=True)
class Labelling:
    """How pictures are labelled.

    Attributes:
        tops: column -> how many pictures with its highest values to show.
    """

    generation: Generation = option("v2", "of the scores' algorithms")
    tops: Mapping[str, int] = option(
        {},
        "show the N highest, as top_COLUMN.png; repeatable",
        "COLUMN=N",
        flag="--top",
        shown="none",
        typed=list[str],
        read=read_tops,
    )
    segmenter: str = option("landmarks", "landmarks, or MODULE:CALLABLE", "SEGMENTER")
    maps: Path | None = option(None, "ready parse maps, named as the pictures", "FOLDER", shown="none")


@dataclass(frozen=True)
class Parsing:
    """How a folder of parse maps is scored."""

    generation: Generation = option("v2", "of the scores' algorithms")
    properties: Sequence[str] | None = option(
        None, "columns, separated by commas", "NAMES", shown="all", typed=str, read=read_names
    )
    raw: bool = option(False, "scores as measured instead of mean 0 and deviation 1")
    normalization: str | None = option(None, "normalise by these statistics of an earlier run", "JSON", shown="its own")
