"""The shape of the tree: small packages, short modules, public paths that stay, a test file for each module.

The lists of exceptions may only shrink: an entry that is no exception any more fails the test as well.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import tomllib
from pathlib import Path

import pytest

import thoth_models
import thoth_models_builder
from tests.support.public import PUBLIC

TESTS = Path(__file__).parent
PLACES = {package.__name__: Path(package.__file__ or "").parent for package in (thoth_models, thoth_models_builder)}
MAX_MODULES = 12
"""Modules beside each other in one package, without its ``__init__``."""
MAX_LINES = 400

WITHOUT_DISTRIBUTION = {"thoth_models.adapters.thoth_qdrant": "thoth_qdrant"}
"""Modules for frameworks that no test environment has; that they name what they should is read from their source."""

WITHOUT_TEST_FILE = {
    "thoth_models.adapters.qdrant_points",
    "thoth_models.adapters.serving",
    "thoth_models.adapters.spaces",
    "thoth_models.compat.named_model",
    "thoth_models.info",
    "thoth_models.types",
    "thoth_models_builder.compile.errors",
}
"""Modules that no test file is named after. Only what is mended is taken out here."""

IMPORTING_TESTS: set[str] = set()
"""Test files that import from a conftest or from another test file. Only what is mended is taken out here."""


def packages() -> dict[str, list[str]]:
    """Return the modules of each package of the product, but for ``__init__`` and ``__main__``."""
    found: dict[str, list[str]] = {}
    for name, place in PLACES.items():
        for path in sorted(place.rglob("*.py")):
            package = ".".join((name, *path.parent.relative_to(place).parts))
            found.setdefault(package, [])
            if path.stem not in ("__init__", "__main__"):
                found[package].append(path.stem)
    return found


def test_no_package_has_more_modules_beside_each_other_than_one_can_overlook() -> None:
    found = packages()
    assert len(found) > 20
    assert {package: len(modules) for package, modules in found.items() if len(modules) > MAX_MODULES} == {}


@pytest.mark.parametrize("package", PLACES)
def test_no_module_is_longer_than_one_can_hold_in_the_head(package: str) -> None:
    lengths = {
        str(path.relative_to(PLACES[package])): len(path.read_text(encoding="utf-8").splitlines())
        for path in PLACES[package].rglob("*.py")
    }
    assert len(lengths) > 10
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def defined_names(module: str) -> set[str]:
    """Return what the source of a module defines or imports at its top."""
    place = PLACES["thoth_models"].joinpath(*module.split(".")[1:]).with_suffix(".py")
    found: set[str] = set()
    for node in ast.parse(place.read_bytes()).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
    return found


@pytest.mark.parametrize("module", PUBLIC)
def test_a_public_path_stays(module: str) -> None:
    if module in WITHOUT_DISTRIBUTION:
        assert set(PUBLIC[module]) <= defined_names(module)
        return
    found = importlib.import_module(module)
    assert [name for name in PUBLIC[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", ["thoth_models", "thoth_models.compat", "thoth_models.switching"])
def test_what_a_module_offers_is_listed_as_public(module: str) -> None:
    offered = set(importlib.import_module(module).__all__)
    assert set(PUBLIC[module]) - offered <= {"__version__"}
    if module != "thoth_models.switching":  # which offers a type for annotations besides
        assert offered - set(PUBLIC[module]) == set()


def test_every_error_is_listed_as_public() -> None:
    errors = importlib.import_module("thoth_models.errors")
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and not name.startswith("_")}
    own = {name for name in defined if getattr(errors, name).__module__ == "thoth_models.errors"}
    assert own == set(PUBLIC["thoth_models.errors"])


@pytest.mark.parametrize(("distribution", "script"), [("runtime", "thoth-models"), ("builder", "thoth-bundle")])
def test_both_commands_are_there(distribution: str, script: str) -> None:
    """The wheels' own tests compare with the same lines (tests/wheels)."""
    root = Path(os.environ.get("THOTH_TEST_SOURCES", TESTS.parent))
    project = tomllib.loads((root / distribution / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert list(project["scripts"]) == [script]
    module, _, function = project["scripts"][script].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("name", ["thoth_models.events", "thoth_models.switching"])
def test_the_name_of_a_logger_stays(name: str) -> None:
    """Operators configure loggers by name: events have one name, switching has another."""
    used = set()
    for place in PLACES.values():
        for path in place.rglob("*.py"):
            module = ".".join((place.name, *path.relative_to(place).with_suffix("").parts))
            arguments = re.findall(r"getLogger\(([^)]*)\)", path.read_text(encoding="utf-8"))
            used |= {module if argument == "__name__" else argument.strip("\"'") for argument in arguments}
    assert name in used


# --- the tests themselves ---


def modules_without_test_file() -> set[str]:
    """Return the modules of the product after which no test file is named, in the same place below ``tests``."""
    missing = set()
    for package, modules in packages().items():
        distribution, *rooms = package.split(".")
        mirror = TESTS.joinpath({"thoth_models": "runtime"}.get(distribution, "builder"), *rooms)
        if rooms[:1] == ["adapters"]:
            mirror = TESTS / "adapters"
        for module in modules:
            files = [*mirror.glob(f"test_{module}.py"), *mirror.glob(f"test_{module}_*.py")]
            # What needs a framework is tested beside the adapters: tests/runtime runs where only numpy is installed.
            if not files and not (TESTS / "adapters" / f"test_{'_'.join((*rooms, module))}.py").exists():
                missing.add(f"{package}.{module}")
    return missing


def test_each_module_has_a_test_file_of_its_name() -> None:
    missing = modules_without_test_file()
    assert missing - WITHOUT_TEST_FILE == set(), "expected tests/…/test_MODULE.py"
    assert WITHOUT_TEST_FILE - missing == set(), "these have one, or are gone: take them out of WITHOUT_TEST_FILE"


def imported_tests(path: Path) -> set[str]:
    """Return which conftest modules and test files a file imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            first, *parts = name.split(".")
            if first == "tests" and any(part == "conftest" or part.startswith("test_") for part in parts):
                found.add(name)
    return found


def test_tests_import_from_support_and_not_from_each_other() -> None:
    importing = {
        path.relative_to(TESTS).as_posix()
        for path in TESTS.rglob("*.py")
        if "replica_before" not in path.parts and imported_tests(path)
    }
    assert importing - IMPORTING_TESTS == set(), "expected helpers in tests/support"
    assert IMPORTING_TESTS - importing == set(), "these do not any more: take them out of IMPORTING_TESTS"


def test_an_import_from_a_test_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "test_x.py"
    file.write_text("from tests.runtime import conftest\nimport tests.builder.test_y\n", encoding="utf-8")
    assert imported_tests(file) == {"tests.runtime.conftest", "tests.builder.test_y"}
    file.write_text("from tests.support.bundles import make_bundle\n", encoding="utf-8")
    assert imported_tests(file) == set()
