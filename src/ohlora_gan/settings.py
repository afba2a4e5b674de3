"""The words of the Hydra programs: whose an experiment is, what ``--help`` lists, a sentence for each wrong setting.

A wrong key, group or value is answered with the nearest right one. What can be chosen is read off the folder of configs
of the program that the error came through, so nothing has to be kept up to date here.
"""

import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import (
    CompactHydraException,
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from ohlora_gan.checked import check_settings
from ohlora_gan.errors import UserError, as_typed

T = TypeVar("T")
EXPERIMENTS = {"train": "train.py", "vectors": "find_vectors.py"}
"""Folders of ``conf/experiment`` -> the program that they are for."""
WHAT_TO_GIVE = {
    "checkpoint": "a file's path or the name of a shipped model",
    "scorer": "a file's path or the name of a shipped model",
    "data_folder": "the folder that holds the pictures and their labels",
    "folder": "a folder of pictures, or a .zip file of them",
}
PLUGINS = {
    "hydra/launcher=joblib": "hydra-joblib-launcher",
    "hydra/launcher=submitit_local": "hydra-submitit-launcher",
    "hydra/launcher=submitit_slurm": "hydra-submitit-launcher",
    "hydra/launcher=ray": "hydra-ray-launcher",
    "hydra/sweeper=optuna": "hydra-optuna-sweeper",
}
"""What of Hydra is not part of it -> the package that brings it, of the extra ``sweeps``, or, of ray, ``ray``."""
NO_CHOICE = ("experiment", "model/base", "scale")
"""Groups that nothing is chosen of in the program that has them at hand: parts of others."""


def check_options(words: Sequence[str]) -> None:
    """Raises UserError for ``--model``, where ``model=`` is meant: options of Hydra's own are few."""
    known = get_args_parser()._option_string_actions
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.startswith("--") and not any(option.startswith(name) for option in known):
            value = value if equals else next((w for w in words[i + 1 : i + 2] if not w.startswith("-")), "VALUE")
            raise UserError(
                f"{name} is no option, expected KEY=VALUE: give {name.lstrip('-').replace('-', '_')}={value}"
            )


def own_experiments(arguments: Sequence[str], kind: str) -> list[str]:
    """Arguments in which ``experiment=NAME`` is one of the program's own, ``experiment/KIND=NAME``."""
    return [re.sub(r"^([+~]*)experiment=", rf"\1experiment/{kind}=", argument) for argument in arguments]


def overrides(cfg: DictConfig) -> list[str]:
    """What the command line says, ``KEY=VALUE`` each; empty where a config is not that of Hydra's present job."""
    if not HydraConfig.initialized():
        return []
    job: Any = HydraConfig.get()
    folder = OmegaConf.select(job, "runtime.output_dir", throw_on_missing=False)
    is_this_jobs = folder is not None and Path(folder) == Path(cfg.paths.output_dir)
    return list(job.overrides.task) if is_this_jobs else []


def given_keys(cfg: DictConfig) -> list[str]:
    """Keys and groups that the command line gives a value, without ``+``."""
    return [text.lstrip("+~").partition("=")[0] for text in overrides(cfg)]


def added_keys(cfg: DictConfig) -> list[str]:
    """Keys that the command line adds at the top (``+KEY=``)."""
    keys = [text.lstrip("+").partition("=")[0] for text in overrides(cfg) if text.startswith("+")]
    return [key for key in keys if not re.search(r"[./@]", key)]


def choices(*groups: str) -> str:
    """What can be chosen of each group, a line each, for the template of ``--help`` (the resolver ``choices``).

    The words of a choice are the first line of its file.
    """
    hydra = GlobalHydra.instance().hydra
    if hydra is None:
        return ""
    lines: list[str] = []
    for group in groups:
        lines += ["", f"{group.partition('/')[0]}="]
        lines += [f"    {name:21} {says}" for name, says in described(hydra.config_loader, group)]
    return "\n".join(f"  {line}" if line else "" for line in lines).strip()


def described(loader: Any, group: str) -> Iterator[tuple[str, str]]:
    """(name, first line of the file) of each choice of a group."""
    for name in loader.get_group_options(group, results_filter=ObjectType.CONFIG):
        if path := config_file(loader, f"{group}/{name}"):
            lines = path.read_text(encoding="utf-8").splitlines()
            says = [line[2:] for line in lines if line.startswith("# ") and "@package" not in line]
            yield name, says[0] if says else ""


def config_file(loader: Any, name: str) -> Path | None:
    """A config's file; None where there is none, or no loader."""
    sources = [] if loader is None else loader.get_sources()
    paths = [Path(source.path) / f"{name}.yaml" for source in sources if source.scheme() == "file"]
    return next((path for path in paths if path.is_file()), None)


MAX_NAME = 120
"""Characters of a job folder's name."""
FIXED = "hydra.job.config.override_dirname.exclude_keys"
"""Hydra's list of keys that name no job folder."""


def with_fixed_keys(arguments: Sequence[str]) -> list[str]:
    """Arguments that tell a sweep's jobs besides which keys have one value in all of them."""
    parser, keys, first = OverridesParser.create(), {}, None
    for i, word in enumerate(arguments):
        try:
            override = parser.parse_override(word)
        except HydraException:  # a flag, or what Hydra will refuse itself
            continue
        first = i if first is None else first
        keys[override.key_or_group] = override.is_sweep_override()  # of a key that is given twice the last counts
    fixed = [key for key, is_swept in keys.items() if not is_swept]
    told = [f"++{FIXED}={quoted(fixed)}"] if fixed else []
    return [*arguments[:first], *told, *arguments[first:]] if told else list(arguments)


def quoted(words: Sequence[str]) -> str:
    """A list of words in Hydra's grammar."""
    return "[" + ",".join(f"'{word}'" for word in words) + "]"


def job_folder(*, _root_: DictConfig) -> str:
    """The name of a sweep's job folder (the resolver ``job_folder``): its number, and what sets it apart from others.

    ``0_method-svm_layer-w``: characters that Hydra's grammar or a file system reads otherwise become ``-``, so that a
    path in it can be given as it is.
    """
    job: Any = _root_.hydra.job
    fixed = OmegaConf.select(_root_, FIXED) or ()
    told = [word.lstrip("+~") for word in _root_.hydra.overrides.task]
    named = [re.sub(r"[^\w.]+", "-", word).strip("-") for word in told if word.partition("=")[0] not in fixed]
    return "_".join([str(job.num), *named])[:MAX_NAME].rstrip("-_.")


OmegaConf.register_new_resolver("choices", choices, replace=True)
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
OmegaConf.register_new_resolver("call", lambda program: as_typed(f"python {program}"), replace=True)
OmegaConf.register_new_resolver("plus", lambda number, more: number + more, replace=True)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a wrong one was probably meant to be."""
    words = list(known)
    alike = {name.lower(): name for name in words}
    found = get_close_matches(word.lower(), alike, 1, cutoff=0.6)
    return alike[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], form: str = "{}") -> str:
    """``did you mean eyes? ``, or nothing where no known word is near."""
    guess = nearest(word, known)
    return f"did you mean {form.format(guess)}? " if guess else ""


def typed(kind: type[T], given: Mapping[str, Any]) -> T:
    """Flat settings as the dataclass that documents them; ValueError for one that it lacks, or an unfit value."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if unknown := next((key for key in given if key not in known), None):
        raise ValueError(
            f"{unknown}= is no setting of {kind.__name__}: {did_you_mean(unknown, known)}expected some of "
            f"{', '.join(known)}"
        )
    check_settings(kind, given)
    return kind(**given)


def unknown_choice(error: MissingConfigException) -> str:
    """``method=foo``, where conf/method has no foo."""
    group, _, choice = str(error.missing_cfg_file).rpartition("/")
    if f"{group}={choice}" in PLUGINS:
        package = PLUGINS[f"{group}={choice}"]
        extra = "ray" if choice == "ray" else "sweeps"
        return f"{group}={choice} is not installed: pip install {package}, or pip install 'ohlora-gan[{extra}]'"
    options = list(error.options or ())
    if not group or not options:
        return str(error).partition("\n")[0]
    name, _, kind = group.partition("/")
    if name == "experiment":
        group = name
        for other, other_program in EXPERIMENTS.items():
            if other != kind and choice in group_options(error, f"experiment/{other}"):
                own = EXPERIMENTS.get(kind, program())
                return f"experiment={choice} is for {other_program}: {own} has {', '.join(options)}"
    guess = nearest(choice, options) or options[0]
    return f"unknown {group} {choice!r}: expected one of {', '.join(options)} ({group}={guess})"


def composition(error: ConfigCompositionException) -> str:
    """An override that does not fit the config."""
    cause, text = error.__cause__, str(error)
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)):
        return unknown_key(cause, error)
    if isinstance(cause, OmegaConfBaseException):
        return value_error(cause)
    if match := re.match(r"Multiple values for ([\w/]+)\. To override a value use 'override ([\w/]+): (\S+)'", text):
        word = f"{match[1].partition('/')[0] if match[1].startswith('experiment/') else match[1]}={match[3]}"
        return f"+{word} adds to what is chosen already: give {word}, without the plus"
    if match := re.search(r"force-add of config groups is not supported: '\+\+(\S+)'", text):
        return f"++{match[1]} adds to what is chosen already: give {match[1]}, without the pluses"
    if match := re.match(r"Could not append to config\. An item is already at '([^']+)'", text):
        return f"+{match[1]}= adds a key, but it is already at {match[1]!r}: give {match[1]}=, without the plus"
    if match := re.match(r"(?:In '(?P<file>[^']+)': )?Could not override '(?P<group>[^']+)'\.", text):
        return unknown_group(match["group"], (match["file"] or ""), error)
    return text


