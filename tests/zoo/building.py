"""Build every shape of the zoo as one bundle, with one compiler process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.projects import Project
from tests.zoo import shapes
from tests.zoo.table import first_of
from thoth_models_builder.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tests.support.hub_simulator import HubSimulator

FLOOR = {"minimum_cosine": 0.9, "neighbour_agreement": 0.05}
"""Below the default: rounding to 8 bits costs 32 random numbers more than 384 trained ones, and random weights put the
texts so close together that rounding decides which is nearest."""


def files_below(directory: Path) -> dict[str, bytes | Path]:
    """Return the files of a repository, by path."""
    return {str(path.relative_to(directory)): path for path in sorted(directory.rglob("*")) if path.is_file()}


@dataclass
class Zoo:
    """What became of the shapes.

    Attributes:
        published: Directory of each shape, as its publisher would have written it.
        keys: What the table says of each shape for models.yaml.
        bundles: Bundle that has each shape which was built.
        failures: The error of each of the others.
    """

    published: dict[str, Path] = field(default_factory=dict)
    keys: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    bundles: dict[str, Path] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)

    def bundle(self, shape: str) -> Path:
        """Return the bundle with a shape, or raise the error for which there is none."""
        if shape in self.failures:
            raise self.failures[shape]
        return self.bundles[shape]


BY_NAME = frozenset({"instructor"})
"""Shapes of models of which the library knows something by their name on the Hub."""


def build_zoo(root: Path, hub: HubSimulator, names: Iterable[str]) -> Zoo:
    """Lock and build shapes. One that fails does not keep the others from being built."""
    zoo = Zoo()
    project = Project(root / "all")
    entries: dict[str, dict[str, Any]] = {}
    for name in names:
        directory = zoo.published[name] = shapes.make(name, root / "published" / name)
        model = first_of(name)
        zoo.keys[name] = model.models_yaml
        source = {"directory": str(directory)}
        if name in BY_NAME:
            hub.add_model(model.id, files_below(directory))
            source = {"hub": model.id}
        entry = {
            "sources": [source],
            "golden": True,
            "variants": list(model.variants),
            "int8_floor": FLOOR,
            **shapes.specified(name, directory, model.models_yaml),
        }
        alone = Project(root / "locked" / name)
        alone.specify({name: entry})
        try:
            alone.lock()
        except BuildError as error:
            zoo.failures[name] = error
        else:
            entries[name] = entry
    project.specify(entries)
    project.lock()
    try:
        project.build()
    except BuildError:
        # Which ones, one after the other; what was compiled is in the store.
        for name in entries:
            output = root / "built" / name
            try:
                project.build(models=[name], output=output)
            except BuildError as error:
                zoo.failures[name] = error
            else:
                zoo.bundles[name] = output
    else:
        zoo.bundles = dict.fromkeys(entries, project.output)
    return zoo
