"""Settings and what files say of themselves, checked before anything is made of them.

Types are those of the annotations of what takes a value, ranges go by a setting's name: one word has one meaning
everywhere. True is no number, 2.0 no whole one, and a text no list.
"""

import inspect
import math
import sys
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ohlora_gan.errors import UserError

LARGEST, ABOVE_0 = 2**63 - 1, sys.float_info.min
SIDE, WIDTH, COUNT, MANY = (4, 4096), (1, 65_536), (1, LARGEST), (0, LARGEST)
RANGES: Mapping[str, tuple[float, float]] = {
    "resolution": SIDE,
    **dict.fromkeys(("z_dim", "w_dim", "mapping_dim", "embedding_dim", "fmaps", "fmaps_max", "width"), WIDTH),
    "channel_max": WIDTH,
    "label_dim": (0, WIDTH[1]),
    **dict.fromkeys(("fmaps_base", "channel_base"), (1, 2**24)),
    **dict.fromkeys(("mapping_layers", "num_layers"), (1, 64)),
    **dict.fromkeys(("num_folds", "max_attempts"), (1, 1000)),
    **dict.fromkeys(("batch_size", "render_batch_size"), (1, 65_536)),
    "num_workers": (0, 1024),
    **dict.fromkeys(("devices", "num_nodes"), (1, 4096)),
    **dict.fromkeys(
        ("n", "num_images", "num_generated", "num_jacobians", "num_probes", "num_faces", "columns", "min_size"), COUNT
    ),
    **dict.fromkeys(("every_n_batches", "every_n_train_steps", "flush_logs_every_n_steps", "refresh_rate"), COUNT),
    **dict.fromkeys(("epochs", "max_iter", "num_latents", "max_passes", "steps", "refresh", "num_own"), COUNT),
    **dict.fromkeys(("seed", "num_val", "num_test", "num_saturation", "patience", "latents", "first", "last"), MANY),
    **dict.fromkeys(("max_epochs", "max_steps"), (-1, LARGEST)),
    **dict.fromkeys(("lr", "weight_decay", "augmentation", "roughness", "r1_gamma"), (0, 1000)),
    **dict.fromkeys(("damping", "shrinkage", "steadiness"), (0, 1e9)),
    **dict.fromkeys(("style_mixing", "share"), (0, 1)),
    **dict.fromkeys(("truncation_psi", "ratio", "train_share", "decay"), (ABOVE_0, 1)),
    **dict.fromkeys(("C", "longest"), (ABOVE_0, 1e9)),
    **dict.fromkeys(("reach", "alphas", "own", "cloud"), (0, 1e9)),
    "psi": (0, 10),
}
"""Setting -> the smallest and the largest number that it may have; of a list's numbers, each. -1: no limit."""

WORDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    type(None): "null",
}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of plain data is of an annotated type; types that plain data cannot show are taken."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if kind is Literal:
        return any(value == one and type(value) is type(one) for one in inner)
    if hint in (None, type(None)):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is Path:
        return isinstance(value, str | Path)
    if hint in (int, bool, str):
        return type(value) is hint
    kind = kind or hint
    if isinstance(kind, type) and kind is not str and issubclass(kind, Mapping):
        return isinstance(value, Mapping) and (
            not inner or all(fits(key, inner[0]) and fits(one, inner[1]) for key, one in value.items())
        )
    if kind is tuple and inner and inner[-1] is not Ellipsis:
        return is_list(value) and len(value) == len(inner) and all(map(fits, value, inner))
    if isinstance(kind, type) and kind is not object and issubclass(kind, Collection) and kind is not str:
        return is_list(value) and (not inner or all(fits(one, inner[0]) for one in value))
    return True


def is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def words(hint: Any) -> str:
    """A type in words: ``a whole number or null``."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(words, inner)))
    if kind is Literal:
        return " or ".join(map(repr, inner))
    if hint in WORDS or hint is None:
        return WORDS[type(None) if hint is None else hint]
    kind = kind or hint
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return "a mapping {NAME: VALUE}"
    if isinstance(kind, type) and issubclass(kind, Collection):
        return f"a list of {words(inner[0]).removeprefix('a ')}s" if inner and inner[0] in WORDS else "a list"
    return str(getattr(kind, "__name__", kind))


def hints_of(kind: Callable[..., Any]) -> dict[str, Any]:
    """The annotated types of what a class or function takes by name; those that cannot be resolved are left out.

    A class whose ``**settings`` are the fields of a dataclass says so by the attribute ``takes``.
    """
    if hasattr(kind, "takes"):
        return hints_of(kind.takes)
    taker = kind.__init__ if isinstance(kind, type) else kind  # type: ignore[misc]
    with suppress(NameError, TypeError, ValueError, AttributeError):  # of a package that hides its types from runs
        hints = get_type_hints(kind if is_dataclass(kind) else taker)
        named = inspect.signature(kind).parameters.values()
        return {p.name: hints[p.name] for p in named if p.name in hints and p.kind is not p.VAR_KEYWORD}
    return {}


def check_settings(kind: Callable[..., Any], given: Mapping[str, Any], prefix: str = "") -> None:
    """Raises UserError for the first of some settings whose value is of another type than what takes it says, or out
    of range; ``prefix`` comes before its name. Parts that are described by settings of their own are left out."""
    hints = hints_of(kind)
    for name, value in given.items():
        if name in hints and not (isinstance(value, Mapping) and "_target_" in value) and not fits(value, hints[name]):
            raise UserError(f"{prefix}{name} is {value!r}, expected {words(hints[name])}")
    check_ranges(given, prefix)


def check_ranges(given: Mapping[str, Any], prefix: str = "") -> None:
    """Raises UserError for the first number in nested settings that is not finite or out of its name's `RANGES`."""
    for name, value in numbers_in(given, prefix):
        if not math.isfinite(value):
            raise UserError(f"{name} is {value}, expected a finite number")
        low, high = RANGES.get(name.rpartition(".")[2], (-math.inf, math.inf))
        if not low <= value <= high:
            least = "above 0, up to" if low == ABOVE_0 else f"{low:g} to"
            expected = f"{low:g} or more" if high == LARGEST else f"{least} {high:g}"
            raise UserError(f"{name} is {value}, expected {expected}")


def numbers_in(given: Any, name: str = "") -> Iterator[tuple[str, int | float]]:
    """Dotted name and value of all numbers in nested plain data; those of a list have the list's name."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            yield from numbers_in(value, f"{name}.{key}".lstrip(".") if not name.endswith(".") else f"{name}{key}")
    elif is_list(given):
        for value in given:
            yield from numbers_in(value, name)
    elif isinstance(given, int | float) and not isinstance(given, bool):
        yield name, given
