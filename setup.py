"""Puts ``conf/`` and the Hydra programs, which lie at the top of the repository, into the wheel.

There they are ``ohlora_gan/project``, where ``ohlora train``, ``find-vectors`` and ``chain`` find them. All else about
the package stands in ``pyproject.toml``.
"""

from pathlib import Path
from shutil import copy2, copytree, ignore_patterns, rmtree

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PROGRAMS = ("train.py", "find_vectors.py")
PROJECT = Path("ohlora_gan") / "project"


class BuildWithProject(build_py):
    """Copies the folder of configs and the programs; an installation with ``-e`` finds them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / PROJECT
        rmtree(target, ignore_errors=True)  # what an earlier build left
        copytree(ROOT / "conf", target / "conf", ignore=ignore_patterns("__pycache__"))
        for name in PROGRAMS:
            copy2(ROOT / name, target / name)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        made = [] if self.editable_mode else (Path(self.build_lib) / PROJECT).rglob("*")
        return [*super().get_outputs(include_bytecode), *(str(path) for path in made if path.is_file())]


setup(cmdclass={"build_py": BuildWithProject})
