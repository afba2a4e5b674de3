"""Directions: leaderboards of runs, which direction is best, those of other people, and faces edited along them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ohlora_gan.commands import Device, Folder, given_options
from ohlora_gan.errors import UserError, answering
from ohlora_gan.options import SEED, EditSettings, Models, Rescoring, Transferring, option

if TYPE_CHECKING:
    from ohlora_gan.directions.files import DirectionSet

NUM_LATENTS = 100
SIGN_HELP = (
    "whether the files' vectors raise or lower their property: known of this project's runs (up), the published "
    "vectors found by SVM (down) and boundaries (up); measured where --checkpoint and --scorer are given"
)


@answering()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS", help="run folders, or folders of run folders")],
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="where to write", show_default="RUNS, if it is one")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="SCORER", help="the scorer that ranks", show_default="the judging one")
    ] = None,
) -> str:
    """One leaderboard of many runs of find_vectors.py: a page, leaderboard.csv and leaderboard.md.

    A sweep (python find_vectors.py -m ...) makes one by itself at its end.

    \b
    Examples:
      ohlora compare runs/find_vectors --output compared
      ohlora compare RUN_A RUN_B --output compared --judge property_cnn_judge
    """
    from ohlora_gan.pipelines.compare import compare_runs

    return f"leaderboard: {compare_runs(runs, output, judge)}"


@answering()
def rescore(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS", help="folders of runs, or directions files")],
    output: Folder,
    how: Rescoring,
    models: Models,
) -> str:
    """Which of the runs' directions raises each property most on fresh faces; measures strengths that are not known.

    All directions of all runs, of any method, group and layer, compete on the same faces (the verification of HiGAN,
    arXiv 1911.09267). Writes rescoring.csv (all candidates), winners.md and, with --by-layer, layers.csv and a picture
    a run: which synthesis layers carry which property. Imported directions become a folder with measured strengths,
    which edit takes.

    \b
    Examples:
      ohlora rescore runs/find_vectors --output rescored --by-layer
      ohlora rescore RUN --output rescored --n 200 --property eyes
    """
    from ohlora_gan.devices import keep_freed_memory
    from ohlora_gan.pipelines.compare import rescore_runs

    keep_freed_memory()
    return rescore_runs(runs, output, how, models)


@answering()
def transfer(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="a run of find_vectors.py, or a vectors.safetensors")],
    to: Annotated[str, typer.Option(metavar="CHECKPOINT", help="the other generator: a name or a file")],
    output: Folder,
    how: Transferring,
) -> str:
    """Takes directions to another checkpoint of the same layout: a fine-tuned one, or a later step of a training.

    Tests them there as they are, recalibrated, and beside those that a search with the same settings finds there.
    Writes transfer.json, transfer.md, and the recalibrated ones as a run that edit and compare take.

    \b
    Examples:
      ohlora transfer RUN --to v9 --output runs/to_v9
      ohlora transfer RUN --to GENERATOR --output runs/moved --jacobians 24
    """
    from ohlora_gan.devices import keep_freed_memory
    from ohlora_gan.pipelines.transfer import transfer as work

    keep_freed_memory()
    return work(run, to, output, how)


@dataclass(frozen=True)
class Foreign:
    """What is said of directions that others have found."""

    layer: str | None = option(None, "the directions': z, w, wplus, mapping_split2, ...", shown="by the files")
    sign: Literal["up", "down", "measure"] | None = option(None, SIGN_HELP, shown=False)
    checkpoint: str | None = option(None, "the generator that they are for", "MODEL", shown="the published one")
    scorer: str | None = option(None, "a property network, which measures the signs", "MODEL", shown=False)
    medians: str | None = option(None, "the groups' medians, or a .csv", "NAME=VALUE,...", shown="the published ones")
    seed: int = option(0, **SEED)


@answering()
def import_vectors(
    source: Annotated[
        list[str] | None,
        typer.Argument(help="a folder, or .npy, .npz, .pt, .pkl files (FILE or PROPERTY=FILE)", show_default=False),
    ] = None,
    *,
    foreign: Foreign,
    latents: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="convert latents instead: .csv, .npy, .npz or .pt",
            show_default=False,
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="the latents' groups: ohlora_*_group_names_*.csv", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="the file", show_default="vectors.safetensors, or latents.safetensors"),
    ] = None,
    device: Device = "cpu",
) -> str:
    """Other people's directions and latents, turned into files of ours.

    Directions: a folder of Oh-LoRA's {property}_change_{layer}_vector_{group}.csv, ours or theirs, or arrays such as
    the boundaries of InterFaceGAN and HiGAN: .npy, .npz, .pt, .pkl, of one w, one z, or one w a layer.
    Latents: its ohlora_z_vectors_*.csv and group names, or arrays of z, w, or one w a layer, as encoders save them.

    \b
    Examples:
      ohlora import-vectors FOLDER --layer mapping_split2 --output vectors.safetensors
      ohlora import-vectors smile_boundary.npy --layer w --checkpoint GENERATOR
      ohlora import-vectors --latents ohlora_z_vectors.csv --groups group_names.csv
      ohlora import-vectors --latents encoded.npy --layer wplus --checkpoint GENERATOR
    """
    from ohlora_gan.devices import keep_freed_memory

    keep_freed_memory()
    if output and output.is_dir():
        raise UserError(f"--output {output} is a folder: name a file such as {output / 'vectors.safetensors'}")
    if latents is None:
        if groups:
            raise UserError("--groups goes with --latents")
        return import_directions(source or [], foreign, output or Path("vectors.safetensors"), device)
    if source or foreign.sign or foreign.medians:
        raise UserError(
            "--latents goes with --groups, --layer, --checkpoint and --output alone: import directions separately"
        )
    return import_latents(latents, groups, foreign, output or Path("latents.safetensors"))


def import_latents(values: str, groups: str | None, foreign: Foreign, output: Path) -> str:
    """Converts others' latents; says what they are."""
    from ohlora_gan.editing.given import GivenW, read_given, save_w
    from ohlora_gan.latents.saved import save_latents
    from ohlora_gan.models.checkpoint import weights_hash
    from ohlora_gan.models.zoo import open_generator

    if foreign.layer not in (None, "z", "w", "wplus"):
        raise UserError(f"--layer is {foreign.layer}, but latents are z, w or wplus: give one of them")
    generator = open_generator(foreign.checkpoint) if foreign.checkpoint else None
    found = read_given(values, generator, foreign.layer, groups)  # type: ignore[arg-type]
    if generator:
        found.check(generator)
        found.origin["generator"] = weights_hash(generator)
    if isinstance(found, GivenW):
        of_layers = f", one for each of {found.w.shape[1]} layers" if found.w.ndim == 3 else ""
        return f"{len(found)} latents: w of {found.w.shape[-1]} values{of_layers}\n{save_w(output, found)}"
    path = save_latents(output, found)
    of_groups = ", ".join(f"{name} {found.groups.count(name)}" for name in sorted({*found.groups}))
    sizes_said = f"z of {found.z.shape[1]} and label of {found.label.shape[1]} values"
    return f"{len(found)} latents: {sizes_said}\ngroups: {of_groups or 'unknown'}\n{path}"


