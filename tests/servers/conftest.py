"""Fixtures of the tests with real servers, and the table of figures that they print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.documented import MODEL
from tests.servers.driving import Ledger, Trial
from tests.servers.serving import Surroundings
from tests.support.bundles import FakeBackend, invented_model, make_bundle, make_writable, put_backend
from tests.support.hub_simulator import HubSimulator
from tests.support.real_model import mini_bundle_at
from thoth_models import EmbeddingManager
from thoth_models.bundle.golden import Golden

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LEDGER = pytest.StashKey[Ledger]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if ledger := config.stash.get(_LEDGER, None):
        terminalreporter.section("servers")
        for line in ledger.lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def mini_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real model, from the committed list and lock."""
    with mini_bundle_at(tmp_path_factory.mktemp("mini")) as bundle:
        yield bundle


@pytest.fixture(scope="session")
def golden(mini_bundle: Path) -> Golden:
    """Texts, and the vectors that plain sentence-transformers gave for them when the bundle was built."""
    return Golden.from_bytes((mini_bundle / MODEL / "golden.json").read_bytes(), dimension=384)


@pytest.fixture
def invented_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The bundle of the manager of this process, with a model called mini that loads in no time."""
    bundle = tmp_path / "bundle"
    put_backend(monkeypatch, lambda verified: FakeBackend(verified.model.dimension))
    make_bundle(bundle, [invented_model(MODEL)], default=MODEL)
    monkeypatch.setenv("THOTH_MODELS_DIR", str(bundle))
    EmbeddingManager.get_instance().close()  # the one of another test
    yield bundle
    EmbeddingManager.get_instance().close()
    make_writable(bundle)


@pytest.fixture
def trial(pytestconfig: pytest.Config, mini_bundle: Path, golden: Golden, tmp_path: Path) -> Iterator[Trial]:
    """What a test of a server has; in the end nobody must have asked the hub."""
    ledger = pytestconfig.stash.setdefault(_LEDGER, Ledger())
    with HubSimulator() as hub:
        yield Trial(Surroundings(tmp_path, mini_bundle, hub.endpoint), golden, ledger)
        assert hub.accepted == 0
