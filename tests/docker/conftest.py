"""Fixtures of the tests that run containers, and the table of the hangs that they print."""

from __future__ import annotations

import gc
import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests import tiny_models
from tests.builder.projects import run_builder
from tests.bundles import make_bundle, make_writable, tiny_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker
    from tests.docker.hang_images import HangImages
    from tests.docker.hang_lab import Lab
    from tests.docker.hangs import Controls, Hang, Ledger
    from thoth_models.embedding import FloatArray

# testcontainers would start a container of its own that cleans up, from an image that has to be pulled. The fixtures
# remove what they make.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

BUNDLE_VARIABLE = "THOTH_TEST_BUNDLE"
"""Where a bundle with `mini` lies, as onnx-fp32 and torch-fp32; if it is not set, one is built."""

STORE_VARIABLE = "THOTH_TEST_STORE"
"""The builder's store to build it with; if it is not set, a new one."""

_ROOT = Path(__file__).parents[2]
_BUILD_SECONDS = 1200.0
_LEDGER = pytest.StashKey["Ledger"]()
_ENGINE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "hang(row, control): a row of the table of hangs, and who hangs there")


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if ledger := config.stash.get(_LEDGER, None):
        terminalreporter.section("hangs: the unprotected libraries, and ours in the same place")
        for line in ledger.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    import docker

    client = docker.from_env(timeout=_BUILD_SECONDS)
    yield client
    client.close()


@pytest.fixture(scope="session")
def mini_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real model, from the committed list and lock."""
    if given := os.environ.get(BUNDLE_VARIABLE):
        yield Path(given)
        return
    place = tmp_path_factory.mktemp("mini")
    store = os.environ.get(STORE_VARIABLE) or str(place / "store")
    built = run_builder(
        "build",
        f"--file={_ROOT / 'models.yaml'}",
        f"--store={store}",
        f"--output={place / 'bundle'}",
        "--model=mini",
        "--strict",
        timeout=_BUILD_SECONDS,
    )
    assert built.returncode == 0, built.stderr
    yield place / "bundle"
    make_writable(place / "bundle")
    shutil.rmtree(place)


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


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    from tests.docker.hangs import Ledger

    return pytestconfig.stash.setdefault(_LEDGER, Ledger())


@pytest.fixture
def hang(request: pytest.FixtureRequest, lab: Lab, controls: Controls, ledger: Ledger, references: FloatArray) -> Hang:
    from tests.docker.hangs import Hang

    marker = request.node.get_closest_marker("hang")
    name = request.node.name.removeprefix("test_").replace("_", " ")
    return Hang(marker.kwargs["row"], name, marker.kwargs["control"], lab, controls, ledger, references)