def unknown_group(group: str, file: str, error: Exception) -> str:
    """``model=v9``, where a program has no group of models."""
    what, _, choice = file.rpartition("/")
    why = f"{what}={choice} is not for {program()}, which" if what else program()
    own = own_groups(error)
    others = [name for name in ("train", "find_vectors") if group in groups_of(error, name)]
    if others and not what:
        remedy = f"it is one of {others[0]}.py"
    else:
        remedy = f"{did_you_mean(group, own, '{}=')}`{call()} --help` lists what it has"
    return f"{why} has no group {group!r}: {remedy}"


def unknown_key(error: OmegaConfBaseException, outer: Exception | None = None) -> str:
    """``foo=1``, where the config has no foo."""
    key = str(error.full_key)
    config = OmegaConf.to_container(error.parent_node._get_root(), resolve=False)
    known = [name for name in all_keys(config) if name.partition(".")[0] != "hydra"]
    group, _, rest = key.partition(".")
    options = [name for name in group_options(outer, group) if rest and name != "auto"]
    if owners := [f"{group}={name}" for name in options if has_key(outer, f"{group}/{name}", rest)]:
        which = f"give {owners[0]}" if len(owners) == 1 else "choose one of them"
        return f"{key}= is a setting of {', '.join(owners)}: leave it out, or {which}"
    guess = nearest_key(key, known, own_groups(outer))
    hint = f"did you mean {guess}=? " if guess else ""
    adds = f", +{key}= adds one" if "." in key else ""
    return f"unknown key {key!r}: {hint}`{call()} --cfg job` shows every key{adds}"


