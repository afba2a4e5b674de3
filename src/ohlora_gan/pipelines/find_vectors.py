"""find_vectors(cfg): sample, find, calibrate, judge, report; no maths."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from ohlora_gan.directions.base import DirectionFinder
from ohlora_gan.directions.files import DirectionSet, save_directions, write_directions
from ohlora_gan.directions.foreign import mark_as_ours
from ohlora_gan.editing.closed_loop import ClosedLoop, ClosedLoopMover, Steps
from ohlora_gan.editing.moves import Mover, StraightMover
from ohlora_gan.editing.search import Wanted, find_directions
from ohlora_gan.files import write_json
from ohlora_gan.judging.figures import Plan, summary
from ohlora_gan.judging.judge import LANDMARKS, Extent, Judgement, check_judges, judge_vectors, open_judges
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer, W, Z
from ohlora_gan.latents.metric import Region, stored_metric
from ohlora_gan.latents.saved import SavedLatents, append_sweep_row, sweep_row, write_cases, write_latents
from ohlora_gan.latents.space import REPORT, FaceSpace
from ohlora_gan.models.checkpoint import file_hash, weights_hash
from ohlora_gan.models.generator import GeneratorBase
from ohlora_gan.models.wrapped import is_factory, wrapped_in
from ohlora_gan.models.zoo import open_generator, open_scorer, resolve
from ohlora_gan.names import EDITED_PROPERTIES, GROUP_PROPERTIES, published_or
from ohlora_gan.options import Distilling
from ohlora_gan.pipelines import compare
from ohlora_gan.pipelines.checks import check_find_vectors, check_names, chosen_judge, generation_plan, is_closed_loop
from ohlora_gan.pipelines.distill import distil
from ohlora_gan.pipelines.logged import (
    LiveBar,
    log_found,
    log_search,
    log_start,
    log_sweep,
    log_sweep_start,
    make_loggers,
)
from ohlora_gan.pipelines.train import open_device, save_config
from ohlora_gan.progress import Bar
from ohlora_gan.reports.leaderboard import ranked, scorer_order
from ohlora_gan.reports.pages import save_strips
from ohlora_gan.reports.report import (
    VectorSearch,
    describe_judges,
    describe_results,
    draw_strips,
    vector_page,
    write_report,
)
from ohlora_gan.settings import given_keys
from ohlora_gan.training.loggers import open_loggers
from ohlora_gan.trust import instantiate

log = logging.getLogger(__name__)


@dataclass
class Search:
    """A search for directions, while it goes on."""

    cfg: DictConfig
    space: FaceSpace
    layer: Layer
    bank: ScoreBank
    finder: DirectionFinder | None  # None: a closed loop
    found: DirectionSet | None = None
    num_reused: int = 0  # samples that the bank held already
    seconds: dict[str, float] = field(default_factory=dict)  # what each part took
    bar: type[Bar] = Bar  # of progress

    @property
    def folder(self) -> Path:
        return Path(self.cfg.paths.output_dir)

    @property
    def region(self) -> Region:
        """Where the face is in the generator's pictures."""
        return Region(**self.cfg.test.region) if self.cfg.test.region else Region()


def find_vectors(cfg: DictConfig) -> float:
    """Finds directions with a composed ``conf/find_vectors.yaml``; returns the mean sum of correlations, of the first
    scorer that had no part in finding them where there is one."""
    started, free = time.monotonic(), cfg.properties is None
    settle_names(cfg)
    check_find_vectors(cfg)
    distil_scorer(cfg, free)
    judging = judging_networks(cfg)
    opened = open_generator(cfg.checkpoint), open_scorer(cfg.scorer), open_device(cfg)
    space = FaceSpace(*opened, cfg.batch_size, cfg.seed, truncation_psi=cfg.truncation_psi)
    layer = open_layer(cfg, space.generator)
    check_names(cfg, space.property_names)
    finder, plan = open_finder(cfg), generation_plan(cfg)
    judges = open_judges(space, cfg.scorer, chosen_judge(cfg), cfg.test.landmarks_pose)
    check_judges(judges, plan)
    search = Search(cfg, space, layer, ScoreBank(cfg.paths.bank_dir, space), finder)
    used = {"checkpoint": cfg.checkpoint, "scorer": cfg.scorer, "judge": judging}
    save_config(cfg, used)
    with open_loggers(make_loggers(cfg)) as loggers:
        log_start(loggers, cfg, used)
        search.bar = LiveBar.of(loggers)
        mover = closed_loop_mover(search) if finder is None else directions_mover(search, finder, plan)
        kept = ("num_latents", "max_passes", "retest", "num_saturation")
        extent = Extent(**{name: cfg.test[name] for name in kept}, region=search.region)
        with search.bar(desc="testing", total=cfg.test.num_latents) as bar:
            judgement = judge_vectors(space, layer, mover, plan, judges, extent, bar)
        judgement.about |= about(search)
        return write_results(search, judgement, loggers, time.monotonic() - started)


