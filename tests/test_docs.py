"""Every command of the README and of the docs runs as it stands there, see `documented`."""

import os
import subprocess
import sys

import pytest
from conftest import PROJECT

from tests.documented import all_commands, commands, small

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md"))]


@pytest.mark.slow
def test_every_command_of_the_pages_runs(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src"), "HYDRA_FULL_ERROR": "0"}
    words = [sys.executable, str(PROJECT / "tests" / "documented.py"), *PAGES]
    result = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, f"{result.stderr[-3000:]}\n{result.stdout[-3000:]}"


def test_commands_are_found_in_blocks_tables_and_prose():
    block = "```bash\nmake demo  # words\nohlora edit RUN \\\n  --set eyes=1\n```"
    page = f"`ohlora runs` or `python train.py`\n{block}\n| `ohlora a-b C` |"
    assert list(commands(page)) == ["ohlora runs", "make demo", "ohlora edit RUN --set eyes=1", "ohlora a-b C"]
    assert len(all_commands(PAGES)) > 60


def test_no_page_has_a_benchmark_as_a_command_that_would_run_whole():
    benchmarks = [command for command in all_commands(PAGES) if command.startswith("python bench/")]
    assert benchmarks
    assert all(small(command.split()) != command.split() or "--help" in command for command in benchmarks)


def test_a_command_is_made_small_and_stays_itself():
    assert small(["ohlora", "render", "4000", "--size", "64"]) == ["ohlora", "render", "32", "--size", "64"]
    sweep = small(["python", "find_vectors.py", "-m", "method=svm,ridge", "layer=w,z,wplus", "n=1000,4000"])
    assert sweep[:5] == ["python", "find_vectors.py", "-m", "method=svm", "layer=w,z"]
    assert [word for word in sweep if word.startswith("n=")] == ["n=400"]
