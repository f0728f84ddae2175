"""The key of a compilation changes with everything that decides what it gives."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import thoth_models
import thoth_models_builder
from tests.support.projects import environment_of_children
from thoth_models_builder.bundle.compiler_sources import compiler_sources, digest_of, sources_digest
from thoth_models_builder.errors import CompilerUnavailableError

PLACES = {package.__name__: Path(package.__file__ or "").parent for package in (thoth_models, thoth_models_builder)}

DECIDE = (
    *("backends.onnx", "backends.onnx_sessions", "backends.onnx_external_data", "backends.batching", "backends.torch"),
    *("bundle.canonical_json", "bundle.unsafe_references", "bundle.golden", "bundle.agreement", "bundle.accuracy"),
    *("embedding", "loading.load", "verification.verify"),
)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("packages")
    return {
        name: Path(shutil.copytree(place, root / name, ignore=shutil.ignore_patterns("__pycache__")))
        for name, place in PLACES.items()
    }


@pytest.mark.parametrize("module", DECIDE)
def test_a_change_of_what_is_measured_changes_the_key(module: str, copied: dict[str, Path]) -> None:
    before = digest_of(compiler_sources(copied))
    path = copied["thoth_models"].joinpath(*module.split(".")).with_suffix(".py")
    path.write_bytes(path.read_bytes() + b"\n# changed\n")
    assert digest_of(compiler_sources(copied)) != before


def test_a_change_of_the_compiler_or_of_what_a_job_or_a_space_says_changes_the_key(copied: dict[str, Path]) -> None:
    package = copied["thoth_models_builder"]
    others = (
        *("bundle/compile_job.py", "bundle/describe.py", "spec/compile_job.py", "spec/variants.py"),
        *("bundle/configure.py", "bundle/published/repairs.py", "bundle/published/positions.py"),
        *("bundle/architectures.py", "bundle/code/references.py", "bundle/space_of.py"),
    )
    digests = [digest_of(compiler_sources(copied))]
    for path in [*(package / "compile").glob("*.py"), *(package / other for other in others)]:
        path.write_bytes(path.read_bytes() + b"\n# changed\n")
        digests.append(digest_of(compiler_sources(copied)))
        assert digests[-1] not in digests[:-1], path


def test_what_has_no_part_in_it_does_not_change_the_key(copied: dict[str, Path]) -> None:
    before = digest_of(compiler_sources(copied))
    for path in (
        copied["thoth_models"] / "cli/main.py",
        copied["thoth_models"] / "adapters/chroma.py",
        copied["thoth_models_builder"] / "oci/layers.py",
        copied["thoth_models_builder"] / "pipeline/compiler_process.py",
    ):
        path.write_bytes(path.read_bytes() + b"\n# changed\n")
    assert digest_of(compiler_sources(copied)) == before


def test_where_the_packages_lie_is_not_part_of_the_key(tmp_path: Path) -> None:
    places = {
        name: Path(shutil.copytree(place, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")))
        for name, place in PLACES.items()
    }
    assert digest_of(compiler_sources(places)) == sources_digest()


_IMPORTED = """
import importlib, json, sys
from thoth_models_builder.compile import server
for name in server.modules():
    importlib.import_module(name)
print(json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] in sys.argv[1:])))
"""


@pytest.mark.torch
@pytest.mark.onnx
def test_all_that_the_compiler_imports_is_found() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", _IMPORTED, *PLACES],
        env=environment_of_children(),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(json.loads(finished.stdout.splitlines()[-1]))
    assert "thoth_models.backends.onnx_sessions" in imported
    assert imported <= set(compiler_sources())


def test_without_source_files_there_is_no_key(tmp_path: Path) -> None:
    """As in an image with bytecode only: the key would be the same for every release."""
    with pytest.raises(CompilerUnavailableError, match="expected the source files of the compiler, found none of"):
        compiler_sources(dict.fromkeys(PLACES, tmp_path))