def nearest_key(key: str, known: Sequence[str], groups: Sequence[str]) -> str | None:
    """The known key that a wrong one was probably meant to be: one of that name, else a sibling, else any near one."""
    node, _, word = key.rpartition(".")
    if same := sorted((name for name in known if name.rpartition(".")[2] == word), key=len):
        return same[0]
    siblings = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == node]
    if guess := nearest(word, siblings if node else [*siblings, *groups]):
        return f"{node}.{guess}" if node else guess
    return next(iter(get_close_matches(key, known, 1, cutoff=0.75)), None)


def all_keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all nodes of a nested dict."""
    for key, value in config.items() if isinstance(config, dict) else ():
        yield from (f"{prefix}{key}", *all_keys(value, f"{prefix}{key}."))


def unreadable_override(error: OverrideParseException) -> str:
    """An argument that is no ``key=value`` of Hydra's grammar."""
    quoted = "'checkpoint=\"a=b.pth\"'"
    return f"cannot read {error.override!r}: expected key=value without spaces, special characters in quotes: {quoted}"


def value_error(error: OmegaConfBaseException) -> str:
    """A value that is missing, refers to nothing or has the wrong type."""
    text = str(error).partition("\n")[0]
    if match := re.search(r"Missing mandatory value: (\S+)", text):
        key = match[1]
        remedy = WHAT_TO_GIVE.get(key.rpartition(".")[2], f"see `{call()} --help`")
        return f"{key}= must be given: {remedy}"
    return f"{error.full_key}: {text}"


