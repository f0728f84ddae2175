"""Fixtures of the tests that run containers, and the table of the hangs that they print."""

from __future__ import annotations

import gc
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.docker.ledger import FIGURE, HANG, Ledger
from tests.support import tiny_models
from tests.support.bundles import make_bundle, make_writable, tiny_plan
from tests.support.real_model import mini_bundle_at
from tests.support.turns import alone, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker
    from tests.docker.hang_images import HangImages
    from tests.docker.hang_lab import Lab
    from tests.docker.hangs import Controls, Hang
    from thoth_models.types import FloatArray

# testcontainers would start a container of its own that cleans up, from an image that has to be pulled. The fixtures
# remove what they make.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

_BUILD_SECONDS = 1200.0
_ENGINE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "hang(row, control): a row of the table of hangs, and who hangs there")
    config.addinivalue_line("markers", "alone: measures, so nothing else of the run is at work meanwhile")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last what measures: it waits until no control is left, and others run meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep in one process what shares images and a network (``--dist=loadgroup``)."""
    if config.getvalue("dist") != "loadgroup":
        return None
    # Not by xdist_group, which pytest-xdist 3.8 writes into an attribute that pytest 9 does not read.
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):  # type: ignore[misc]  # it publishes no types
        def _split_scope(self, nodeid: str) -> str:
            if not nodeid.startswith("tests/docker/"):
                return "engine"
            if nodeid.startswith("tests/docker/test_hangs_"):
                return "hangs"
            return "images" if nodeid.startswith("tests/docker/test_images.py") else "services"

    return Groups(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") is None:
        return
    if _ENGINE not in item.config.stash:
        item.config.stash[_ENGINE] = _missing_engine()
    if reason := item.config.stash[_ENGINE]:
        # A run of CI that has tested nothing must not be green.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def _missing_engine() -> str:
    """Return why no Docker engine can be used, or nothing where one answers."""
    import docker.errors

    import docker

    found = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the client forgets the socket that it could not connect
        try:
            docker.from_env(timeout=10).close()
        except docker.errors.DockerException as error:
            found = f"no Docker engine answers: {error}"
        gc.collect()
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have written down, in whichever process they ran."""
    ledger, figures = Ledger(), []
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        for name, value in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "teardown" else ():
            if name == HANG:
                ledger.add(*value)
            elif name == FIGURE:
                figures.append(value)
    if ledger.rows:
        terminalreporter.section("hangs: the unprotected libraries, and ours in the same place")
    for line in ledger.lines() if ledger.rows else []:
        terminalreporter.write_line(line)
    if figures:
        terminalreporter.section("figures of images and services")
    for line in figures:
        terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """What measures is alone with it; everything else goes side by side."""
    with alone() if request.node.get_closest_marker("alone") is not None else together():
        yield


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Write down a figure, which is shown in the end, also where the test passes."""
    return lambda figure: request.node.user_properties.append((FIGURE, figure))


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    import docker

    client = docker.from_env(timeout=_BUILD_SECONDS)
    yield client
    client.close()


@pytest.fixture(scope="session")
def mini_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real model, from the committed list and lock."""
    with mini_bundle_at(tmp_path_factory.mktemp("mini")) as bundle:
        yield bundle


@pytest.fixture(scope="session")
def half_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tiny model whose checkpoint is stored as bfloat16."""
    place = tmp_path_factory.mktemp("half")
    model = tiny_models.make_half_model(place / "model")
    make_bundle(place / "bundle", [tiny_plan("half", model)], default="half")
    yield place / "bundle"
    make_writable(place / "bundle")


@pytest.fixture(scope="session")
def references(mini_bundle: Path) -> FloatArray:
    """The vectors of the texts, by plain sentence-transformers outside of all containers."""
    return plain_vectors(mini_bundle / "mini/source")


@pytest.fixture(scope="session")
def half_references(half_bundle: Path) -> FloatArray:
    """The same of the model in half precision, computed in single precision."""
    return plain_vectors(half_bundle / "half/source")


def plain_vectors(source: Path) -> FloatArray:
    import torch
    from sentence_transformers import SentenceTransformer

    from tests.docker.hang_lab import TEXTS

    options = {"dtype": torch.float32}
    model = SentenceTransformer(str(source), device="cpu", local_files_only=True, model_kwargs=options)
    return np.asarray(model.encode(list(TEXTS), normalize_embeddings=True), dtype=np.float32)


@pytest.fixture(scope="session")
def hang_images(engine: docker.DockerClient, mini_bundle: Path, half_bundle: Path) -> Iterator[HangImages]:
    from tests.docker.hang_images import HangImages

    images = HangImages(engine, mini_bundle, half_bundle)
    yield images
    images.close()


@pytest.fixture(scope="session")
def lab(hang_images: HangImages) -> Iterator[Lab]:
    from tests.docker.hang_lab import Lab

    with Lab(hang_images).open() as lab:
        yield lab


@pytest.fixture(scope="session")
def controls(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Controls]:
    """The controls of all tests that were selected; they are started at once and stand still beside each other."""
    from tests.docker.hangs import Controls

    with Controls(lab) as controls:
        for item in request.session.items:
            for marker in item.iter_markers("hang"):
                controls.start(marker.kwargs["control"])
        yield controls


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> Ledger:
    return Ledger(lambda row: request.node.user_properties.append((HANG, row)))


@pytest.fixture
def hang(request: pytest.FixtureRequest, lab: Lab, controls: Controls, ledger: Ledger, references: FloatArray) -> Hang:
    from tests.docker.hangs import Hang

    marker = request.node.get_closest_marker("hang")
    name = request.node.name.removeprefix("test_").replace("_", " ")
    return Hang(marker.kwargs["row"], name, marker.kwargs["control"], lab, controls, ledger, references)
