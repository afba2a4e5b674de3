"""Directions on disk: our safetensors files, which hold all that is needed to use them, and the files of others."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ohlora_gan.directions.base import ALL, REFERENCE_MEDIANS, DirectionFinder, all_group_names
from ohlora_gan.errors import UserError
from ohlora_gan.files import TableError, read_table, replacing, shown, write_rows
from ohlora_gan.latents.bank import check_groups
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace, free_jacobian
from ohlora_gan.names import EDITED_PROPERTIES
from ohlora_gan.registry import FINDERS

METADATA_KEY = "ohlora_gan_directions"


class DirectionsError(UserError):
    """A directions file that cannot be used, with the reason."""


@dataclass
class DirectionSet:
    """Unit directions that raise scores, a property and a group.

    A finder is there where directions depend on the point; ``directions`` then are but their means.
    """

    directions: np.ndarray  # float32 [k, G, D], of unit norm
    group_names: list[str]  # G names, ["all"] where samples were not grouped
    layer: str  # the extraction layer's name
    method: str
    medians: dict[str, float] = field(default_factory=dict)  # that define the groups; empty where there are none
    provenance: dict[str, Any] = field(default_factory=dict)  # seed, n, hashes of generator and scorer, metrics, ...
    properties: tuple[str, ...] = EDITED_PROPERTIES  # the k that the directions change
    slopes: np.ndarray | None = None  # [k, G], what a unit of length brings, in sigmas of the score: mean over latents
    spreads: np.ndarray | None = None  # [k, G], the standard deviation of this over latents; None: not measured
    names: tuple[str, ...] = ()  # the P scores that the finder was given; empty where it does not matter
    finder: DirectionFinder | None = None
    recipe: dict[str, Any] = field(default_factory=dict)  # the finder as plain data, see recipe_of
    state: Mapping[str, np.ndarray] = field(default_factory=dict)  # what the finder needs besides
    free: tuple[int, int] | None = None  # first and one past the last of the D values that are moved; None: all

    def __post_init__(self) -> None:
        self.directions = np.asarray(self.directions, dtype=np.float32)
        self.properties, self.names = tuple(self.properties), tuple(self.names)
        shape = (len(self.properties), len(self.group_names))
        if self.directions.ndim != 3 or self.directions.shape[:2] != shape:
            raise DirectionsError(
                f"directions have shape {list(self.directions.shape)}, expected [{shape[0]}, {shape[1]}, D]"
            )
        norms = np.linalg.norm(self.directions.astype(np.float64), axis=2)
        if not np.isfinite(norms).all() or np.abs(norms - 1.0).max() > 1e-3:
            raise DirectionsError("directions are not of unit length: divide each by its norm")
        if self.slopes is not None:
            self.slopes = np.asarray(self.slopes, dtype=np.float32)
            if self.slopes.shape != shape or not (np.isfinite(self.slopes) & (self.slopes > 0)).all():
                raise DirectionsError(f"slopes are not {shape[0]} x {shape[1]} numbers above 0: calibrate them anew")
        if self.spreads is not None:
            self.spreads = np.asarray(self.spreads, dtype=np.float32)

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        """The directions [k, D] that apply to a latent with the vector ``x`` [D] in a group."""
        if self.finder is None:
            if self.recipe:
                raise DirectionsError(
                    f"directions of method {self.method} depend on the face: open them with open_directions"
                )
            return self.directions[:, self._column(group)]
        first, last = self.free or (0, self.directions.shape[2])
        padded = np.zeros((len(self.properties), self.directions.shape[2]), dtype=np.float32)
        padded[:, first:last] = self.finder.direction(np.asarray(x)[first:last], group)
        return padded

    def steps(self, strengths: ArrayLike, group: str | None = None) -> np.ndarray:
        """Lengths [K, k] along the directions that change scores by ``strengths`` [K, k], in sigmas.

        Raises:
            DirectionsError: where slopes were not measured.
        """
        if self.slopes is None:
            raise DirectionsError("the directions' slopes are not known: calibrate them, see search.calibrate")
        return np.asarray(strengths, dtype=np.float64) / self.slopes[:, self._column(group)]

    def _column(self, group: str | None) -> int:
        if self.group_names == [ALL]:
            return 0
        if group not in self.group_names:
            raise DirectionsError(f"group {group!r} has no directions: expected one of {', '.join(self.group_names)}")
        return self.group_names.index(group)


DESCRIBED = ("properties", "group_names", "layer", "method", "medians", "provenance", "names", "recipe", "free")
STATE = "state."


def save_directions(path: str | Path, found: DirectionSet) -> Path:
    """Writes ``vectors.safetensors``: directions [k, G, D], slopes, the finder's state and a JSON description."""
    description = {name: getattr(found, name) for name in DESCRIBED}
    tensors = {"directions": found.directions, "slopes": found.slopes, "spreads": found.spreads}
    tensors |= {STATE + name: np.asarray(value) for name, value in found.state.items()}
    kept = {name: np.ascontiguousarray(value) for name, value in tensors.items() if value is not None}
    with replacing(path) as partial:
        save_file(kept, partial, metadata={METADATA_KEY: json.dumps(description)})
    return Path(path)


