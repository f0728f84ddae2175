"""Which module may know which: the contracts of pyproject.toml, and what they cannot say."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import grimp
import pytest
from importlinter.cli import lint_imports

import thoth_models
import thoth_models_builder

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("thoth_models", "thoth_models_builder")
PLACES = {package.__name__: Path(package.__file__ or "").parent for package in (thoth_models, thoth_models_builder)}
CONFIGURATION = Path(__file__).parents[1] / "pyproject.toml"
LONGEST_MODULE = 400
COMPILING = {
    f"thoth_models_builder.compile.{path.stem}"
    for path in (PLACES["thoth_models_builder"] / "compile").glob("*.py")
    if path.stem != "__init__"
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


def outside(graph: grimp.ImportGraph, package: str) -> set[str]:
    """Return the packages that a package of ours needs to be installed."""
    imported = {
        name.partition(".")[0]
        for module in graph.modules
        if module.partition(".")[0] == package
        for name in graph.find_modules_directly_imported_by(module)
    }
    return imported - set(sys.stdlib_module_names) - set(PACKAGES)


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """import-linter configures logging for the whole process, which switches off every logger there is."""
    loggers = [logger for logger in logging.Logger.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    before = [(logger, logger.disabled) for logger in loggers]
    yield
    for logger, was_disabled in before:
        logger.disabled = was_disabled


def test_the_contracts_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(config_filename=str(CONFIGURATION), no_cache=True)
    assert code == 0, capsys.readouterr().out
    assert "8 kept, 0 broken" in capsys.readouterr().out


def test_a_broken_contract_would_be_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The positive control: the reverse of each contract that orders two modules."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    contracts = "[tool.importlinter]" + text.partition("[tool.importlinter]")[2]
    turned = contracts.replace(
        'layers = ["thoth_models_builder", "thoth_models"]', 'layers = ["thoth_models", "thoth_models_builder"]'
    ).replace(
        '    "thoth_models_builder.store",\n    "thoth_models_builder.assemble",\n',
        '    "thoth_models_builder.obtain",\n',
    )
    assert turned != contracts
    (tmp_path / "pyproject.toml").write_text(turned, encoding="utf-8")
    assert lint_imports(config_filename=str(tmp_path / "pyproject.toml"), no_cache=True) == 1
    assert "6 kept, 2 broken" in capsys.readouterr().out


def test_the_command_line_of_the_builder_knows_pipeline_progress_and_errors_only(graph: grimp.ImportGraph) -> None:
    # What cli is too long to hold is in subcommands.
    modules = [f"thoth_models_builder.{name}" for name in ("cli", "subcommands")]
    imported = set().union(*map(graph.find_modules_directly_imported_by, modules))
    assert {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names} == {
        "thoth_models.command",
        "thoth_models.errors",
        "thoth_models_builder",  # its version
        "thoth_models_builder.errors",
        "thoth_models_builder.pipeline",
        "thoth_models_builder.progress",
        "thoth_models_builder.pull_report",
        "thoth_models_builder.reporting",
        "thoth_models_builder.subcommands",
    }


@pytest.mark.parametrize(
    ("library", "importers"),
    [
        ("torch", {"thoth_models.backends.torch", *COMPILING}),
        ("sentence_transformers", {"thoth_models.backends.torch", *COMPILING}),
        ("transformers", {"thoth_models.backends.torch", *COMPILING}),
        ("onnxruntime", {"thoth_models.backends.sessions", *COMPILING}),
        ("tokenizers", {"thoth_models.backends.onnx", *COMPILING}),
        ("onnx", COMPILING),
        ("huggingface_hub", {"thoth_models_builder.sources.hub"}),
        # One per room that speaks to somebody else: sources, a registry, an engine.
        (
            "httpx2",
            {
                "thoth_models_builder.engine",
                "thoth_models_builder.oci.session",
                "thoth_models_builder.sources.http",
            },
        ),
        ("requests", set()),
        ("chromadb", {"thoth_models.adapters.chroma"}),
        ("haystack", {"thoth_models.adapters.haystack"}),
        ("langchain_core", {"thoth_models.adapters.langchain"}),
        ("llama_index", {"thoth_models.adapters.llama_index"}),
        (
            "qdrant_client",
            {
                "thoth_models.adapters.qdrant",
                "thoth_models.adapters.qdrant_points",
                "thoth_models.adapters.thoth_qdrant",
            },
        ),
        ("thoth_qdrant", {"thoth_models.adapters.thoth_qdrant"}),
        ("cyclonedx", {"thoth_models_builder.supply"}),
        ("packageurl", {"thoth_models_builder.supply"}),
        ("rich", {"thoth_models_builder.progress"}),
        ("pydantic", {"thoth_models_builder.spec"}),
        ("yaml", {"thoth_models_builder.model_card", "thoth_models_builder.yaml_lines"}),
        ("platformdirs", {"thoth_models_builder.pipeline"}),
    ],
)
def test_a_library_has_one_door(library: str, importers: set[str], graph: grimp.ImportGraph) -> None:
    if library not in graph.modules:
        assert importers == set()
    else:
        assert graph.find_modules_that_directly_import(library) <= importers
        assert all(graph.find_modules_that_directly_import(library) & {importer} for importer in importers - COMPILING)


def test_each_distribution_needs_what_it_declares(graph: grimp.ImportGraph) -> None:
    # transformers is what sentence-transformers is made of, and cannot be missing beside it.
    assert outside(graph, "thoth_models") == {
        "numpy",
        *("onnxruntime", "tokenizers"),
        *("torch", "sentence_transformers", "transformers"),
        *FRAMEWORKS,
    }
    assert outside(graph, "thoth_models_builder") == {
        "cyclonedx",
        "httpx2",
        "huggingface_hub",
        "packageurl",
        "platformdirs",
        "pydantic",
        "rich",
        "yaml",
        # The extra `compile`, which brings the runtime's extras `onnx` and `torch`.
        *("numpy", "onnx", "onnxruntime", "sentence_transformers", "tokenizers", "torch", "transformers"),
    }


def modules_after(statement: str) -> set[str]:
    """Return what another interpreter has imported after a statement."""
    finished = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("COV_")},
            "PYTHONPATH": os.pathsep.join(str(place.parent) for place in PLACES.values()),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in json.loads(finished.stdout)}


FRAMEWORKS = {"chromadb", "haystack", "langchain_core", "llama_index", "qdrant_client", "thoth_qdrant"}
HEAVY = {"torch", "transformers", "sentence_transformers", "onnxruntime", "tokenizers", "huggingface_hub"}


def test_importing_the_runtime_is_light() -> None:
    loaded = modules_after("import thoth_models")
    assert (
        loaded & {*HEAVY, *FRAMEWORKS, "pydantic", "yaml", "rich", "httpx", "httpx2", "requests", *PACKAGES[1:]}
        == set()
    )
    # numpy too is left to the moment when files are being hashed.
    assert "numpy" not in loaded
    assert "thoth_models" in loaded
    assert "numpy" in modules_after("import thoth_models; thoth_models.Embedding")


def test_importing_the_command_line_of_the_builder_is_light() -> None:
    loaded = modules_after("import thoth_models_builder.cli")
    assert loaded & {*HEAVY, "httpx", "httpx2", "requests", "asyncio"} == set()
    assert "thoth_models_builder" in loaded


def test_a_heavy_import_would_be_seen() -> None:
    assert "httpx2" in modules_after("import thoth_models_builder.sources.hub")
    assert "huggingface_hub" in modules_after("import huggingface_hub")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_longer_than_one_can_hold_in_the_head(package: str) -> None:
    lengths = {
        str(path.relative_to(PLACES[package])): len(path.read_text(encoding="utf-8").splitlines())
        for path in PLACES[package].rglob("*.py")
    }
    assert len(lengths) > 10
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE} == {}
