"""Projects whose models are compiled, and a compiler process whose steps do what a test says."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from tests.support.projects import REPOSITORY, Project, environment_of_children
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.spec.compile_job import CompileJob

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tiny_models import TinyModel

ALL = ["onnx-fp32", "onnx-int8", "torch-fp32"]
LOW: dict[str, Any] = {"neighbour_agreement": 0.05}
"""Random weights put all texts close together, so that rounding decides who is nearest."""

FAKE_SERVER = "tests.support.fake_compiler"


def project_of(root: Path, model: TinyModel, *, others: dict[str, TinyModel] | None = None, **options: Any) -> Project:
    """A project whose models, ``mini`` and others by name, are copied into it, locked."""
    project = Project(root)
    models = {"mini": model, **(others or {})}
    specified = {}
    for name, one in models.items():
        shutil.copytree(one.directory, root / "models" / name)
        facts = {"sources": [{"directory": f"models/{name}"}], "golden": True, "variants": ALL, "int8_floor": LOW}
        specified[name] = {**facts, **options}
    project.specify(specified)
    project.lock()
    return project


def job_of(**steps: str) -> CompileJob:
    """Return a job whose steps, by name, do what is said here; see :mod:`tests.support.fake_compiler`."""
    return CompileJob(
        source={"config.json": ContentDigest(size=2, sha256=Digest.of(b"{}"))},
        variants=("torch-fp32",),
        dimension=8,
        max_seq_length=16,
        pooling="mean",
        similarity="cosine",
        prompts=steps,
        default_prompt_name=None,
    )


def path_of_children(*places: Path) -> str:
    """Return a PYTHONPATH with ``places``, our packages and the tests."""
    return os.pathsep.join([*map(str, places), environment_of_children()["PYTHONPATH"], str(REPOSITORY)])