def load_directions(path: str | Path) -> DirectionSet:
    """Reads and checks a file of ``save_directions``; see ``open_directions`` for those that need a finder.

    Raises:
        DirectionsError: if it is missing, damaged, or not such a file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        described = {name: description[name] for name in DESCRIBED if name in description}
        directions = tensors.pop("directions")
        if missing := [name for name in ("group_names", "layer", "method") if name not in described]:
            raise KeyError(missing[0])
    except FileNotFoundError as error:
        raise DirectionsError(f"directions file {path} does not exist: run find_vectors.py first") from error
    except (SafetensorError, KeyError, OSError, ValueError) as error:
        raise DirectionsError(f"{path} is no directions file of this project, or is cut off: {error}") from error
    described["state"] = {name.removeprefix(STATE): t for name, t in tensors.items() if name.startswith(STATE)}
    if described.get("free"):
        described["free"] = tuple(described["free"])
    return DirectionSet(directions, slopes=tensors.get("slopes"), spreads=tensors.get("spreads"), **described)


# --- Directions as CSV files of Oh-LoRA: one file a property and group ---


NAME = re.compile(r"(?P<property>.+)_change_(?P<layer>.+)_vector_(?P<group>.+)\.csv")


class DirectionTable(NamedTuple):
    """What a folder's files of a layer hold, of any length and sign."""

    directions: np.ndarray  # float32 [k, G, D]
    properties: tuple[str, ...]  # the published ones first
    group_names: list[str]  # sorted


def direction_path(folder: Path | str, prop: str, layer: str, group: str) -> Path:
    """``{property}_change_{layer}_vector_{group}.csv`` in the folder."""
    return Path(folder) / f"{prop}_change_{layer}_vector_{group}.csv"


def write_directions(
    folder: Path | str,
    directions: np.ndarray,
    group_names: Sequence[str],
    layer: str,
    properties: Sequence[str] = EDITED_PROPERTIES,
) -> list[Path]:
    """Writes directions ``[k, G, D]``, whose float32 survives exactly, and returns the paths, group by group within a
    property. A file has a header of column numbers, one row, and an index column."""
    directions = np.asarray(directions, dtype=np.float32)
    expected = (len(properties), len(group_names))
    if directions.ndim != 3 or directions.shape[:2] != expected:
        raise ValueError(f"directions have shape {list(directions.shape)}, expected [{expected[0]}, {expected[1]}, D]")
    paths = []
    for prop, of_property in zip(properties, directions, strict=True):
        for group, vector in zip(group_names, of_property, strict=True):
            paths.append(direction_path(folder, prop, layer, group))
            write_rows(paths[-1], [["", *range(len(vector))], [0, *map(str, vector)]])
    return paths


