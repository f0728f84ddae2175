"""What users install: the exact contents of the wheels, and that the tests beside this one run against them."""

from __future__ import annotations

import email
import importlib
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import thoth_models
import thoth_models_builder

if TYPE_CHECKING:
    from email.message import Message

WHEELS = Path(os.environ["THOTH_TEST_WHEELS"])
SOURCES = Path(os.environ["THOTH_TEST_SOURCES"])
"""The tree that the wheels were built from: only to compare names with, nothing is imported from it."""
PACKAGES = {
    "thoth_models": ("runtime", "thoth-models = thoth_models.cli.main:main"),
    "thoth_models_builder": ("builder", "thoth-bundle = thoth_models_builder.cli.main:main"),
}
DATA = {
    "thoth_models": ("py.typed", "backends/no_weights/model.onnx.data"),
    "thoth_models_builder": ("py.typed", "reports/page/page.css", "reports/page/page.html.j2"),
}
"""What a package holds besides its modules."""


def wheel_of(package: str) -> Path:
    (wheel,) = WHEELS.glob(f"{package}-*.whl")
    return wheel


def metadata_of(package: str) -> Message:
    with zipfile.ZipFile(wheel_of(package)) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(wheel.read(name))


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_the_package_and_nothing_else(package: str) -> None:
    distribution, script = PACKAGES[package]
    sources = SOURCES / distribution
    with zipfile.ZipFile(wheel_of(package)) as wheel:
        names = set(wheel.namelist())
        (information,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        scripts = wheel.read(f"{information}/entry_points.txt").decode()
    expected = {path.relative_to(sources).as_posix() for path in (sources / package).rglob("*.py")}
    assert {f"{package}/__init__.py", f"{package}/cli/main.py"} < expected
    expected |= {f"{package}/{name}" for name in DATA[package]}
    expected |= {
        f"{information}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    assert names == expected
    assert script in scripts.splitlines()


def test_the_core_of_the_runtime_needs_numpy_only() -> None:
    required = metadata_of("thoth_models").get_all("Requires-Dist") or []
    assert [line for line in required if "extra ==" not in line] == ["numpy>=1.26"]


@pytest.mark.parametrize("package", PACKAGES)
def test_version_and_python_are_stated(package: str) -> None:
    metadata = metadata_of(package)
    assert metadata["Version"] == importlib.import_module(package).__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"


def test_what_is_tested_here_is_what_was_installed() -> None:
    here = Path(__file__).parent.parent.parent
    for package in (thoth_models, thoth_models_builder):
        assert "site-packages" in Path(str(package.__file__)).parts
    assert not (here / "runtime").exists()
    assert not (here / "builder").exists()
