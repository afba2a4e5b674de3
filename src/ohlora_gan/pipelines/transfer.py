"""Directions found on one checkpoint, applied to another of the same layout: what ``ohlora transfer RUN`` does.

They are tested on the other checkpoint as they are, recalibrated, and beside those that a search with the same settings
finds there. What is written is a run folder of the recalibrated ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from ohlora_gan.directions.files import DirectionSet, load_directions, open_directions, save_directions
from ohlora_gan.editing.moves import StraightMover
from ohlora_gan.editing.search import correct, recalibrated
from ohlora_gan.errors import UserError
from ohlora_gan.files import write_json, write_text
from ohlora_gan.judging.figures import Interval, Plan, make_plan, markdown, summary
from ohlora_gan.judging.judge import LANDMARKS, Extent, Judgement, judge_vectors, open_judges
from ohlora_gan.judging.measure import Judge
from ohlora_gan.latents.layers import Layer, layer_named
from ohlora_gan.latents.metric import Region
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.options import Transferring
from ohlora_gan.pipelines.checks import chosen_judge, generation_plan
from ohlora_gan.pipelines.find_vectors import find_vectors, judging_networks
from ohlora_gan.pipelines.runs import (
    JUDGED,
    METRICS,
    VECTORS,
    SpaceSettings,
    read_json,
    read_origins,
    settings_of,
    vectors_file,
)
from ohlora_gan.pipelines.train import save_config
from ohlora_gan.progress import Bar

STAGES = {"run": "on its own", "as_is": "as they are", "recalibrated": "recalibrated", "there": "found there"}
"""What is compared -> how tables call it; all but the first are tested on the other checkpoint."""


@dataclass(frozen=True)
class Target:
    """Where directions go to, and how they are tested there."""

    space: FaceSpace
    layer: Layer
    plan: Plan
    judges: Sequence[Judge]
    extent: Extent

    def test(self, found: DirectionSet) -> Judgement:
        """The test of directions that have slopes."""
        with Bar(desc="testing", total=self.extent.num_latents) as bar:
            return judge_vectors(self.space, self.layer, StraightMover(found), self.plan, self.judges, self.extent, bar)

    def recalibrated(self, found: DirectionSet, how: Transferring, mix: bool) -> tuple[DirectionSet, list[str]]:
        """See ``search.recalibrated``; ``mix``: by samples, mixed by the response measured here, as the run's were."""
        ready, notes = recalibrated(self.space, self.layer, found, how.samples, how.jacobians)
        if mix and not how.jacobians and ready.finder is None:
            strengths = self.plan.strengths if self.plan.unit == "sigma" else {}
            ready = correct(self.space, self.layer, ready, ready.properties, strengths, how.samples)
        return ready, notes


def transfer(run: Path, to: str, output: Path, how: Transferring) -> str:
    """Takes directions to another checkpoint; returns a table and what was written.

    Args:
        run: a run folder, or a directions file without settings, as imported ones are: no search is made for these.
        to: a generator's name or file.
        output: gets ``transfer.json``, ``transfer.md`` and the recalibrated directions as a run's folder has them, and
            in ``there`` the run that was found there.

    Raises:
        ValueError: for directions that the checkpoint has no place for, or settings that cannot be used.
    """
    file = vectors_file(run)
    found, settings = load_directions(file), settings_of(file)
    chosen = SpaceSettings.of(settings, checkpoint=to, scorer=how.scorer, seed=how.seed)
    cfg = config_there(settings, chosen, how)
    target = open_target(found, chosen.open(how.device), cfg)
    opened = open_directions(file, target.space, target.layer)
    there = how.there
    if there is None and "method" in cfg:
        there = output / "there"
        find_vectors(placed(cfg, there))
    sets = {} if there is None else {"there": load_there(there, found)}
    ready, notes = target.recalibrated(opened, how, bool(cfg.get("correct")))
    sets |= {"as_is": opened, "recalibrated": ready}
    tests = {name: target.test(one) for name, one in sets.items() if name != "there" and one.slopes is not None}
    judged = {"run": read_json(file.with_name(JUDGED))} | {name: test.to_dict() for name, test in tests.items()}
    if there is not None:
        judged["there"] = read_json(there / JUDGED)
    by = next((judge.name for judge in target.judges if judge.role == "judging"), target.judges[0].name)
    content = {
        **{"run": str(run), "to": to, "layer": found.layer, "method": found.method, "notes": notes},
        "recalibrated_by": {"jacobians": how.jacobians} if how.jacobians else {"samples": how.samples},
        "judge": by,
        "by": {judge.name: compared(judge.name, judged, sets) for judge in target.judges},
    }
    test, of_run = tests["recalibrated"], ("decorrelate", "hold", "metric", "correct")
    test.about |= {key: judged["run"][key] for key in of_run if key in judged["run"]}
    test.about |= {"method": f"{found.method}, transferred", "n": found.provenance.get("n", 0), "from": str(run)}
    write_run(output, cfg, ready, test)
    write_json(output / "transfer.json", content)
    what = f"{how.jacobians} Jacobians" if how.jacobians else f"{how.samples} samples"
    text = "\n\n".join([table(compared(by, judged, sets)), f"Judged by {by}, recalibrated by {what}.", *notes])
    write_text(output / "transfer.md", text + "\n")
    return f"{text}\n\ntransferred: {output}"


