"""Models with code of their own, from models.yaml to vectors; and hostile ones, of which nothing is left.

All models are built by two commands, so that torch is imported twice only.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import own_code
from tests.support.bundles import make_writable
from tests.support.compiled import LOW, job_of
from tests.support.projects import Project, contents
from tests.support.tiny_models import MIXED_TEXTS
from thoth_models import load_embedding
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models.verification.verify import verify
from thoth_models_builder.bundle.derivation import FP32_COSINE
from thoth_models_builder.compile.errors import SandboxError
from thoth_models_builder.compile.sandbox.step import limits_for, run_step
from thoth_models_builder.compile.steps import Step, steps_of
from thoth_models_builder.errors import CompileError
from thoth_models_builder.spec.compile_job import JOB_NAME, MODEL_DIRECTORY, CompileJob
from thoth_models_builder.spec.variants import SOURCE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.tiny_models import TinyModel

pytestmark = [pytest.mark.torch, pytest.mark.onnx]

VARIANTS = ["onnx-fp32", "onnx-int8"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return own_code.make_model_with_code(tmp_path_factory.mktemp("own-code") / "model")


def specified(directory: Path, code: dict[str, str]) -> dict[str, object]:
    facts = {"sources": [{"directory": str(directory)}], "golden": True, "variants": VARIANTS, "int8_floor": LOW}
    return {**facts, "code": own_code.listed(code)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, model: TinyModel) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("built") / "project")
    custom = own_code.with_custom_module(model, project.root.with_name("custom"))
    code = own_code.code_of()
    both = {**code, "custom_st.py": own_code.CUSTOM_MODULE}
    project.specify({"mini": specified(model.directory, code), "custom": specified(custom.directory, both)})
    project.lock()
    project.build()
    yield project
    make_writable(project.root)


@pytest.mark.parametrize(("name", "variant"), [("mini", "onnx-fp32"), ("mini", "onnx-int8"), ("custom", "onnx-fp32")])
def test_its_vectors_are_those_of_sentence_transformers_with_its_code(
    built: Project, model: TinyModel, name: str, variant: str
) -> None:
    expected = model.plain(trust_remote_code=True).encode(list(MIXED_TEXTS), batch_size=4)
    found = load_embedding(name, root=built.output, variants=[variant]).encode(MIXED_TEXTS)
    assert (expected * found).sum(axis=1).min() > (FP32_COSINE if variant == "onnx-fp32" else 0.99)
    assert np.linalg.norm(found, axis=1).min() > 0.999


def test_the_bundle_has_no_code_and_says_which_code_was_run(built: Project) -> None:
    assert not [path for path in contents(built.output) if path.endswith(".py") or "/source/" in path]
    model = verify(built.output, strict=True).manifest.models["mini"].built
    assert model is not None
    assert model.record is not None
    assert model.record.code == own_code.listed(own_code.code_of())
    assert list((built.store / "scratch").iterdir()) == []


def test_nothing_is_compiled_again(built: Project) -> None:
    again = built.build()
    assert again.is_unchanged
    assert again.compile_seconds == 0


LISTENER = "socket.create_connection(('127.0.0.1', {port}), 5).sendall(b'stolen')"
FORK = """
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
"""
BELOW_PYTHON = """
import ctypes
if ctypes.CDLL(None, use_errno=True).socket(2, 1, 0) < 0:
    raise OSError(ctypes.get_errno(), "no socket")
