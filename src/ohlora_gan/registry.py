"""The classes that files may name: ours, and those that installed packages offer. Nothing else is made of a file.

Another package offers its classes as entry points, ``NAME = "package.module:Class"``, in the group of their kind
(``ohlora_gan.networks``, ``ohlora_gan.layers``, ``ohlora_gan.finders``). Files call them ``package.module.Class``; ours
they call by the class alone, or with the module where it once was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ohlora_gan.checked import check_settings


@dataclass(frozen=True)
class Registry:
    """The classes of one kind."""

    kind: str  # network
    ours: Mapping[str, str]  # class -> its module in ohlora_gan, imported when one is asked for

    @property
    def group(self) -> str:
        """The group of entry points in which other packages offer theirs."""
        return f"ohlora_gan.{self.kind}s"

    def offered(self) -> dict[str, EntryPoint]:
        """What other packages offer, by the name that files give it."""
        return {f"{point.module}.{point.attr}": point for point in entry_points(group=self.group)}

    def find(self, name: str) -> type[Any]:
        """The class that a file names; raises ValueError for one that is neither ours nor an installed package's."""
        module, _, own = name.rpartition(".")
        if own in self.ours and module.partition(".")[0] in ("", "ohlora_gan"):
            return getattr(import_module(f"ohlora_gan.{self.ours[own]}"), own)
        offered = self.offered()
        if name in offered:
            return offered[name].load()
        raise ValueError(
            f"the {self.kind} {name!r} is not known, expected one of {', '.join((*self.ours, *offered))}: install the "
            f"package that offers it (entry point {self.group})"
        )

    def classes(self) -> Iterator[type[Any]]:
        """All of them, ours first."""
        return map(self.find, (*self.ours, *self.offered()))

    def name_of(self, made: object) -> str:
        """What a file calls an object's class."""
        cls = type(made)
        return cls.__qualname__ if cls.__module__.startswith("ohlora_gan.") else f"{cls.__module__}.{cls.__qualname__}"

    def describe(self, made: Any) -> dict[str, Any]:
        """An object that keeps its ``config`` as plain data, from which ``make`` makes another: class and config."""
        return {"class": self.name_of(made), "config": made.config}

    def make(self, description: Mapping[str, Any]) -> Any:
        """An object from its description, see ``describe``; ValueError for an unknown class, or unfit settings."""
        kind, config = self.find(str(description["class"])), description["config"]
        check_settings(kind, config)
        return kind(**config)


NETWORKS = Registry(
    "network",
    {
        **dict.fromkeys(("Generator", "Discriminator"), "models.gan"),
        **dict.fromkeys(("StyleGAN2Generator", "StyleGAN2Discriminator"), "models.stylegan2"),
        "StyleGAN3Generator": "models.stylegan3",
        **dict.fromkeys(("MergedPropertyCNN", "SmallPropertyCNN", "AttributeCNN", "PhotoCNN"), "models.scorers"),
        **dict.fromkeys(("TruthNet", "PhotoFilterCNN"), "models.scorers"),
        **dict.fromkeys(("SmallFilterCNN", "ReferenceFilterCNN", "TextureFilterCNN"), "models.filters"),
        **dict.fromkeys(("FilterEnsemble", "MeanScorer"), "models.filters"),
    },
)
LAYERS = Registry("layer", dict.fromkeys(("Z", "W", "MappingSplit1", "MappingSplit2", "WPlus"), "latents.layers"))
DERIVATIVES = ("GradientFinder", "MixedFinder", "MeanJacobianFinder", "LocalJacobianFinder")
FINDERS = Registry(
    "finder",
    dict.fromkeys(("SvmFinder", "RidgeFinder"), "directions.linear")
    | dict.fromkeys(DERIVATIVES, "directions.derivatives"),
)
