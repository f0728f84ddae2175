"""Fixtures of all tests. Importable without torch: what needs it is imported by the fixture that needs it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import thoth_models
from tests.support import tiny_models
from tests.support.bundles import invented_model, make_bundle, make_writable, tiny_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from tests.support.tiny_models import TinyModel

_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY")

# Before anything imports onnxruntime: what it starts then to call home cannot be stopped, and hangs children of fork.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Before anything imports haystack, which then tells its makers of each pipeline that is run.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")
_HUB_CONSTANTS = "huggingface_hub.constants"
_SWITCH_BEFORE = {name: os.environ.get(name) for name in _OFFLINE_VARIABLES}


_LONGEST_FIRST = (
    "test_zoo",
    "test_compiled_bundles",
    "test_real_bundle",
    "test_guides",
    "test_fork_libraries",
    "test_offline_late",
    "test_any_processor",
    "test_client_faults",
    "test_manager_under_stress",
    "test_compiler_process",
    "test_http",
    "test_export",
    "test_graphs",
    "test_exporters",
    "test_large_file",
    "test_layer_stream",
    "test_failing_calls",
    "test_kill_points",
    "test_cgroup_files",
    "test_frameworks",
    "test_chroma",
)
"""Files that take a minute or more: begun last, they would be waited for by all other processes of a divided run. And
files that mostly wait themselves, beside which others compute."""


def _set_trace(function: Any) -> None:
    """Do what ``sys.settrace`` does, and try again where CPython 3.11 refuses because another thread does the same."""
    for _ in range(10_000):
        try:
            sys.settrace(function)
        except RuntimeError:
            time.sleep(0.0001)
        else:
            return


class _PatientSys:
    """``sys`` as ``threading`` sees it, where a thread that cannot be traced at the moment tries again.

    Such a thread of a measured run would die before it begins, and a pool of threads, or a thread that waits for it,
    would wait for ever.
    """

    settrace = staticmethod(_set_trace)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


if sys.version_info < (3, 12):
    threading._sys = _PatientSys()  # type: ignore[attr-defined]


_UNMEASURED = tuple(
    f"tests/{name}/" for name in ("bench", "migration", "property", "scenarios", "service", "wheels", "workflows")
)
"""Beginnings of node ids, seen from the root: directories whose tests are of the whole, many of them in processes of
their own. Coverage is that of the others: measuring it makes Python code two times as slow. Tests that pass the same
lines a million times, or those of a library, are marked ``unmeasured`` one by one."""

_file: Path | None = None
"""The file whose tests run."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    # Little of what is imported and collected is garbage, and looking for it takes up to a quarter of the time.
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
    for item in items:
        if item.nodeid.startswith(_UNMEASURED):
            item.add_marker("unmeasured")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    global _file  # noqa: PLW0603 - one for the process
    if item.path != _file:
        # A fifth of the time was spent on going through what libraries and the collected tests keep, again and again.
        gc.collect()
        gc.freeze()
        _file = item.path
    if item.get_closest_marker("unmeasured") is None or not item.config.pluginmanager.hasplugin("_cov"):
        return (yield)
    # Not by `no_cover` of pytest-cov: in a process of pytest-xdist another measurement goes on below the one it stops.
    tracer, of_threads = sys.gettrace(), threading.gettrace()
    threading.settrace(None)
    _set_trace(None)
    try:
        return (yield)
    finally:
        threading.settrace(of_threads)
        _set_trace(tracer)


def pytest_sessionfinish() -> None:
    # pytest looks for what was never closed once more.
    gc.unfreeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    # The only reasons for which tests are skipped; anything else that is missing is an error.
    for marker, libraries in {"torch": ("torch",), "onnx": ("onnx", "onnxruntime", "tokenizers")}.items():
        if item.get_closest_marker(marker) is not None:
            for library in libraries:
                if find_spec(library) is None:
                    pytest.skip(f"{library} is not installed")


@pytest.fixture(autouse=True)
def _offline_switch_as_before() -> Iterator[None]:
    """Loading sets the offline switch for the whole process, for good; the tests of a hub client need it unset."""
    yield
    # As it was when the tests began, not when this one did: what a fixture of a module loaded came before.
    for name, value in _SWITCH_BEFORE.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if (constants := sys.modules.get(_HUB_CONSTANTS)) is not None:
        constants.HF_HUB_OFFLINE = _SWITCH_BEFORE["HF_HUB_OFFLINE"] not in (None, "", "0")  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def wordpiece_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return tiny_models.make_wordpiece_model(tmp_path_factory.mktemp("tiny") / "wordpiece")


@pytest.fixture(scope="session")
def unigram_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return tiny_models.make_unigram_model(tmp_path_factory.mktemp("tiny") / "unigram")


@pytest.fixture(scope="session")
def prompted_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return tiny_models.make_prompted_model(tmp_path_factory.mktemp("tiny") / "prompted")


@pytest.fixture(scope="session")
def half_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return tiny_models.make_half_model(tmp_path_factory.mktemp("tiny") / "half")


@pytest.fixture(scope="session")
def tiny_models_by_name(
    wordpiece_model: TinyModel, unigram_model: TinyModel, prompted_model: TinyModel, half_model: TinyModel
) -> dict[str, TinyModel]:
    return {"mini": wordpiece_model, "multilingual": unigram_model, "prompted": prompted_model, "half": half_model}


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory, tiny_models_by_name: dict[str, TinyModel]) -> Iterator[Path]:
    """A sealed bundle of all tiny models; tests that damage it copy it first."""
    root = tmp_path_factory.mktemp("tiny") / "bundle"
    plans = [
        tiny_plan(name, model, aliases=(f"{name}-alias",), normalize=name != "prompted")
        for name, model in tiny_models_by_name.items()
    ]
    make_bundle(root, plans, default="mini")
    yield root
    make_writable(root)


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Path]:
    """A small sealed bundle of invented bytes: two variants, an alternate that is accepted, one that is absent."""
    root = tmp_path / "bundle"
    models = [
        invented_model(
            "mini", variants=("torch-fp32", "onnx-fp32"), aliases=("legacy",), alternates=(("other", "accept"),)
        ),
        invented_model("other"),
    ]
    make_bundle(root, models, default="mini")
    yield root
    make_writable(root)


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run another interpreter that imports the same runtime, wherever it was imported from here."""

    def run(
        *arguments: str, environment: dict[str, str] | None = None, directory: Path = tmp_path
    ) -> subprocess.CompletedProcess[str]:
        # Absolute, because the other process has a working directory of its own.
        runtime = Path(thoth_models.__file__).parent.parent
        inherited_places = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        path = os.pathsep.join(str(Path(place).resolve()) for place in (str(runtime), *inherited_places))
        # Coverage's variables go, or the process would measure without its configuration.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
        return subprocess.run(
            [sys.executable, *arguments],
            env={**inherited, "PYTHONPATH": path, **(environment or {})},
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