def settle_names(cfg: DictConfig) -> None:
    """Gives ``properties`` and ``group_by``, where they are null, what the scorer measures: the published ones where it
    has all of them, else all properties, and no groups."""
    if cfg.properties is not None and cfg.group_by is not None:
        return
    names: Any = open_scorer(cfg.scorer).property_names
    if cfg.properties is None:
        cfg.properties = list(published_or(EDITED_PROPERTIES, names, names))
    if cfg.group_by is None:
        cfg.group_by = list(published_or(GROUP_PROPERTIES, names, ()))
        if cfg.groups == "medians" and not cfg.group_by:
            log.info("faces are not grouped: %s does not measure %s", cfg.scorer, ", ".join(GROUP_PROPERTIES))
            cfg.groups = "none"


def distil_scorer(cfg: DictConfig, free: bool) -> None:
    """Puts a distilled network in place of a scorer that has no derivatives, where the method needs them; the scorer
    judges, unless somebody else is asked. Where properties are ``free``, those that cannot be learnt are left out."""
    finder, told = open_finder(cfg), wrapped_in(open_scorer(cfg.scorer)) if is_factory(cfg.scorer) else []
    if (finder is not None and not finder.differentiates) or all(part.differentiable for part in told):
        return
    how = Distilling(cfg.distill.n, cfg.distill.epochs, cfg.seed, cfg.device.name, Path(cfg.distill.output))
    found = distil(cfg.checkpoint, cfg.scorer, how)
    log.info("%s scores as %s does:\n%s", found.path, cfg.scorer, found.table())
    cfg.judge = cfg.scorer if cfg.judge == "auto" else cfg.judge
    cfg.scorer = str(found.path)
    if free:
        cfg.properties = [name for name in cfg.properties if name not in found.left_out]


def judging_networks(cfg: DictConfig) -> list[str]:
    """The networks that judge besides the finding scorer; landmarks are none."""
    judge = chosen_judge(cfg) or []
    return [name for name in ([judge] if isinstance(judge, str) else judge) if name != LANDMARKS]


def open_layer(cfg: DictConfig, generator: GeneratorBase) -> Layer:
    """The layer of a composed config. Where the user has named none, a closed loop moves at z, and others at w if the
    generator lacks the config's layer."""
    layer, given = instantiate(cfg.layer), given_keys(cfg)
    named = not given or any(key == "layer" or key.startswith(("layer.", "experiment")) for key in given)
    if is_closed_loop(cfg) and layer.name != "z":
        if named:
            log.warning(
                "a closed loop at %s may leave the faces that the generator knows: layer=z keeps to them", layer.name
            )
        else:
            log.info("layer=z: there a closed loop keeps to faces that the generator knows")
            cfg.layer = {"_target_": "ohlora_gan.latents.layers.Z"}
            layer = Z()
    try:
        layer.check(generator)
    except ValueError as error:
        if named:
            raise
        log.info("layer=w: %s", error)
        cfg.layer = {"_target_": "ohlora_gan.latents.layers.W"}
        layer = W()
    return layer


def open_finder(cfg: DictConfig) -> DirectionFinder | None:
    """The finder of a composed config; None for a closed loop. Directions that depend on the face cannot be mixed."""
    if is_closed_loop(cfg):
        return None
    finder: DirectionFinder = instantiate(cfg.method.finder)
    if cfg.correct and finder.pointwise:
        raise ValueError(f"method {cfg.method.name} gives each face its own directions: give correct=false")
    return finder


def directions_mover(search: Search, finder: DirectionFinder, plan: Plan) -> Mover:
    """Finds directions as the settings say, writes them in our format and in the published one; they are tested."""
    cfg = search.cfg
    wanted = Wanted(
        tuple(cfg.properties),
        cfg.n,
        tuple(cfg.group_by) if cfg.groups == "medians" else (),
        dict(cfg.medians) if cfg.medians else None,
        open_metric(search),
        cfg.correct,
        {name: plan.strengths[name] for name in cfg.properties} if cfg.test.grid == "sigma" else {},
        cfg.num_calibration,
        cfg.method.name,
        search.bar,
    )
    made = find_directions(search.bank, search.layer, finder, wanted)
    search.found, search.seconds, search.num_reused = made.directions, made.seconds, made.num_reused
    found, method = made.directions, OmegaConf.to_container(cfg.method, resolve=True)
    found.provenance |= {"generator_file": file_hash(resolve(cfg.checkpoint)), "method": method}
    save_directions(search.folder / "vectors.safetensors", found)
    write_directions(search.folder / "vectors", found.directions, found.group_names, found.layer, found.properties)
    mark_as_ours(search.folder / "vectors", found)
    return StraightMover(found)


def open_metric(search: Search) -> np.ndarray | None:
    """The metric of ``cfg.metric``, measured once for a generator, layer and settings."""
    measured: Any = OmegaConf.to_container(search.cfg.metric, resolve=True)
    settings = {"region": "all"} | {key: value for key, value in measured.items() if value is not None}
    return stored_metric(search.bank, search.layer, settings, search.region)