def import_directions(sources: Sequence[str], foreign: Foreign, output: Path, device: str) -> str:
    """Converts directions and turns them to raise their property; says what they are."""
    from ohlora_gan.devices import open_device
    from ohlora_gan.directions.foreign import description, read_sources
    from ohlora_gan.judging.rescoring import turn_up
    from ohlora_gan.latents.layers import layer_named
    from ohlora_gan.latents.space import FaceSpace
    from ohlora_gan.models.checkpoint import weights_hash
    from ohlora_gan.models.zoo import open_generator, open_scorer
    from ohlora_gan.progress import Bar

    generator = open_generator(foreign.checkpoint) if foreign.checkpoint else None
    scorer = open_scorer(foreign.scorer) if foreign.scorer else None
    sign = foreign.sign or ("measure" if scorer is not None else None)
    if sign == "measure" and (generator is None or scorer is None):
        raise UserError("the sign is measured on a generator by a scorer: give --checkpoint and --scorer")
    if scorer is not None and sign != "measure":
        raise UserError("a scorer is given, but only measured signs need one: leave out --scorer, or --sign")
    medians = read_medians_option(foreign.medians)
    if foreign.layer and generator is not None:
        layer_named(foreign.layer).check(generator)
    found = read_sources(sources, foreign.layer, generator, sign, medians)
    layer = layer_named(found.layer)
    if generator is not None:
        layer.check(generator)
    said = description(found, sign, medians)
    if generator is not None:
        found.provenance["generator"] = weights_hash(generator)
    if sign == "measure" and generator is not None and scorer is not None:
        space = FaceSpace(generator, scorer, open_device(device), seed=foreign.seed)
        unknown = [name for name in found.properties if name not in space.property_names]
        if unknown and (foreign.sign == "measure" or found.provenance["imported"]["sign_by"] == "unknown"):
            raise UserError(
                f"the scorer does not measure {', '.join(unknown)} but {', '.join(space.property_names)}: give another "
                f"scorer, or say what the sign is, up or down"
            )
        if len(unknown) == len(found.properties):
            said += f"\nsigns: left as they are, the scorer measures none of {', '.join(unknown)}"
            return write_directions_file(output, found, said)
        with Bar(desc="measuring signs", total=found.directions.shape[0] * found.directions.shape[1]) as bar:
            found, turned = turn_up(space, layer, found, NUM_LATENTS, bar)
        found.provenance |= {"scorer": weights_hash(scorer), "seed": foreign.seed}
        found.provenance["imported"]["sign"] = sign
        said += f"\nsigns: {turned}"
    return write_directions_file(output, found, said)