"""
HOSTILE = {
    "connects": ("import socket; " + LISTENER, "OfflineViolation: network access while a model was being loaded"),
    # Where no audit hook sees it.
    "connects-in-c": (BELOW_PYTHON, "PermissionError: [Errno 1] no socket"),
    "writes": ("open({home!r} + '/left', 'w').write('x')", "PermissionError: [Errno 13] Permission denied"),
    "forks": (FORK, "PermissionError: [Errno 1] Operation not permitted"),
    "eats": ("held = bytearray(2**45)", "MemoryError"),
    "reads": ("print(open({home!r} + '/token').read())", "PermissionError: [Errno 13] Permission denied"),
    "kills": ("import os; os.kill(os.getppid(), 9)", "PermissionError: [Errno 1] Operation not permitted"),
    "links": ("import os; os.symlink('/etc/passwd', 'link')", "PermissionError: [Errno 1] Operation not permitted"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "SandboxError: the confined process ended with SIGSEGV"),
    "pretends": ("import os; os._exit(0)", "expected the results of the step, found none"),
    "sleeps": ("import time; time.sleep(600)", "expected the compiler to end within 20 s"),
}
"""What hostile code does when it is imported, and what the build says of it."""


@pytest.mark.hostile
def test_hostile_code_is_stopped_and_named_and_leaves_nothing(
    tmp_path: Path, model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text("s3cret", encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    project = Project(tmp_path / "project")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        models = {}
        for name, (action, _) in HOSTILE.items():
            done = action.format(home=str(home), port=listener.getsockname()[1])
            shutil.copytree(model.directory, tmp_path / name)
            code = own_code.code_of(more=done)
            (tmp_path / name / "modeling_alibi.py").write_text(code["modeling_alibi.py"], encoding="utf-8")
            models[name] = specified(tmp_path / name, code)
        # A model beside them is built, whatever they do.
        models["good"] = specified(model.directory, own_code.code_of())
        project.specify(models)
        project.lock()
        with pytest.raises(CompileError) as raised:
            project.build(compile_deadline=20)
        with pytest.raises(BlockingIOError):
            listener.accept()
    text = str(raised.value)
    for name, (_, expected) in HOSTILE.items():
        begin = text.index(f"{name}: expected")
        others = [text.find(f"\n{other}: expected", begin + 1) for other in HOSTILE if other != name]
        end = min([place for place in others if place > 0], default=len(text))
        assert expected in text[begin:end], name
    assert not [line for line in text.splitlines() if line.startswith("good:")]
    assert "s3cret" not in text
    assert sorted(path.name for path in home.iterdir()) == ["token"]
    assert list((project.store / "scratch").iterdir()) == []
    assert processes_below(tmp_path) == []


def processes_below(directory: Path) -> list[str]:
    """Return the processes that have their working directory or their home below a directory."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            try:
                place = (process / "cwd").readlink()
            except OSError:
                continue
            if place.is_relative_to(directory):
                found.append(str(place))
    return found


@pytest.mark.hostile
def test_code_with_another_digest_does_not_run(tmp_path: Path) -> None:
    source = tmp_path / MODEL_DIRECTORY / SOURCE_DIRECTORY
    source.mkdir(parents=True)
    (source / "modeling.py").write_bytes(b"changed")
    job = CompileJob(
        source={"modeling.py": ContentDigest(size=8, sha256=Digest.of(b"reviewed"))},
        variants=("onnx-fp32",),
        dimension=8,
        max_seq_length=8,
        pooling="mean",
        similarity="cosine",
        prompts={},
        default_prompt_name=None,
        code=("modeling.py",),
    )
    (tmp_path / JOB_NAME).write_bytes(job.to_bytes())
    with pytest.raises(SandboxError, match=r"modeling\.py: expected the reviewed sha256 .* found "):
        run_step(Step(name="export", run=lambda *_: None), tmp_path, 1, limits_for(0, None))


@pytest.mark.hostile
def test_what_a_step_leaves_is_read_with_limited_memory() -> None:
    """A graph or golden vectors of a few megabytes can become gigabytes when they are parsed."""
    job = replace(job_of(), variants=("onnx-fp32",), code=("modeling.py",))
    limits = {pattern: limit for step in steps_of(job) for pattern, limit in step.confined.items()}
    assert [limit for pattern, limit in limits.items() if "golden" in pattern] == [64 * 1024**2]
    assert [limit for pattern, limit in limits.items() if pattern.endswith("onnx")] == [512 * 1024**2] * 2


@pytest.mark.hostile
def test_every_step_of_a_model_with_code_that_computes_is_confined() -> None:
    """Also those that run no code: they parse a graph that the code may have written."""
    job = replace(job_of(), variants=("onnx-fp32", "onnx-int8"), code=("modeling.py",))
    assert [step.name for step in steps_of(job) if not step.confined] == ["record"]
    assert not any(step.confined for step in steps_of(replace(job, code=())))
    code = (
        "from thoth_models_builder.compile.sandbox.step import _limit_reading as limit; limit(); bytearray(3 * 2**30)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert found.stderr.splitlines()[-1] == "MemoryError"
