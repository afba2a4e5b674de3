"""Other people's directions: the published Oh-LoRA system's CSV files, InterFaceGAN's and HiGAN's boundaries.

Directions here are of unit length and raise the property. The published vectors found by SVM lower it, since class
names sort alphabetically there; boundaries point to where the attribute is present.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ohlora_gan.directions.base import ALL, REFERENCE_MEDIANS, all_group_names
from ohlora_gan.directions.files import DirectionsError, DirectionSet, direction_path, read_directions
from ohlora_gan.latents.saved import check_groups

METHOD = "imported"
PUBLISHED_SIZES = {"z": 519, "w": 512, "mapping_split1": 2560, "mapping_split2": 1024}
"""Length of a vector at each layer of the published generator."""
TOLERANCE = 1e-3  # how far from 1 the length of a vector in a file may be
SIGNS = {"up": 1.0, "down": -1.0}


def read_sources(
    sources: Sequence[str],
    layer: str,
    size: int | None = None,
    sign: str | None = None,
    medians: Mapping[str, float] | None = None,
) -> DirectionSet:
    """Reads a folder of CSV files or some boundaries; see ``import_tables`` and ``import_boundaries``.

    Args:
        sources: one folder of CSV files, or ``.npy`` files, as ``FILE`` or ``PROPERTY=FILE``.
        sign: ``up``, ``down``, or ``measure``, which leaves them as they are; None: down for CSV files, up for
            ``.npy``.

    Raises:
        ValueError: for sources that cannot be used, or that do not fit the layer.
    """
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
    paths: dict[str, str] = {}
    for source in boundaries:
        name, _, path = source.rpartition("=")
        name = name or boundary_property(path)
        if name in paths:
            raise ValueError(f"{paths[name]} and {path} are both named {name!r}: name one, as in PROPERTY={path}")
        paths[name] = path
    return import_boundaries(paths, layer, size, sign or "up")


def import_tables(
    folder: str | Path,
    layer: str,
    size: int | None = None,
    sign: str = "down",
    medians: Mapping[str, float] | None = None,
) -> DirectionSet:
    """Directions from a folder of ``{property}_change_{layer}_vector_{group}.csv``, turned to raise the property.

    Args:
        size: length D of the layer's vectors; None: that of the published generator.
        sign: ``down`` where the vectors lower the property, as the published ones found by SVM do; else ``up``.
        medians: of the grouping properties, in the order of the letters of group names. None: the published ones where
            names have four letters.

    Raises:
        ValueError: naming the file, if one is damaged, missing, of another length, or holds no unit vector; or if
            the medians do not fit the groups.
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
    _check_size(str(folder), table.directions.shape[2], layer, size)
    norms = np.linalg.norm(table.directions.astype(np.float64), axis=2)
    for i, j in np.argwhere(np.abs(norms - 1) > TOLERANCE):
        path = direction_path(folder, table.properties[i], layer, names[j])
        raise DirectionsError(f"{path} holds a vector of length {norms[i, j]:.4g}, expected 1: divide it by its length")
    directions = table.directions / norms[..., None] * _factor(sign)
    origin = {"format": "oh-lora csv", "source": Path(folder).name, "sign": sign}
    cuts = _medians(names, medians)
    return DirectionSet(directions, names, layer, METHOD, cuts, {"imported": origin}, table.properties)


def import_boundaries(
    paths: Mapping[str, str | Path], layer: str, size: int | None = None, sign: str = "up"
) -> DirectionSet:
    """Directions from InterFaceGAN's or HiGAN's boundaries, each divided by its length, which the provenance keeps.

    Files are ``.npy``, one a property: a float array ``[D]`` or ``[1, D]``, or ``[1, L, w_dim]`` with a w a synthesis
    layer. Boundaries point to where the attribute is present: ``up``; see ``import_tables``.

    Raises:
        ValueError: naming the file, if one is damaged, a pickle, not finite, zero, or of another length.
    """
    if not paths:
        raise DirectionsError("no boundaries are given: name one or several .npy files")
    vectors = {prop: _read_boundary(Path(path)) for prop, path in paths.items()}
    for prop, vector in vectors.items():
        _check_size(str(paths[prop]), len(vector), layer, size)
    lengths = {prop: float(np.linalg.norm(vector)) for prop, vector in vectors.items()}
    directions = np.stack([vectors[prop] / lengths[prop] for prop in paths])[:, None] * _factor(sign)
    files = {prop: Path(path).name for prop, path in paths.items()}
    origin: dict[str, Any] = {"format": "npy", "source": files, "sign": sign, "lengths": lengths}
    return DirectionSet(directions, [ALL], layer, METHOD, {}, {"imported": origin}, tuple(paths))


def boundary_property(path: str | Path) -> str:
    """The property that a boundary's file is named after: ``smile`` for ``smile.npy`` and ``smile_boundary.npy``."""
    return Path(path).stem.removesuffix("_boundary")


def _read_boundary(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise DirectionsError(f"{path} cannot be read ({error.strerror or error}): give a .npy file") from error
    except (ValueError, EOFError) as error:
        raise DirectionsError(
            f"{path} is damaged, or a pickle, whose loading could run code: save its array alone, as in "
            f"numpy.save('boundary.npy', content['boundary'])"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise DirectionsError(f"{path} holds {getattr(array, 'dtype', 'several arrays')}, expected one array of floats")
    if array.ndim not in (1, 2, 3) or (array.ndim > 1 and array.shape[0] != 1) or array.size == 0:
        raise DirectionsError(f"{path} holds an array of shape {list(array.shape)}, expected [D] or [1, D]")
    vector = array.astype(np.float64).ravel()
    if not np.isfinite(vector).all():
        raise DirectionsError(f"{path}: {np.count_nonzero(~np.isfinite(vector))} of its numbers are not finite")
    if not vector.any():
        raise DirectionsError(f"{path} holds only zeros, which is no direction")
    return vector


def _check_size(source: str, found: int, layer: str, size: int | None) -> None:
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
    what = "the published CSV format" if is_csv else "boundaries"
    lines = [f"{num * groups} directions from {what}: {', '.join(found.properties)}, {size} values at {found.layer}"]
    lines.append(f"groups: {', '.join(found.group_names)}")
    if found.medians:
        cuts = ", ".join(f"{name} {value:g}" for name, value in found.medians.items())
        known = "as given" if medians else "the published ones, since none are given"
        lines.append(f"medians: {cuts} ({known})")
    if not is_csv:
        lengths = ", ".join(f"{name} {length:.4g}" for name, length in origin["lengths"].items())
        lines.append(f"lengths in the files: {lengths}; each direction was divided by its own")
    if sign != "measure":
        why = {
            "up": ", since boundaries point to where the attribute is present",
            "down": ", since the published vectors found by SVM lower their property (else give --sign up)",
        }
        turned = "left as they are" if origin["sign"] == "up" else "all turned"
        lines.append(f"signs: {turned}{'' if sign else why[origin['sign']]}")
    return "\n".join(lines)