def config_there(settings: Mapping[str, Any], chosen: SpaceSettings, how: Transferring) -> DictConfig:
    """A run's settings for the other checkpoint; of a directions file alone what is known."""
    own = {"judge": "auto", "test": {}} | {key: value for key, value in settings.items() if key != "folder"}
    cfg = OmegaConf.create({**own, **asdict(chosen), "task": "find_vectors"})
    if how.n is not None:
        cfg.test.num_latents = how.n
    judges = read_origins(settings["folder"]).get("judge") if settings else None
    if isinstance(judges, list):
        named = chosen_judge(cfg)
        landmarks = [LANDMARKS] if named == LANDMARKS or (isinstance(named, list) and LANDMARKS in named) else []
        cfg.judge = [judge.find(settings["folder"], "judge") for judge in judges] + landmarks
    return cfg


def placed(cfg: DictConfig, folder: Path) -> DictConfig:
    """The same settings for another run folder."""
    return OmegaConf.merge(cfg, {"paths": {"output_dir": str(folder)}})  # type: ignore[return-value]


def open_target(found: DirectionSet, space: FaceSpace, cfg: DictConfig) -> Target:
    """The other checkpoint and the test that settings ask for; ValueError where directions have no place in it."""
    layer, test = layer_named(found.layer), cfg.test
    layer.check(space.generator)
    plan = generation_plan(cfg) if "method" in cfg else make_plan(found.properties)
    judges = open_judges(space, cfg.scorer, chosen_judge(cfg), test.get("landmarks_pose", "turn"))
    extent = Extent(test.get("num_latents", 100), None, False, 0, Region(**(test.get("region") or {})))
    return Target(space, layer, plan, judges, extent)


def load_there(run: Path, found: DirectionSet) -> DirectionSet:
    """Directions of a run on the other checkpoint; UserError where they are of another kind than ``found``."""
    there = load_directions(vectors_file(run))
    kinds = [(one.layer, one.directions.shape[2], sorted(one.properties), one.group_names) for one in (found, there)]
    if kinds[0] != kinds[1]:
        said = [f"{', '.join(names)} ({len(groups)} groups) at {layer}" for layer, _, names, groups in kinds]
        raise UserError(f"--there {run} has {said[1]}, expected a search with the settings of RUN: {said[0]}")
    return there


def compared(judge: str, judged: Mapping[str, Any], sets: Mapping[str, DirectionSet]) -> dict[str, Any]:
    """A judge's figures, by property and stage: ``cosine`` with the directions found there, mean over groups;
    ``slope_ratio``, what a unit of strength brings, in what it brought on the run's own checkpoint; ``corr``,
    ``pass_share`` and ``leakage`` as in ``judge.json``. ``all``: the pass shares of all properties together."""
    found: dict[str, Any] = {"all": {}}
    for stage, content in judged.items():
        figures = content.get("by", {}).get(judge)
        if figures is None:
            continue
        found["all"][stage] = {"pass_share": figures["pass_share"]}
        for name in content["edited"]:
            leak = figures["leakage"][name]
            row = {"corr": figures["corr"].get(name), "pass_share": figures.get("passes", {}).get(name)}
            row["leakage"] = [leak["worst"], *leak["interval"]]
            found.setdefault(name, {})[stage] = row
            if "there" in sets and stage in sets:
                row["cosine"] = cosine(sets[stage], sets["there"], name)
            own = judged["run"].get("by", {}).get(judge, {}).get("slope", {}).get(name)
            if stage != "run" and own and own[0]:
                ratio, *ends = (value / own[0] for value in figures["slope"][name])
                row["slope_ratio"] = [ratio, *sorted(ends)]
    return found


def cosine(one: DirectionSet, other: DirectionSet, name: str) -> float:
    """Of two sets' directions for a property, mean over groups, -1 to 1."""
    a, b = (found.directions[found.properties.index(name)].astype(np.float64) for found in (one, other))
    return float((a * b).sum(axis=1).mean())


def write_run(folder: Path, cfg: DictConfig, found: DirectionSet, test: Judgement) -> None:
    """Directions and their test as a run's folder has them."""
    cfg = placed(cfg, folder)
    save_config(cfg, {"checkpoint": cfg.checkpoint, "scorer": cfg.scorer, "judge": judging_networks(cfg)})
    save_directions(folder / VECTORS, found)
    write_json(folder / JUDGED, test.to_dict())
    write_json(folder / METRICS, {"n": found.provenance.get("n", 0), "test": summary(test.test.cases)})


def table(by: Mapping[str, Any]) -> str:
    """What ``compared`` found, a row a property and stage."""
    rows, keys = [], ("slope_ratio", "corr", "pass_share", "leakage")
    for name in (*(name for name in by if name != "all"), "all"):
        for stage, row in by[name].items():
            shown = ["" if row.get(key) is None else f"{Interval(*row[key])}" for key in keys]
            rows.append((name, STAGES[stage], f"{row['cosine']:.3f}" if "cosine" in row else "", *shown))
    return markdown(("property", "directions", "cosine", "slope ratio", "correlation", "pass share", "leakage"), rows)
