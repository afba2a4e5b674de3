"""Other people's directions: folders of Oh-LoRA's CSV files, and boundaries in files of arrays, as directions of ours.

What a file is for and how its author means its sign is said, never guessed: our own runs mark the tables that they
write, the published table is known by its contents, boundaries point to where the attribute is present; the sign of any
other table has to be given or measured.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ohlora_gan.directions.arrays import SUFFIXES, Found, arrays_of
from ohlora_gan.directions.base import ALL, REFERENCE_MEDIANS, all_group_names
from ohlora_gan.directions.files import (
    NAME,
    DirectionsError,
    DirectionSet,
    DirectionTable,
    direction_path,
    load_directions,
    read_directions,
)
from ohlora_gan.files import write_json
from ohlora_gan.latents.layers import WPlus, layer_named
from ohlora_gan.latents.saved import check_groups
from ohlora_gan.models.generator import GeneratorBase

METHOD = "imported"
PUBLISHED_SIZES = {"z": 519, "w": 512, "mapping_split1": 2560, "mapping_split2": 1024}
"""Length of a vector at each layer of the published generator."""
PUBLISHED = {"1a2e948fb61a49552b0b344bef64d5287b556ebac6d6369ffb1c17686430d540": "mapping_split2"}
"""The published tables that were found by SVM, whose vectors lower their property: fingerprint -> layer."""
TOLERANCE = 1e-3  # how far from 1 the length of a vector in a file may be
SIGNS = {"up": 1.0, "down": -1.0}
ORIGIN = "origin.json"
WHY = {
    "ours": "since a run of this project wrote them, which all raise their property",
    "published": "since these are the published vectors found by SVM, which lower their property",
    "boundaries": "since boundaries point to where the attribute is present (measured with --checkpoint and --scorer)",
    "given": "",
}
"""Where a sign is known from, and what is said of it."""


def read_sources(
    sources: Sequence[str],
    layer: str | None = None,
    generator: GeneratorBase | None = None,
    sign: str | None = None,
    medians: Mapping[str, float] | None = None,
) -> DirectionSet:
    """Reads a folder of CSV files, or boundaries; see ``import_tables`` and ``import_boundaries``.

    Args:
        sources: a folder of tables or of boundaries, or files of `SUFFIXES`, as ``FILE`` or ``PROPERTY=FILE``.
        layer: of the directions; None: told by the files.
        generator: that they are for; None: the published one.
        sign: ``up``, ``down``, or ``measure``, where it is measured later; None: by their origin.

    Raises:
        ValueError: for sources that cannot be used, or that do not fit the layer; or where the sign is not known.
    """
    if len(sources) == 1 and Path(sources[0]).is_dir():
        folder = Path(sources[0])
        files = sorted(str(path) for path in folder.iterdir() if path.suffix in SUFFIXES)
        if any(NAME.fullmatch(path.name) for path in folder.iterdir()) or not files:
            if others := [file for file in files if not file.endswith(".csv")]:
                raise DirectionsError(f"{folder} holds tables and {others[0]}: import the arrays by their names")
            layer = layer or only_layer(folder)
            size = None if generator is None else layer_named(layer).size(generator)
            return import_tables(folder, layer, size, sign or "origin", medians)
        sources = files
    if not sources or any(Path(source).suffix not in SUFFIXES for source in sources):
        raise DirectionsError(
            f"sources are {', '.join(sources) or 'none'}, expected one folder, or one or several files "
            f"({', '.join(SUFFIXES)})"
        )
    if medians:
        raise DirectionsError("medians are given, but boundaries have no groups: leave them out")
    if sign is None and (tables := [source for source in sources if source.endswith(".csv")]):
        raise DirectionsError(unknown_sign(tables[0]))
    paths: dict[str, Path] = {}
    arrays: list[Found] = []
    for source in sources:
        name, _, file = source.rpartition("=")
        for found in arrays_of(Path(file), name):
            if found.name in paths:
                one, other = paths[found.name], found.path
                raise DirectionsError(
                    f"{one} and {other} are both named {found.name!r}: name one, as in PROPERTY={other}"
                )
            paths[found.name] = found.path
            arrays.append(found)
    return import_boundaries(arrays, layer, generator, None if sign == "measure" else sign)


def unknown_sign(source: str | Path) -> str:
    """The sentence for a table of which nobody knows whether it raises or lowers its property."""
    return (
        f"{source} does not say whether its vectors raise or lower their property: give --sign up or down, or measure "
        f"it with --checkpoint and --scorer"
    )


# --- Tables ---


def only_layer(folder: Path) -> str:
    """The layer of a folder's tables, by the names of its files; DirectionsError unless it is one."""
    layers = sorted({match["layer"] for path in folder.glob("*.csv") if (match := NAME.fullmatch(path.name))})
    if len(layers) != 1:
        held = f"tables of {', '.join(layers)}" if layers else f"no file of directions ({', '.join(SUFFIXES)})"
        raise DirectionsError(f"{folder} holds {held}: name the layer, as in --layer mapping_split2")
    return layers[0]


