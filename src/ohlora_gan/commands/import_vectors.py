"""``ohlora import-vectors``: other people's directions and latents, turned into files of ours.

Directions: a folder of the published Oh-LoRA system's ``{property}_change_{layer}_vector_{group}.csv``, or boundaries
of InterFaceGAN or HiGAN, one ``.npy`` a property. Latents: its ``ohlora_z_vectors_*.csv`` and group names.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn
from tqdm import tqdm

from ohlora_gan.devices import keep_freed_memory
from ohlora_gan.directions.files import DirectionSet, save_directions
from ohlora_gan.directions.foreign import boundary_property, import_boundaries, import_tables
from ohlora_gan.errors import answer, parser_of
from ohlora_gan.judging.generation_test import turn_up
from ohlora_gan.latents.layers import Layer, layer_named
from ohlora_gan.latents.saved import PUBLISHED_SIZES, read_latents, save_latents
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.checkpoint import weights_hash
from ohlora_gan.models.generator import Generator
from ohlora_gan.models.zoo import open_generator, open_scorer
from ohlora_gan.published import read_medians
from ohlora_gan.world.same_world import check_same_world, network

SIGNS = ("up", "down", "measure")
SIGN_HELP = (
    "whether the files' vectors raise or lower their property: by default, CSV files lower it (the published vectors "
    "found by SVM do), .npy boundaries raise it; or measure it on --checkpoint by --scorer"
)
NUM_LATENTS = 64


def import_directions(
    sources: Sequence[str],
    layer: Layer,
    generator: Generator | None = None,
    scorer: nn.Module | None = None,
    sign: str | None = None,
    medians: Mapping[str, float] | None = None,
    seed: int = 0,
) -> tuple[DirectionSet, str]:
    """Reads directions and turns them to raise their property.

    Args:
        sources: one folder of CSV files, or ``.npy`` files, as ``FILE`` or ``PROPERTY=FILE``.
        layer: the layer that they belong to.
        generator: the generator that they are for; None stands for the published one.
        scorer: of the generator's pictures; for ``sign="measure"``.
        sign: ``up``, ``down``, or ``measure`` by the scorer's response; None: down for CSV files, up for ``.npy``.
        medians: see ``directions.foreign.import_tables``.
        seed: of the latents that the sign is measured on.

    Returns:
        The directions, and what was read, in a few lines.

    Raises:
        ValueError: for sources that cannot be used, or that fit neither layer nor generator.
    """
    if sign == "measure" and (generator is None or scorer is None):
        raise ValueError("the sign is measured on a generator by a scorer: give --checkpoint and --scorer")
    if scorer is not None and sign != "measure":
        raise ValueError("a scorer is given, but only measured signs need one: give --sign measure, or leave it out")
    size = None
    if generator is not None:
        layer.check(generator)
        size = layer.size(generator)
    found = read_sources(sources, layer.name, size, sign, medians)
    said = description(found, sign, medians)
    if generator is not None:
        found.provenance["generator"] = weights_hash(generator)
    if sign == "measure" and generator is not None and scorer is not None:
        with tqdm(desc="measuring signs", total=found.directions.shape[0] * found.directions.shape[1]) as bar:
            found, turned = turn_up(FaceSpace(generator, scorer, seed=seed), layer, found, NUM_LATENTS, bar)
        found.provenance |= {"scorer": weights_hash(scorer), "seed": seed}
        found.provenance["imported"]["sign"] = sign
        said += f"\nsigns: {turned}"
    return found, said


def read_sources(
    sources: Sequence[str],
    layer: str,
    size: int | None = None,
    sign: str | None = None,
    medians: Mapping[str, float] | None = None,
) -> DirectionSet:
    """Reads a folder of CSV files or some boundaries; see ``import_directions``. A sign to measure is left as it is."""
    boundaries = [source for source in sources if source.endswith(".npy")]
    if sign == "measure":
        sign = "up"
    if not boundaries and len(sources) == 1:
        return import_tables(sources[0], layer, size, sign or "down", medians)
    if not boundaries or len(boundaries) != len(sources):
        given = ", ".join(sources) or "none"
        raise ValueError(f"sources are {given}, expected one folder of CSV files, or one or several .npy files")
    if medians:
        raise ValueError("medians are given, but boundaries have no groups: leave them out")
    return import_boundaries(name_boundaries(boundaries), layer, size, sign or "up")


def name_boundaries(sources: Sequence[str]) -> dict[str, str]:
    """``smile=path.npy`` or ``smile_boundary.npy`` as property -> path."""
    paths: dict[str, str] = {}
    for source in sources:
        name, _, path = source.rpartition("=")
        name = name or boundary_property(path)
        if name in paths:
            raise ValueError(f"{paths[name]} and {path} are both named {name!r}: name one, as in PROPERTY={path}")
        paths[name] = path
    return paths


def description(found: DirectionSet, sign: str | None, medians: Mapping[str, float] | None) -> str:
    """What was read, in a few lines."""
    origin, (num, groups, size) = found.provenance["imported"], found.directions.shape
    what = "the published CSV format" if "csv" in origin["format"] else "boundaries"
    lines = [f"{num * groups} directions from {what}: {', '.join(found.properties)}, {size} values at {found.layer}"]
    lines.append(f"groups: {', '.join(found.group_names)}")
    if found.medians:
        cuts = ", ".join(f"{name} {value:g}" for name, value in found.medians.items())
        known = "as given" if medians else "the published ones, since none are given"
        lines.append(f"medians: {cuts} ({known})")
    if "lengths" in origin:
        lengths = ", ".join(f"{name} {length:.4g}" for name, length in origin["lengths"].items())
        lines.append(f"lengths in the files: {lengths}; each direction was divided by its own")
    if sign != "measure":
        lines.append(f"signs: {_sign_words(origin['sign'], given=sign is not None)}")
    return "\n".join(lines)


def _sign_words(sign: str, given: bool) -> str:
    if sign == "up":
        return "left as they are" + ("" if given else ", since boundaries point to where the attribute is present")
    reason = "" if given else ", since the published vectors found by SVM lower their property (else give --sign up)"
    return f"all turned{reason}"


def parse_medians(text: str) -> dict[str, float]:
    """``hair_color=-0.43,pose=0`` or a file of ``property_scores_mean_and_median.csv``'s format."""
    if text.endswith(".csv"):
        return read_medians(text)
    medians: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            medians[name.strip()] = float(value)
        except ValueError as error:
            raise ValueError(f"--medians has {part!r}, expected NAME=VALUE,... or a .csv file") from error
    return medians


