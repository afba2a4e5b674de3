"""The transfer table of docs/own_generator.md: directions of each shipped checkpoint on those trained from it.

    python bench/transfer_table.py [FOLDER]

searches on every checkpoint, takes the directions to the others with ``ohlora transfer``, recalibrated by 200 samples
and by 24 Jacobians, and writes the table into the page. What FOLDER (runs/transfers) holds already is kept: empty it
after the shipped models have changed. Half an hour on two cores.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from ohlora_gan.files import write_text
from ohlora_gan.judging.figures import markdown

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs" / "own_generator.md"
LATER = "v9_later"
SEARCHES = {"pretrain": ("pretrain", 0), "v1": ("v1", 0), "v9": ("v9", 0), "v9_again": ("v9", 1), LATER: (LATER, 0)}
"""A search's name -> its checkpoint and seed; v9_again says how much two searches on one checkpoint differ."""
PAIRS = (("pretrain", "v1"), ("v1", "v9"), ("pretrain", "v9"), ("v9", LATER), ("v9_again", "v9"))
TRAINING = ("model=finetune_v9", "checkpoint=v9", "trainer.max_steps=200", "logger=csv")
"""What makes the later step of v9's training."""
SEARCH = ("method=svm", "layer=w", "groups=none", "n=2000", "test.num_latents=50", "test.num_saturation=0")
SEARCH += ("test.retest=false", "logger=csv")
BY = {"samples": ("--samples", "200"), "jacobians": ("--jacobians", "24")}
STAGES = ("as is", "200 samples", "24 Jacobians", "there")
HEADS = ("from, to", "property", "cosine", "slope ratio", "leakage: own", *STAGES, "pass: own", *STAGES)
MARKS = "<!-- transfers -->", "<!-- end of transfers -->"


def run(*words: str) -> None:
    """Starts a program of the project."""
    paths = os.pathsep.join([str(PROJECT / "src"), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, *words], check=True, env={**os.environ, "PYTHONPATH": paths})


def measure(folder: Path) -> None:
    """Makes the runs that are not there."""
    training = folder / "training"
    files = {LATER: training / "model.safetensors"}
    if not files[LATER].exists():
        run(str(PROJECT / "train.py"), *TRAINING, f"paths.output_dir={training}")
    for name, (checkpoint, seed) in SEARCHES.items():
        if not (folder / name / "metrics.json").exists():
            where = f"paths.output_dir={folder / name}", f"paths.bank_dir={folder / 'banks'}"
            what = f"checkpoint={files.get(checkpoint, checkpoint)}", f"seed={seed}"
            run(str(PROJECT / "find_vectors.py"), *what, *SEARCH, *where)
    for one, other in PAIRS:
        for how, words in BY.items():
            output = folder / f"{one}_{other}_{how}"
            if not (output / "transfer.json").exists():
                words = (*words, "--seed", "0", "--there", str(folder / other), "--output", str(output))
                run("-m", "ohlora_gan", "transfer", str(folder / one), "--to", str(files.get(other, other)), *words)


def rows(folder: Path) -> list[tuple[str, ...]]:
    """The table's rows: a pair and property each, and all properties together."""
    found = []
    for one, other in PAIRS:
        read = {how: json.loads((folder / f"{one}_{other}_{how}" / "transfer.json").read_text("utf-8")) for how in BY}
        by = {how: content["by"][content["judge"]] for how, content in read.items()}
        for name in (*(name for name in by["samples"] if name != "all"), "all"):
            stages = by["samples"][name]
            ordered = [stages[stage] for stage in ("run", "as_is", "recalibrated")]
            ordered += [by["jacobians"][name]["recalibrated"], stages["there"]]
            figures = [f"{stage['leakage'][0]:.2f}" if "leakage" in stage else "" for stage in ordered]
            figures += [shown(stage.get("pass_share")) for stage in ordered]
            cosine = f"{stages['as_is']['cosine']:.2f}" if name != "all" else ""
            found.append(
                (f"{one}, {other}".replace("_", " "), name, cosine, shown(stages["as_is"].get("slope_ratio")), *figures)
            )
    return found


def shown(figure: list[float] | None) -> str:
    """A figure with its interval."""
    return "" if figure is None else f"{figure[0]:.2f} [{figure[1]:.2f}, {figure[2]:.2f}]"


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/transfers").resolve()
    measure(folder)
    table = markdown(HEADS, rows(folder), right=True)
    between = re.compile(f"(?<={re.escape(MARKS[0])}\n).*(?={re.escape(MARKS[1])})", re.DOTALL)
    write_text(PAGE, between.sub(lambda _: f"\n{table}\n\n", PAGE.read_text(encoding="utf-8"), count=1))
    print(f"table: {PAGE}")


if __name__ == "__main__":
    main()