def write_directions_file(output: Path, found: "DirectionSet", said: str) -> str:
    """Writes directions, and says what they are and where."""
    from ohlora_gan.directions.files import save_directions

    output.parent.mkdir(parents=True, exist_ok=True)
    return f"{said}\n{save_directions(output, found)}"


def read_medians_option(text: str | None) -> dict[str, float] | None:
    """``hair_color=-0.43,pose=0`` or a file like ``property_scores_mean_and_median.csv``; None where not given."""
    from ohlora_gan.latents.saved import read_medians

    if not text or text.endswith(".csv"):
        return read_medians(text) if text else None
    medians: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            medians[name.strip()] = float(value)
        except ValueError as error:
            raise UserError(f"--medians has {part!r}, expected NAME=VALUE,... or a .csv file") from error
    return medians


@answering()
def edit(
    ctx: typer.Context,
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="a run of find_vectors.py, or a vectors.safetensors", show_default=False),
    ] = None,
    *,
    settings: EditSettings,
) -> str:
    """Changes faces by score sigmas and writes strips, grids, an animation and edit.json.

    Directions, networks and faces are those of the run; --image edits a photograph's face, --latents what an encoder
    of others made of one. A closed loop needs no run: it goes on until the scores are reached.

    \b
    Examples:
      ohlora edit runs/find_vectors/DATE --set eyes=+1 --set mouth=-0.5
      ohlora edit runs/find_vectors/DATE --set eyes=1 --set pose=1 --mode independent --faces 4,7
      ohlora edit --mode closed-loop --set eyes=+1 --set mouth=-0.5 --hold rest
      ohlora edit runs/find_vectors/DATE --image photo.jpg --set eyes=+1 --paste
    """
    from ohlora_gan.devices import keep_freed_memory
    from ohlora_gan.pipelines import edit as work

    keep_freed_memory()
    return work.edit(replace(settings, vectors=run, given=given_options(ctx)))