def convert_latents(given: argparse.Namespace) -> str:
    """Does the work for ``--latents``."""
    if given.source or given.layer or given.sign or given.medians:
        raise ValueError("--latents goes with --groups, --checkpoint and --output alone: import directions separately")
    sizes = PUBLISHED_SIZES
    generator = open_generator(given.checkpoint) if given.checkpoint else None
    if generator:
        sizes = (generator.z_dim, generator.label_dim)
    latents = read_latents(given.latents, given.groups, sizes)
    if generator:
        latents.check(generator)
        latents.origin["generator"] = weights_hash(generator)
    path = save_latents(given.output or Path("latents.safetensors"), latents)
    of_groups = ", ".join(f"{name} {latents.groups.count(name)}" for name in sorted(set(latents.groups)))
    sizes_said = f"z of {latents.z.shape[1]} and label of {latents.label.shape[1]} values"
    return f"{len(latents)} latents: {sizes_said}\ngroups: {of_groups or 'unknown'}\n{path}"


def convert_directions(given: argparse.Namespace) -> str:
    """Does the work for directions."""
    if given.groups:
        raise ValueError("--groups goes with --latents")
    if not given.layer:
        raise ValueError("--layer is missing: name the layer that the directions belong to, such as mapping_split2")
    generator = open_generator(given.checkpoint) if given.checkpoint else None
    scorer = open_scorer(given.scorer) if given.scorer else None
    if generator and scorer:
        check_same_world(network("generator", given.checkpoint), network("scorer", given.scorer))
    medians = parse_medians(given.medians) if given.medians else None
    found, said = import_directions(
        given.source, layer_named(given.layer), generator, scorer, given.sign, medians, given.seed
    )
    output = given.output or Path("vectors.safetensors")
    output.parent.mkdir(parents=True, exist_ok=True)
    return f"{said}\n{save_directions(output, found)}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("import_vectors", __doc__)
    parser.add_argument("source", nargs="*", help="a folder of CSV files, or .npy files (FILE or PROPERTY=FILE)")
    parser.add_argument("--layer", help="the directions' layer: w, mapping_split1, mapping_split2, z, wplus")
    parser.add_argument("--sign", choices=SIGNS, help=SIGN_HELP)
    parser.add_argument("--checkpoint", help="the generator: a shipped model's name or a file")
    parser.add_argument("--scorer", help="a property network, for --sign measure")
    parser.add_argument("--medians", help="NAME=VALUE,... or a .csv: the groups' medians (default: the published ones)")
    parser.add_argument("--seed", type=int, default=0, help="of the latents that --sign measure looks at")
    parser.add_argument("--latents", help="convert latents instead: ohlora_z_vectors_*.csv")
    parser.add_argument("--groups", help="the latents' groups: ohlora_*_group_names_*.csv")
    parser.add_argument("--output", type=Path, help="a file; default vectors.safetensors, or latents.safetensors")
    given = parser.parse_args(arguments)
    keep_freed_memory()

    def work() -> str:
        if given.output and given.output.is_dir():
            example = given.output / "vectors.safetensors"
            raise ValueError(f"--output {given.output} is a folder: name a file such as {example}")
        return convert_latents(given) if given.latents else convert_directions(given)

    return answer(work)


if __name__ == "__main__":
    sys.exit(main())
