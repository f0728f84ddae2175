"""A variant is measured as a service would load it: from a verified bundle, and from nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.compiled import job_of
from thoth_models.bundle.digest import hash_file
from thoth_models.bundle.golden import GOLDEN_NAME, Golden
from thoth_models.errors import ModelUnavailableError
from thoth_models.verification.verify import verify
from thoth_models_builder.compile.measured_bundle import load_variant

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tiny_models import TinyModel
    from thoth_models_builder.spec.compile_job import CompileJob

pytestmark = pytest.mark.torch


@pytest.fixture
def job(tmp_path: Path, wordpiece_model: TinyModel) -> CompileJob:
    source = shutil.copytree(wordpiece_model.directory, tmp_path / "model/source")
    contents = {}
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.suffix != ".md":
            with path.open("rb") as file:
                contents[str(path.relative_to(source))] = hash_file(file)
    for path in source.rglob("*.md"):
        path.unlink()
    vectors = np.asarray(wordpiece_model.plain().encode(["water"]), dtype=np.float32)
    golden = Golden(texts=("water",), prompts=("",), vectors=vectors)
    (tmp_path / "model" / GOLDEN_NAME).write_bytes(golden.to_bytes())
    return replace(job_of(), source=contents, dimension=32, max_seq_length=64)


def test_it_is_loaded_from_a_bundle_that_is_intact(job: CompileJob, tmp_path: Path) -> None:
    embedding = load_variant(job, tmp_path / "model", "torch-fp32", tmp_path / "measured")
    agreement = embedding.check_golden()
    assert agreement is not None
    assert agreement.reaches(0.99999)
    assert set(verify(tmp_path / "measured", strict=True).manifest.files) == {
        "model/golden.json",
        *(f"model/source/{path}" for path in job.source),
    }


@pytest.mark.hostile
def test_source_files_that_were_changed_are_refused(job: CompileJob, tmp_path: Path) -> None:
    weights = tmp_path / "model/source/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelUnavailableError, match=r"model\.safetensors"):
        load_variant(job, tmp_path / "model", "torch-fp32", tmp_path / "measured")