def program() -> str:
    """What the user started: ``train.py``, or ``ohlora chain``."""
    return Path(sys.argv[0]).name


def call() -> str:
    """How the user starts it again: ``python train.py``, or ``ohlora chain``."""
    return program() if program().startswith("ohlora") else f"python {program()}"


EXPLANATIONS: tuple[tuple[Any, Callable[[Any], str | None]], ...] = (
    (MissingConfigException, unknown_choice),
    (ConfigCompositionException, composition),
    (OverrideParseException, unreadable_override),
    (CompactHydraException, str),
    ((MissingMandatoryValue, InterpolationResolutionError), value_error),
)
"""Kinds of Hydra's errors and what explains them; the first that fits counts."""


def loader_of(error: BaseException | None) -> Any:
    """Hydra's loader of configs; its own frame knows it even after Hydra has forgotten."""
    if error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if loader := getattr(frame.f_locals.get("hydra"), "config_loader", None):
                return loader
    hydra = GlobalHydra.instance().hydra
    return None if hydra is None else hydra.config_loader


def group_options(error: BaseException | None, group: str) -> list[str]:
    """What can be chosen of a group; nothing where there is none."""
    loader = loader_of(error)
    return [] if loader is None else list(loader.get_group_options(group, results_filter=ObjectType.CONFIG))


def own_groups(error: BaseException | None) -> list[str]:
    """The groups of the configs, those of a program's own."""
    if program() == "ohlora chain":
        return ["scale"]
    loader = loader_of(error)
    found = [] if loader is None else loader.list_groups("")
    return [name for name in found if name not in ("hydra", "base", *NO_CHOICE)]


def groups_of(error: BaseException | None, program_name: str) -> list[str]:
    """The groups of a program of ours, by its config's list of defaults."""
    entries = raw(error, program_name).get("defaults", [])
    return [str(next(iter(entry))) for entry in entries if isinstance(entry, dict)]


def has_key(error: BaseException | None, name: str, key: str) -> bool:
    """Whether a config, or one that it begins with, has a dotted key."""
    content = raw(error, name)
    if key in all_keys(content):
        return True
    group = name.rpartition("/")[0]
    parents = [entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    return any(has_key(error, f"{group}/{parent.partition('@')[0]}", key) for parent in parents)


def raw(error: BaseException | None, name: str) -> dict[Any, Any]:
    """A config's own content as plain data, its list of defaults with it; empty where there is no such file."""
    path = config_file(loader_of(error), name)
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False) if path else {}
    return content if isinstance(content, dict) else {}
