"""What installed wheels can get wrong: a module or a file that is missing, a command that does not start, a path that
only the source tree has. What the code does is tested elsewhere, from the same files.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import pkgutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import thoth_models
import thoth_models_builder
from tests.support.bundles import make_bundle, make_writable
from tests.support.onnx_models import DIMENSION, plan, reference, variant_files
from tests.support.projects import model_files, specification, write_files
from tests.support.public import PUBLIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCRIPTS = Path(sysconfig.get_path("scripts"))
FRAMEWORKS = (
    *("torch", "transformers", "sentence_transformers", "onnx", "onnx_ir", "onnxscript", "cyclonedx", "packageurl"),
    *("chromadb", "haystack", "langchain_core", "llama_index", "qdrant_client", "thoth_qdrant"),
)
"""What only extras bring: a module may miss one of these, and nothing else."""


def run(*command: str, place: Path, text: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that was installed, where no source tree is near."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "THOTH", "HF"))}
    return subprocess.run(
        [str(SCRIPTS / command[0]), *command[1:]],
        cwd=place,
        env={**environment, **variables},
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def modules_of(package: str) -> list[str]:
    place = Path(str(importlib.import_module(package).__file__)).parent
    return [
        module.name for module in pkgutil.walk_packages([str(place)], f"{package}.") if "__main__" not in module.name
    ]


@pytest.mark.parametrize("package", ["thoth_models", "thoth_models_builder"])
def test_every_module_is_imported_or_misses_a_framework(package: str, tmp_path: Path) -> None:
    code = """
import importlib, json, sys
missed = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:  # an adapter says which extra brings its framework
        cause = error if isinstance(error, ImportError) else error.__cause__
        missed[name] = getattr(cause, "name", None) or repr(error)
print(json.dumps(missed))
"""
    names = modules_of(package)
    assert len(names) > 40
    done = run("python", "-c", code, *names, place=tmp_path)
    assert done.returncode == 0, done.stderr
    missed: Mapping[str, str] = json.loads(done.stdout)
    assert {name: said for name, said in missed.items() if said.partition(".")[0] not in FRAMEWORKS} == {}
    assert len(missed) < len(names) / 3


@pytest.mark.parametrize("module", [module for module in PUBLIC if ".adapters." not in module])
def test_public_names_are_there(module: str, tmp_path: Path) -> None:
    names = ", ".join(PUBLIC[module])
    done = run("python", "-W", "error", "-c", f"from {module} import {names}", place=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ["thoth_models", "thoth_models_builder"])
def test_types_and_licence_are_installed(package: str) -> None:
    files = [str(path) for path in importlib.metadata.files(package.replace("_builder", "-builder")) or []]
    assert f"{package}/py.typed" in files
    assert any(path.endswith("licenses/LICENSE") for path in files)


@pytest.mark.parametrize(
    ("command", "module", "version"),
    [
        ("thoth-models", "thoth_models", thoth_models.__version__),
        ("thoth-bundle", "thoth_models_builder", thoth_models_builder.__version__),
    ],
)
def test_commands_start(command: str, module: str, version: str, tmp_path: Path) -> None:
    for words in ([command], ["python", "-m", module]):
        said = run(*words, "--version", place=tmp_path)
        assert (said.returncode, said.stdout.strip()) == (0, f"{command} {version}"), said.stderr
        assert "usage: " in run(*words, "--help", place=tmp_path).stdout


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Path]:
    make_bundle(tmp_path / "bundle", [plan(variant_files(tmp_path / "graph"))], default="mini")
    yield tmp_path / "bundle"
    make_writable(tmp_path / "bundle")


def test_a_model_is_verified_loaded_and_answers(bundle: Path, tmp_path: Path) -> None:
    there = {"THOTH_MODELS_DIR": str(bundle)}
    assert run("thoth-models", "verify", place=tmp_path, **there).returncode == 0
    tokenizer = (bundle / "mini/onnx-fp32/tokenizer.json").read_bytes()
    made = run("thoth-models", "embed", "--text", "water river", place=tmp_path, **there)
    assert made.returncode == 0, made.stderr
    np.testing.assert_allclose(
        json.loads(made.stdout)["embedding"], reference(tokenizer, "water river"), rtol=0, atol=1e-6
    )
    code = "import thoth_models; print(thoth_models.EmbeddingManager.get_instance().encode('water', 'mini').shape)"
    called = run("python", "-c", code, place=tmp_path, **there)
    assert called.stdout == f"({DIMENSION},)\n", called.stderr


def test_a_project_is_locked_built_packed_and_verified(tmp_path: Path) -> None:
    write_files(tmp_path / "model", model_files("mini"))
    (tmp_path / "models.yaml").write_text(specification({"mini": {"sources": [{"directory": "model"}]}}), "utf-8")
    for words in (["lock"], ["build"], ["image", "bundle", "--to", "oci:layout"], ["report"]):
        more = ["--store=store"] if words[0] in ("lock", "build") else []
        done = run("thoth-bundle", *words, *more, place=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "layout/index.json").is_file()
    assert (tmp_path / "report.html").read_bytes().startswith(b"<!DOCTYPE html>")
    assert run("thoth-models", "verify", "--root=bundle", place=tmp_path).returncode == 0
    make_writable(tmp_path)


def test_the_schema_is_printed(tmp_path: Path) -> None:
    printed = run("thoth-bundle", "schema", place=tmp_path)
    kept = Path(os.environ["THOTH_TEST_SOURCES"], "models.schema.json").read_text(encoding="utf-8")
    assert json.loads(printed.stdout) == json.loads(kept)


def test_the_interpreter_is_that_of_the_environment() -> None:
    assert Path(sys.executable).parent == SCRIPTS