def closed_loop_mover(search: Search) -> Mover:
    """The closed loop of ``cfg.method.loop`` as what is tested."""
    started = time.monotonic()
    metric = open_metric(search)
    settings: Any = OmegaConf.to_container(search.cfg.method.loop, resolve=True)
    how = {key: settings.pop(key) for key in ("hold", "beyond", "targets")}
    steps = Steps(settings.pop("steps"), **settings)
    loop = ClosedLoop(search.space, search.layer, metric, steps)
    search.seconds["finding"] = time.monotonic() - started
    return ClosedLoopMover(loop, **how)


def about(search: Search) -> dict[str, Any]:
    """What ``judge.json`` says of the method."""
    cfg, found = search.cfg, search.found
    decorrelate = cfg.method.finder.get("decorrelate", "none") if found else "none"
    hold = "none" if found else cfg.method.loop.hold
    said = {
        "method": cfg.method.name,
        "decorrelate": decorrelate if isinstance(decorrelate, str) else list(decorrelate),
        "hold": hold if isinstance(hold, str) else list(hold),
        "metric": cfg.metric.name,
        "correct": bool(cfg.correct) and found is not None,
        "n": cfg.n,
        "seconds": {name: round(value, 1) for name, value in search.seconds.items()},
    }
    if found is not None and found.slopes is not None and found.spreads is not None:
        said["slopes"] = {p: float(found.slopes[i].mean()) for i, p in enumerate(found.properties)}
        said["spreads"] = {p: float(found.spreads[i].mean()) for i, p in enumerate(found.properties)}
    return said


def write_results(search: Search, judgement: Judgement, loggers: Sequence[Logger], seconds: float) -> float:
    """Writes and logs figures, tables, latents that passed, strips and the page; returns the run's metric."""
    cfg, space, layer, test, folder = search.cfg, search.space, search.layer, judgement.test, search.folder
    properties, name = tuple(cfg.properties), cfg.method.name
    fit_metrics = search.finder.metrics_ if search.finder else {}
    write_json(folder / "judge.json", judgement.to_dict())
    results = summary(test.cases)
    write_cases(folder / f"test_result_{name}_{layer.name}.csv", test.cases)
    k = int(0.2 * cfg.n) if "samples_per_class" in fit_metrics else None
    row = sweep_row(cfg.n, seconds, fit_metrics, results, k, properties)
    append_sweep_row(folder / f"test_result_summary_{name}_{layer.name}.csv", row)
    save_passed(search, judgement)
    strips = draw_strips(space, layer, test, **cfg.strips)
    save_strips(folder / "strips", strips)
    metrics = {"n": cfg.n, "seconds": round(seconds, 1), "test": results, "finder": fit_metrics}
    metrics |= {"response": test.response().tolist(), "bank_samples_reused": search.num_reused}
    write_json(folder / "metrics.json", metrics)
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    page = VectorSearch(settings, space, layer, search.found, fit_metrics, judgement, strips, seconds)
    write_report(folder / "report.html", vector_page(page))
    log_search(loggers, judgement, strips, folder)
    log_found(loggers, folder, search.bank)
    report = f"report: {folder / 'report.html'}"
    for line in (describe_results(results, cfg.properties), report, *describe_judges(judgement)):
        log.info("%s", line)
    by = judgement.by.values()
    return next((of["sum_corr"][0] for of in by if of["role"] == "judging"), results["sum_mean_corr"])


def save_passed(search: Search, judgement: Judgement) -> None:
    """Keeps the latents that passed, if any, in our format and in the published one."""
    space, cases = search.space, [case for case in judgement.test.cases if case.passed]
    if not cases:
        return
    z, label = space.latents(REPORT, [case.index for case in cases])
    saved = SavedLatents(
        z.numpy(),
        np.zeros((len(z), 0), np.float32) if label is None else label.numpy(),
        [case.group for case in cases],
        np.array([case.index for case in cases]),
        {name: np.array([case.corrs[name] for case in cases]) for name in search.cfg.properties},
        {"generator": weights_hash(space.generator), "layer": search.layer.name, "seed": space.seed},
    )
    write_latents(search.folder / "latents", saved, search.layer.name, search.cfg.method.name)


class Leaderboard(Callback):
    """Hydra's callback at the end of a sweep: writes the leaderboard of all jobs into the sweep's folder.

    What went wrong in writing is told, and ends no sweep.
    """

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        try:
            page = compare.compare_runs([folder])
        except (ValueError, OSError) as error:
            log.warning("no leaderboard: %s", error)
            return
        log.info("leaderboard: %s", page)
        if "logger" in config:
            self.log_summary(config, folder, page)

    def log_summary(self, config: DictConfig, folder: Path, page: Path) -> None:
        """Logs the sweep as a run of its own, in the group of its jobs."""
        cells, failed = compare.read_runs([folder])
        cells = ranked(cells, scorer_order(cells)[0])
        group = "/".join(folder.absolute().parts[-2:])
        who = {"name": f"sweep of {len(cells)} cells", "group": group, "job_type": "judge", "tags": ["sweep"]}
        config.paths.output_dir = str(folder)
        with open_loggers(make_loggers(config, who | {"notes": str(page)})) as loggers:
            log_sweep_start(loggers, config)
            log_sweep(loggers, cells, len(failed), page)
