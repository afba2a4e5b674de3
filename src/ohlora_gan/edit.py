"""``python -m ohlora_gan.edit``: changes faces along found directions, or by a closed loop, and shows how it went."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from torch import nn

from ohlora_gan.calibration import calibrate
from ohlora_gan.checkpoint import weights_hash
from ohlora_gan.closed_loop import ClosedLoop
from ohlora_gan.command import answer
from ohlora_gan.devices import keep_freed_memory
from ohlora_gan.directions.base import ALL
from ohlora_gan.directions.storage import DirectionSet, load_directions
from ohlora_gan.edit_files import write_all
from ohlora_gan.edit_session import Limits, Mover, OpenLoop, Session, TowardsTargets, open_faces
from ohlora_gan.edit_settings import HELP, EditSettings, check_properties, parse
from ohlora_gan.evaluation.image_change import Region
from ohlora_gan.finders import open_directions
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer, layer_named
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.metric_store import stored_metric
from ohlora_gan.pretrained import open_discriminator
from ohlora_gan.run_settings import SpaceSettings, settings_of, vectors_file
from ohlora_gan.safe_range import SafeRange

NUM_CALIBRATION = 64
SHIPPED: dict[str, Any] = {"checkpoint": "v9", "scorer": "property_cnn"}
MEASURED = {"image": {"num_latents": 120, "num_probes": 48}, "cloud": {"num_latents": 60, "num_probes": 24}}
SHRINKAGE = 0.01
OWN = 5.0
"""How metrics are measured, as ``conf/method/closed_loop.yaml`` and ``conf/metric`` say it too."""


def check_directions(settings: EditSettings, found: DirectionSet) -> None:
    """Raises ValueError where there is no direction for what is to be changed, or nothing says for which faces."""
    missing = [name for name in settings.changes if name not in found.properties]
    if missing:
        raise ValueError(
            f"vectors={settings.vectors} has no direction for {', '.join(missing)}, it has "
            f"{', '.join(found.properties)}: find one with find_vectors.py properties=[{','.join(missing)}], or use "
            f"mode=closed_loop"
        )
    if found.group_names != [ALL] and not found.medians:
        raise ValueError(
            f"vectors={settings.vectors} has groups of faces but not the medians that tell them apart: give them to "
            f"import_vectors with --medians"
        )


def strangers(found: DirectionSet, space: FaceSpace) -> list[str]:
    """Which of generator and scorer are others than those that the directions were found with, if that is known."""
    networks = {"generator": space.generator, "scorer": space.scorer}
    return [n for n, net in networks.items() if found.provenance.get(n) not in (None, weights_hash(net))]


def metric_settings(settings: EditSettings) -> dict[str, Any]:
    """What ``metric_store.stored_metric`` needs."""
    how = {"name": settings.metric, **MEASURED.get(settings.metric, {}), "shrinkage": SHRINKAGE}
    image = settings.metric == "image"
    return how | ({"cloud": settings.cloud, "region": settings.region} if image else {"cloud": 0.0, "region": "all"})


def open_closed_loop(
    settings: EditSettings, space: FaceSpace, layer: Layer, region: Region, discriminator: nn.Module | None
) -> ClosedLoop:
    """The closed loop with its metric, which is measured where nobody has done so."""
    bank = ScoreBank(settings.bank_dir, space)
    metric = stored_metric(bank, layer, metric_settings(settings), region)
    own = OWN if settings.metric == "image" else 0.0
    weights = region.weights(settings.region)
    return ClosedLoop(space, layer, metric, own=own, weights=weights, discriminator=discriminator)


def open_session(
    settings: EditSettings,
    space: FaceSpace,
    layer: Layer,
    found: DirectionSet | None,
    region: Region,
    discriminator: nn.Module | None,
) -> Session:
    """Faces, the way they move, and the range they are held in.

    Raises:
        ValueError: where ``beyond=refuse`` and a target lies outside the range.
    """
    closed = settings.mode == "closed_loop"
    medians = {} if found is None or closed else found.medians
    faces = open_faces(space, layer, settings.seeds, settings.latents, medians)
    loop = open_closed_loop(settings, space, layer, region, discriminator) if closed else None
    safe = loop.safe_range if loop else SafeRange.sampled(space, layer, discriminator)
    limits = Limits(safe, space.property_names, settings.targets)
    words = limits.beyond(faces, settings.changes)
    if words and settings.beyond == "refuse":
        raise ValueError(f"{words[0]}: give a smaller strength, or beyond=clip")
    mover: Mover
    if loop:
        mover = TowardsTargets(loop, faces, settings.keep)
    else:
        assert found is not None
        if found.slopes is None or strangers(found, space):
            found = calibrate(space, layer, found, num_latents=NUM_CALIBRATION)
        mover = OpenLoop(found, faces)
    return Session(space, layer, faces, mover, limits, discriminator)


def edit(settings: EditSettings) -> str:
    """Edits faces and writes pictures, an animation and ``edit.json``; says in a table how near the scores came.

    Raises:
        ValueError: for anything in the settings that cannot be used, in one sentence.
    """
    closed, file = settings.mode == "closed_loop", settings.vectors and vectors_file(settings.vectors)
    found, recorded = (load_directions(file), settings_of(file)) if file else (None, {})
    asked = {name: getattr(settings, name) for name in ("checkpoint", "scorer", "seed", "truncation_psi")}
    chosen = SpaceSettings.of(SHIPPED | recorded, **asked)
    space = chosen.open(settings.device)
    check_properties(settings, space.property_names)
    if found is not None and not closed:
        check_directions(settings, found)
    layer = layer_named(settings.layer if found is None else found.layer)
    layer.check(space.generator)
    notes: list[str] = []
    if file and not closed:
        found = open_directions(file, space, layer)
        text = "the vectors were found with another {}: strengths are measured anew"
        notes += [text.format(which) for which in strangers(found, space)]
    discriminator = open_discriminator(chosen.checkpoint)
    if discriminator is not None:
        discriminator = space.device.place(discriminator)
    session = open_session(settings, space, layer, found, face_region(recorded), discriminator)
    notes += [f"{text}: held there" for text in session.limits.beyond(session.faces, settings.changes)]
    output = settings.output or Path("runs/edit") / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return write_all(session, settings, output, asdict(chosen), notes)


def face_region(recorded: Mapping[str, Any]) -> Region:
    """Where the face is in the pictures of a run's generator."""
    where = (recorded.get("test") or {}).get("region")
    return Region(**where) if where else Region()


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in ("-h", "--help"):
        print(HELP)
        return 0
    keep_freed_memory()
    return answer(lambda: edit(parse(given)))


if __name__ == "__main__":
    sys.exit(main())
