"""Which module may know which: the contracts of pyproject.toml, and what they cannot say."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
COMPILING = {
    ".".join(("thoth_models_builder", *path.relative_to(PLACES["thoth_models_builder"]).with_suffix("").parts))
    for path in (PLACES["thoth_models_builder"] / "compile").rglob("*.py")
    if path.stem != "__init__"
}


CONTRACTS = tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
PURE_PACKAGES = (
    "thoth_models.bundle",
    "thoth_models.errors",
    "thoth_models.info",
    "thoth_models.types",
)
INPUT_AND_OUTPUT = {
    *("asyncio", "fcntl", "http", "httpx2", "huggingface_hub", "mmap", "pathlib", "requests", "shutil"),
    *("socket", "subprocess", "tempfile", "threading", "urllib"),
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def graph_at_run_time() -> grimp.ImportGraph:
    """Return the imports without those for type checkers only."""
    return grimp.build_graph(
        *PACKAGES, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


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


def lint(directory: Path, contract: dict[str, Any]) -> int:
    """Return the exit code of a run of import-linter with this contract alone."""
    settings = {"root_packages": [*PACKAGES], "include_external_packages": True}
    text = "".join(
        f"{header}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        for header, values in (("[tool.importlinter]", settings), ("[[tool.importlinter.contracts]]", contract))
    )
    (directory / "pyproject.toml").write_text(text, encoding="utf-8")
    return int(lint_imports(config_filename=str(directory / "pyproject.toml"), no_cache=True))


def test_the_contracts_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(config_filename=str(CONFIGURATION), no_cache=True)
    assert code == 0, capsys.readouterr().out
    assert f"{len(CONTRACTS)} kept, 0 broken" in capsys.readouterr().out


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract["name"])
def test_a_broken_contract_would_be_seen(tmp_path: Path, graph: grimp.ImportGraph, contract: dict[str, Any]) -> None:
    """The positive control: each contract fails once it is turned round, or asked about two related modules."""
    assert lint(tmp_path, contract) == 0
    match contract["type"]:
        case "layers":
            broken = {**contract, "layers": contract["layers"][::-1]}
        case "independence":
            module = contract["modules"][0]
            ours = {name for name in graph.find_modules_directly_imported_by(module) if name.startswith(PACKAGES)}
            broken = {**contract, "modules": [module, max(ours)]}
        case "protected":
            broken = {**contract, "protected_modules": ["thoth_models_builder.errors"]}
        case other:
            pytest.fail(f"no control for a contract of type {other!r}")
    assert lint(tmp_path, broken) == 1


def input_and_output(graph: grimp.ImportGraph, package: str) -> dict[str, set[str]]:
    """Return which modules of a package import a library that reads, writes, connects or starts a process."""
    modules = [name for name in graph.modules if name == package or name.startswith(f"{package}.")]
    assert modules
    found = {name: graph.find_modules_directly_imported_by(name) & INPUT_AND_OUTPUT for name in modules}
    return {name: libraries for name, libraries in found.items() if libraries}


@pytest.mark.parametrize("package", PURE_PACKAGES)
def test_a_pure_package_does_no_input_or_output(graph: grimp.ImportGraph, package: str) -> None:
    """The contracts keep it from importing a package that does."""
    assert input_and_output(graph, package) == {}


def test_input_and_output_would_be_seen(graph: grimp.ImportGraph) -> None:
    assert input_and_output(graph, "thoth_models_builder.storage.store")


def declared_pure(package: str) -> list[str]:
    """Return the modules whose docstring, or that of their package, says that they are pure."""
    found = []
    for path in sorted(PLACES[package].rglob("*.py")):
        docstrings = [ast.get_docstring(ast.parse(file.read_text())) for file in (path, path.parent / "__init__.py")]
        if any(re.search(r"\bPure[.:]", text or "") for text in docstrings):
            parts = (package, *path.relative_to(PLACES[package]).with_suffix("").parts)
            found.append(".".join(parts).removesuffix(".__init__"))
    return found


PURE_MODULES = declared_pure("thoth_models_builder")


def impure_imports(graph: grimp.ImportGraph, module: str) -> set[str]:
    """Return the libraries for input and output that a module imports, directly or through others."""
    # pathlib and urllib also hold functions on plain text, which pure modules use.
    return graph.find_upstream_modules(module) & (INPUT_AND_OUTPUT - {"pathlib", "urllib"})


@pytest.mark.parametrize("module", PURE_MODULES)
def test_a_module_that_calls_itself_pure_does_no_input_or_output(
    graph_at_run_time: grimp.ImportGraph, module: str
) -> None:
    assert impure_imports(graph_at_run_time, module) == set()


def test_pure_modules_are_found_and_an_impure_one_would_be_seen(graph_at_run_time: grimp.ImportGraph) -> None:
    assert {"thoth_models_builder.spec.lockfile", "thoth_models_builder.oci.layers"} <= set(PURE_MODULES)
    assert "fcntl" in impure_imports(graph_at_run_time, "thoth_models_builder.oci.layout")


def test_the_command_line_of_the_builder_imports_pipeline_reports_watcher_and_errors_only(
    graph: grimp.ImportGraph,
) -> None:
    modules = [name for name in graph.modules if name.startswith("thoth_models_builder.cli.")]
    imported = {name for module in modules for name in graph.find_modules_directly_imported_by(module)}
    ours = {name for name in imported if name.startswith(PACKAGES)}
    allowed = ("cli", "errors", "pipeline", "reports", "watcher")
    assert {
        name for name in ours if not name.startswith(tuple(f"thoth_models_builder.{package}" for package in allowed))
    } == {
        *("thoth_models.cli.command", "thoth_models.cli.command_help", "thoth_models.errors"),
        "thoth_models_builder",  # its version
    }


@pytest.mark.parametrize(
    ("library", "importers"),
    [
        ("torch", {"thoth_models.backends.torch", *COMPILING}),
        ("sentence_transformers", {"thoth_models.backends.torch", *COMPILING}),
        ("transformers", {"thoth_models.backends.torch", *COMPILING}),
        ("onnxruntime", {"thoth_models.backends.onnx_sessions", *COMPILING}),
        ("tokenizers", {"thoth_models.backends.onnx", *COMPILING}),
        ("onnx", COMPILING),
        ("huggingface_hub", {"thoth_models_builder.sources.hub"}),
        # One for each kind of server: sources, a registry, an engine.
        (
            "httpx2",
            {
                "thoth_models_builder.engine.client",
                "thoth_models_builder.net.body",
                "thoth_models_builder.net.redirects",
                "thoth_models_builder.registry.session",
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
        (
            "cryptography",
            {
                "thoth_models.verification.signatures.keyless",  # what a certificate states
                "thoth_models.verification.signatures.signers",
                "thoth_models_builder.trust.signing",
            },
        ),
        (
            "sigstore",
            {"thoth_models.verification.signatures.keyless", "thoth_models_builder.trust.keyless_signing"},
        ),
        ("sigstore_models", {"thoth_models.verification.signatures.keyless"}),
        (
            "cyclonedx",
            {
                "thoth_models_builder.trust.bill.document",
                "thoth_models_builder.trust.bill.models",
                "thoth_models_builder.trust.bill.packages",
                "thoth_models_builder.trust.bill.parts",
            },
        ),
        (
            "packageurl",
            {
                "thoth_models_builder.trust.attestations.provenance",
                "thoth_models_builder.trust.bill.packages",
                "thoth_models_builder.trust.package_urls",
            },
        ),
        ("license_expression", {"thoth_models_builder.spec.licences.names"}),
        ("rich", {"thoth_models_builder.cli.compile_progress", "thoth_models_builder.cli.terminal"}),
        ("jinja2", {"thoth_models_builder.reports.page.html"}),
        ("markupsafe", {"thoth_models_builder.reports.page.html"}),
        (
            "pydantic",
            {
                "thoth_models_builder.reports.page.benchmarks",
                "thoth_models_builder.spec.key_types",
                "thoth_models_builder.spec.models_yaml",
            },
        ),
        (
            "yaml",
            {
                "thoth_models_builder.sources.model_card",
                "thoth_models_builder.spec.edit",  # the positions of nodes and tokens
                "thoth_models_builder.spec.yaml_document",
            },
        ),
        (
            "safetensors",
            {"thoth_models.backends.checkpoint.formats", "thoth_models_builder.compile.pickles.convert"},
        ),
        ("platformdirs", {"thoth_models_builder.pipeline.store_directory"}),
    ],
)
def test_a_library_has_one_door(library: str, importers: set[str], graph: grimp.ImportGraph) -> None:
    if library not in graph.modules:
        assert importers == set()
    else:
        assert graph.find_modules_that_directly_import(library) <= importers
        assert all(graph.find_modules_that_directly_import(library) & {importer} for importer in importers - COMPILING)


def test_no_types_are_taken_from_what_mypy_does_not_read() -> None:
    """They would be Any, so that a method that does not exist would be no error."""
    overrides = tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))["tool"]["mypy"]["overrides"]
    (skipped,) = (
        one["module"] for one in overrides if one.get("follow_imports") == "skip" and "openai.*" in one["module"]
    )
    prefixes = tuple(name.removesuffix("*") for name in skipped)
    for place in PLACES.values():
        for path in place.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                assert not any(f"{name}.".startswith(prefixes) for name in names), (path, names)


def test_each_distribution_needs_what_it_declares(graph: grimp.ImportGraph) -> None:
    # transformers and safetensors are what sentence-transformers is made of, and cannot be missing beside it.
    assert outside(graph, "thoth_models") == {
        "numpy",
        "cryptography",
        *("sigstore", "sigstore_models"),
        *("onnxruntime", "tokenizers"),
        *("torch", "sentence_transformers", "transformers", "safetensors"),
        *FRAMEWORKS,
    }
    assert outside(graph, "thoth_models_builder") == {
        "cryptography",
        "cyclonedx",
        "httpx2",
        "huggingface_hub",
        "jinja2",
        "license_expression",
        "markupsafe",
        "packageurl",
        "platformdirs",
        "pydantic",
        "rich",
        "sigstore",
        "yaml",
        # The extra `compile`, which brings the runtime's extras `onnx` and `torch`.
        *(
            "numpy",
            "onnx",
            "onnxruntime",
            "safetensors",
            "sentence_transformers",
            "tokenizers",
            "torch",
            "transformers",
        ),
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
    loaded = modules_after("import thoth_models_builder.cli.main")
    assert loaded & {*HEAVY, "httpx", "httpx2", "requests", "asyncio"} == set()
    assert "thoth_models_builder" in loaded


def test_a_heavy_import_would_be_seen() -> None:
    assert "httpx2" in modules_after("import thoth_models_builder.sources.hub")
    assert "huggingface_hub" in modules_after("import huggingface_hub")