def read_directions(folder: Path | str, layer: str) -> DirectionTable:
    """Reads the direction files of a layer in a folder, whatever properties and groups there are.

    Raises:
        TableError: where there are none, a property lacks a group that another has, a file does not hold one row of
            finite numbers under their column numbers, or files have different sizes.
    """
    if not Path(folder).is_dir():
        raise TableError(f"{folder} is no folder: give the one that holds the direction files")
    names = [match for path in Path(folder).glob("*.csv") if (match := NAME.fullmatch(path.name))]
    found = {(match["property"], match["group"]) for match in names if match["layer"] == layer}
    if not found:
        others = sorted({match["layer"] for match in names})
        there = f", but files of the layers {shown(others)}" if others else ""
        expected = f"PROPERTY_change_{layer}_vector_GROUP.csv"
        raise TableError(f"{folder} holds no direction files of layer {layer!r} ({expected}){there}")
    group_names, known = sorted({group for _, group in found}), {prop for prop, _ in found}
    properties = [*(name for name in EDITED_PROPERTIES if name in known), *sorted(known - set(EDITED_PROPERTIES))]
    missing = [(prop, group) for prop in properties for group in group_names if (prop, group) not in found]
    if missing:
        path = direction_path(folder, missing[0][0], layer, missing[0][1])
        rest = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        groups = shown(sorted({group for _, group in missing}))
        raise TableError(
            f"{path} is missing{rest}, expected one file a property and group: only some properties have one of "
            f"{groups}"
        )
    vectors = [[_read_direction(direction_path(folder, p, layer, group)) for group in group_names] for p in properties]
    sizes = sorted({len(vector) for of_property in vectors for vector in of_property})
    if len(sizes) > 1:
        raise TableError(f"{folder}: direction files of layer {layer!r} have different sizes {sizes}")
    return DirectionTable(np.array(vectors), tuple(properties), group_names)


def _read_direction(path: Path) -> np.ndarray:
    table = read_table(path, ends=True)
    columns = table.header[1:]
    if table.header[0] or columns != [str(i) for i in range(len(columns))] or not columns:
        raise TableError(f"{path} has the columns {shown(table.header)}, expected '', '0', '1' and so on")
    if len(table.rows) != 1:
        raise TableError(f"{path} holds {len(table.rows)} rows, expected one: a direction a file")
    return table.numbers(columns)[0].astype(np.float32)


# --- A finder as plain data, and directions files opened for any face ---


def recipe_of(finder: DirectionFinder) -> dict[str, Any]:
    """A finder's class and settings as plain data; what is not plain, such as a function that trains, is left out."""
    settings = {name: _plain(value) for name, value in vars(finder).items() if not name.endswith("_")}
    return {
        "class": FINDERS.name_of(finder),
        "settings": {name: value for name, value in settings.items() if value is not _LEFT_OUT},
    }


_LEFT_OUT = object()  # null is a setting like any other


def _plain(value: Any) -> Any:
    if isinstance(value, DirectionFinder):
        return recipe_of(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) or type(value).__name__ == "ListConfig":
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else _LEFT_OUT


def make_finder(recipe: Mapping[str, Any]) -> DirectionFinder:
    """The finder of a recipe; raises DirectionsError for one that there is not."""
    try:
        kind = FINDERS.find(str(recipe.get("class")))
    except (ImportError, AttributeError, ValueError) as error:
        raise DirectionsError(f"directions name a finder that cannot be made: {error}") from error
    settings = dict(recipe["settings"])
    settings.pop("solver_seed", None)  # a constant, which files of earlier versions hold
    if "finders" in settings:
        settings["finders"] = {prop: make_finder(part) for prop, part in settings["finders"].items()}
    return kind(**settings)


def open_directions(path: str | Path, space: FaceSpace, layer: Layer) -> DirectionSet:
    """Directions of a file, ready for any face of a space.

    Raises:
        DirectionsError: see ``load_directions``; or where they do not fit the layer.
    """
    found = load_directions(path)
    size = layer.size(space.generator)
    if found.directions.shape[2] != size:
        raise DirectionsError(
            f"{path} holds directions of {found.directions.shape[2]} values, layer {layer.name} of this generator has "
            f"{size}: give the generator and the layer that they were found with"
        )
    if found.recipe:
        first, last = found.free or (0, size)
        found.finder = make_finder(found.recipe).restore(
            *(found.directions[..., first:last], found.group_names, found.names, found.properties, found.state),
            free_jacobian(space, layer),
        )
    return found


# --- Other people's directions ---


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