def import_tables(
    folder: str | Path,
    layer: str,
    size: int | None = None,
    sign: str = "origin",
    medians: Mapping[str, float] | None = None,
) -> DirectionSet:
    """Directions from a folder of ``{property}_change_{layer}_vector_{group}.csv``, turned to raise the property.

    Args:
        size: length D of the layer's vectors; None: that of the published generator.
        sign: ``down`` where the vectors lower the property, ``up`` where they raise it; ``origin``: as is known of
            tables that a run of ours wrote, and of the published one; ``measure``: the same, or as they are.
        medians: of the grouping properties, in the order of the letters of group names. None: a run's own, or the
            published ones where names have four letters.

    Raises:
        ValueError: naming the file, if one is damaged, missing, of another length, or holds no unit vector; if the
            medians do not fit the groups; or if the origin is not known.
    """
    table = read_directions(folder, layer)
    names = table.group_names
    check_groups(names, folder)
    missing = [] if names == [ALL] else sorted(set(all_group_names(len(names[0]))) - set(names))
    if missing:
        raise DirectionsError(
            f"{folder} lacks files of {len(missing)} groups ({', '.join(missing[:4])}), "
            f"expected all {len(names) + len(missing)} of {len(names[0])} letters"
        )
    check_size(str(folder), table.directions.shape[2], layer, size)
    norms = np.linalg.norm(table.directions.astype(np.float64), axis=2)
    for i, j in np.argwhere(np.abs(norms - 1) > TOLERANCE):
        path = direction_path(folder, table.properties[i], layer, names[j])
        raise DirectionsError(f"{path} holds a vector of length {norms[i, j]:.4g}, expected 1: divide it by its length")
    known, own_medians = origin_of(Path(folder), table)
    if sign in SIGNS:
        known = "given"
    if sign in ("origin", "measure"):
        if known == "unknown" and sign == "origin":
            raise DirectionsError(unknown_sign(folder))
        sign = "down" if known == "published" else "up"
    directions = table.directions / norms[..., None] * _factor(sign)
    origin = {"format": "oh-lora csv", "source": Path(folder).name, "sign": sign, "sign_by": known}
    cuts = _medians(names, medians or own_medians)
    return DirectionSet(directions, names, layer, METHOD, cuts, {"imported": origin}, table.properties)


def fingerprint(directions: np.ndarray, properties: Sequence[str], group_names: Sequence[str]) -> str:
    """What tells a table from any other: a hash of its names and of its vectors ``[k, G, D]``."""
    ordered = np.asarray(directions, dtype=np.float32)[np.argsort(properties)][:, np.argsort(group_names)]
    digest = hashlib.sha256(json.dumps([sorted(properties), sorted(group_names)]).encode())
    digest.update(np.ascontiguousarray(ordered).tobytes())
    return digest.hexdigest()


def mark_as_ours(folder: Path | str, found: DirectionSet) -> Path:
    """Writes beside a run's CSV files that they are its own, so that they are known when they are imported."""
    about = {"written_by": "ohlora_gan", "layer": found.layer, "sign": "up", "medians": found.medians}
    hashed = fingerprint(found.directions, found.properties, found.group_names)
    return write_json(Path(folder) / ORIGIN, {**about, "fingerprint": hashed})


def origin_of(folder: Path, table: DirectionTable) -> tuple[str, Mapping[str, float] | None]:
    """``ours``, ``published``, or ``unknown``: whose a table is, by its contents alone; and our groups' medians."""
    own = fingerprint(table.directions, table.properties, table.group_names)
    if own in PUBLISHED:
        return "published", None
    try:
        marked = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
        if marked["fingerprint"] == own:
            return "ours", dict(marked["medians"])
    except (OSError, ValueError, TypeError, KeyError):
        pass  # runs of earlier versions have no mark, but the same directions beside the folder
    try:
        beside = load_directions(folder.parent / "vectors.safetensors")
    except DirectionsError:
        return "unknown", None
    same = fingerprint(beside.directions, beside.properties, beside.group_names) == own
    return ("ours", beside.medians) if same else ("unknown", None)


