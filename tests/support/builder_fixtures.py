"""Fixtures of tests that build: a hub on this computer, a project, and the command line in this process."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_writable
from tests.support.hub_simulator import HubSimulator
from tests.support.projects import Project, model_files, write_files
from tests.support.trees import Objects
from thoth_models_builder.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_AMBIENT = (
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
    *("THOTH_STORE", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
)
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""The variables that name the certificates which are trusted."""


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No token, mirror, proxy, certificate or store of the person who runs the tests, and no log handler of before."""
    for name in _AMBIENT:
        monkeypatch.delenv(name, raising=False)
    for name in CERTIFICATES:
        # Set first, so that what the builder adopts in one test is gone in the next.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    logger = logging.getLogger("thoth_models_builder")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubSimulator]:
    with HubSimulator() as simulator:
        monkeypatch.setenv("HF_ENDPOINT", simulator.endpoint)
        yield simulator


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point to a hub where nothing listens: port 9 is that of the discard protocol."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    root = tmp_path / "project"
    root.mkdir()
    yield Project(root)
    make_writable(root)


@pytest.fixture
def local(project: Project) -> Project:
    """A project with one model in a directory, locked."""
    write_files(project.root / "model", model_files("mini"))
    project.specify({"mini": {"sources": [{"directory": "model"}]}})
    project.lock()
    return project


@pytest.fixture
def find_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that pip takes wheels from, and from nowhere else."""
    directory = tmp_path / "wheels"
    directory.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory for bundles."""
    directory = tmp_path / "place"
    directory.mkdir()
    yield directory
    make_writable(directory)


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    """Verified files, as a store has them."""
    return Objects(tmp_path / "objects")


@dataclass(frozen=True)
class Outcome:
    """What came of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command line in this process."""

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = main(list(arguments))
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
