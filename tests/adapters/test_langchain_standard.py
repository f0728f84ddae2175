"""LangChain's own suites for embeddings, unit and integration, pass over a bundle with the onnx backend."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_bundle, make_writable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

SUITES = Path(__file__).with_name("langchain_standard.py")
ROOT = Path(__file__).parents[2]


@pytest.mark.onnx
def test_the_suites_pass(tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    from tests.support.onnx_models import plan, variant_files

    root = tmp_path / "bundle"
    make_bundle(root, [plan(variant_files(tmp_path / "files"))], default="mini")
    options = ["--override-ini=addopts=", "--override-ini=asyncio_default_fixture_loop_scope=function"]
    options += ["--override-ini=asyncio_mode=auto", "-p", "no:cacheprovider", "-W", "error"]
    done = run_python(
        *("-m", "pytest", "-v", *options, f"--rootdir={ROOT}", str(SUITES)),
        environment={"THOTH_MODELS_DIR": str(root)},
        directory=ROOT,
    )
    make_writable(root)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = set(re.findall(r"::(test_\w+) PASSED", done.stdout))
    assert passed >= {
        "test_init",
        *("test_embed_query", "test_embed_documents", "test_aembed_query", "test_aembed_documents"),
    }
    assert not re.search(r"FAILED|ERROR|SKIPPED|xfail", done.stdout), done.stdout