# --- Boundaries ---


def import_boundaries(
    arrays: Sequence[Found], layer: str | None = None, generator: GeneratorBase | None = None, sign: str | None = None
) -> DirectionSet:
    """Directions from InterFaceGAN's, HiGAN's or anybody's arrays, each divided by its length, which is kept.

    Equal rows are one direction of w, others one a synthesis layer (wplus). Where some are of w and others of wplus,
    all become wplus. Boundaries point to where the attribute is present: ``up``; see ``import_tables``.

    Raises:
        ValueError: naming the file, for a direction that does not fit the layer or the generator.
    """
    if not arrays:
        raise DirectionsError("no boundaries are given: name one or several files")
    taken = [layer or layer_of(found, generator) for found in arrays]
    common = layer or common_layer(arrays, taken)
    numbers = [len(rows) for found in arrays if len(rows := found.rows()) > 1]
    num_layers = generator.num_layers if generator is not None else max(numbers, default=0)
    vectors = [
        at_layer(found, where, common, num_layers, generator) for found, where in zip(arrays, taken, strict=True)
    ]
    size = None if generator is None else layer_named(common).size(generator)
    for found, vector in zip(arrays, vectors, strict=True):
        check_size(str(found.path), len(vector), common, size)
    properties = tuple(found.name for found in arrays)
    lengths = dict(zip(properties, map(float, np.linalg.norm(vectors, axis=1)), strict=True))
    directions = (np.stack(vectors) / np.array(list(lengths.values()))[:, None])[:, None] * _factor(sign or "up")
    origin: dict[str, Any] = {
        "format": "arrays",
        "source": {found.name: found.path.name for found in arrays},
        "taken_for": {
            found.name: f"{found.shape}, {told(found, where)}" for found, where in zip(arrays, taken, strict=True)
        },
        "sign": sign or "up",
        "sign_by": "given" if sign else "boundaries",
        "lengths": lengths,
    }
    return DirectionSet(directions, [ALL], common, METHOD, {}, {"imported": origin}, properties)


def layer_of(found: Found, generator: GeneratorBase | None) -> str:
    """The layer of a direction, by its shape, its file's name and the generator."""
    rows = found.rows()
    if len(rows) > 1:
        return "wplus"
    if found.moved is not None:
        return f"wplus_{found.moved[0]}_{found.moved[1]}"
    if len(found.array.reshape(-1, found.array.shape[-1])) > 1 or found.layer:
        return {"wplus": "w"}.get(found.layer, found.layer) or "w"
    if generator is None or rows.shape[1] == generator.w_dim:
        return "w"
    if rows.shape[1] == generator.z_dim + generator.label_dim or rows.shape[1] == generator.z_dim:
        return "z"
    return "wplus" if rows.shape[1] == generator.num_layers * generator.w_dim else "w"


def common_layer(arrays: Sequence[Found], taken: Sequence[str]) -> str:
    """The one layer at which all of several directions can be; DirectionsError where there is none."""
    if len(set(taken)) == 1:
        return taken[0]
    if all(layer.startswith("w") for layer in taken):
        return "wplus"
    said = ", ".join(f"{found.name} is of {layer}" for found, layer in zip(arrays, taken, strict=True))
    raise DirectionsError(f"{said}: import the directions of each layer into a file of their own")


def at_layer(found: Found, taken: str, layer: str, num_layers: int, generator: GeneratorBase | None) -> np.ndarray:
    """A direction as a vector ``[D]`` at a layer, as `layer_of` has taken it."""
    rows, place, range_of = found.rows(), layer_named(layer), layer_named(taken)
    if not isinstance(place, WPlus):
        if len(rows) > 1:
            raise DirectionsError(
                f"{found.path} holds {len(rows)} rows that differ, one a synthesis layer, but the layer is {layer}: "
                f"give --layer wplus"
            )
        vector = rows[0]
        if layer == "z" and generator is not None and len(vector) == generator.z_dim:
            vector = np.pad(vector, (0, generator.label_dim))  # labels stay as they are
        return vector
    if not num_layers:
        check_size(str(found.path), 0, layer, None)  # tells that the generator is missing
    if len(rows) == 1:
        whole = generator is not None and rows.shape[1] == num_layers * generator.w_dim
        rows = rows.reshape(num_layers, -1) if whole else np.repeat(rows, num_layers, axis=0)
    if isinstance(range_of, WPlus):
        numbers = np.arange(len(rows))
        last = len(rows) - 1 if range_of.last is None else range_of.last
        rows = rows * ((range_of.first <= numbers) & (numbers <= last))[:, None]
    if not rows.any():
        raise DirectionsError(f"{found.path} moves nothing in the layers of {taken}: give another --layer")
    return rows.ravel()


def told(found: Found, taken: str) -> str:
    """What a direction was taken for, in words."""
    num = len(found.array.reshape(-1, found.array.shape[-1]))
    if len(found.rows()) == 1 and num > 1:
        return f"{num} equal rows, taken for {taken}"
    if found.moved is not None:
        return f"which its author moved in layers {found.moved[0]} to {found.moved[1]}, taken for {taken}"
    unsaid = taken == "w" and not found.layer and num == 1
    return f"taken for {taken}" + (", as its length says (if it is one of z: --layer z)" if unsaid else "")


def check_size(source: str, found: int, layer: str, size: int | None) -> None:
    """DirectionsError for a vector of another length than its layer's; None: that of the published generator."""
    expected = PUBLISHED_SIZES.get(layer) if size is None else size
    if expected is None:
        raise DirectionsError(
            f"layer {layer!r} has no published length: give the generator that the directions are for (--checkpoint)"
        )
    if found != expected:
        whose = "the published generator" if size is None else "the given generator"
        remedy = "; for another generator give --checkpoint" if size is None else ""
        raise DirectionsError(
            f"{source}: vectors have {found} values, but layer {layer!r} of {whose} has {expected}{remedy}"
        )


def _medians(names: list[str], given: Mapping[str, float] | None) -> dict[str, float]:
    """The medians of groups: those that are given, or the published ones."""
    if names == [ALL]:
        if given:
            raise DirectionsError("medians are given for directions without groups: leave them out")
        return {}
    num_letters = len(names[0])
    cuts = dict(REFERENCE_MEDIANS if given is None and num_letters == len(REFERENCE_MEDIANS) else given or {})
    if len(cuts) != num_letters:
        raise DirectionsError(
            f"groups have {num_letters} letters but {len(cuts)} medians are known: give one a letter, in their order, "
            f"with --medians NAME=VALUE,..."
        )
    if not np.isfinite(list(cuts.values())).all():
        raise DirectionsError(f"medians are {cuts}, expected finite numbers")
    return cuts


def _factor(sign: str) -> float:
    if sign not in SIGNS:
        raise DirectionsError(f"sign is {sign!r}, expected {' or '.join(SIGNS)}")
    return SIGNS[sign]


def description(found: DirectionSet, sign: str | None, medians: Mapping[str, float] | None) -> str:
    """What was read, in a few lines; ``sign`` and ``medians`` are those that were asked for."""
    origin, (num, groups, size) = found.provenance["imported"], found.directions.shape
    is_csv = "csv" in origin["format"]
    what = "Oh-LoRA's CSV format" if is_csv else "boundaries"
    lines = [f"{num * groups} directions from {what}: {', '.join(found.properties)}, {size} values at {found.layer}"]
    lines.append(f"groups: {', '.join(found.group_names)}")
    if found.medians:
        cuts = ", ".join(f"{name} {value:g}" for name, value in found.medians.items())
        known = "as given" if medians else "the run's" if origin["sign_by"] == "ours" else "the published ones"
        lines.append(f"medians: {cuts} ({known})")
    if not is_csv:
        lines += [f"{name}: {origin['source'][name]}, {said}" for name, said in origin["taken_for"].items()]
        lengths = ", ".join(f"{name} {length:.4g}" for name, length in origin["lengths"].items())
        lines.append(f"lengths in the files: {lengths}; each direction was divided by its own")
    if sign != "measure":
        turned = "left as they are" if origin["sign"] == "up" else "all turned"
        lines.append(", ".join(part for part in (f"signs: {turned}", WHY[origin["sign_by"]]) if part))
    return "\n".join(lines)
