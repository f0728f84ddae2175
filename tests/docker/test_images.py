"""The base image: what is in it, how large it is, and that it answers where it may do next to nothing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from bench.containers import HARDENED
from tests.docker.service_support import (
    MODEL,
    PYTHON_IMAGE,
    Images,
    container,
    cosines,
    docker,
    embed,
    golden_of,
    health_of,
    inspect,
    python_in,
    shared_images,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.docker, pytest.mark.torch, pytest.mark.onnx]

LEAN_BUDGET = 180_000_000
"""Bytes, unpacked, that the lean runtime may add to its Python base."""


@pytest.fixture(scope="module")
def images() -> Images:
    return shared_images()


def added_bytes(image: str) -> int:
    """Return how many bytes an image has, unpacked, above the Python base."""
    return int(inspect(image)["Size"]) - int(inspect(PYTHON_IMAGE)["Size"])


def layers_above_python(image: str) -> list[str]:
    base = inspect(PYTHON_IMAGE)["RootFS"]["Layers"]
    layers: list[str] = inspect(image)["RootFS"]["Layers"]
    assert layers[: len(base)] == base
    return layers[len(base) :]


# --- size and contents of the runtime base ---


def test_the_lean_runtime_keeps_to_its_size(images: Images, tell: Callable[[str], None]) -> None:
    size = added_bytes(images.runtime())
    tell(f"lean runtime: {size / 1e6:.1f} MB above its Python base (bound {LEAN_BUDGET / 1e6:g} MB)")
    assert 50_000_000 < size <= LEAN_BUDGET  # below is an engine that does not tell, or an empty image


def test_the_runtime_with_torch_answers_and_its_size_is_told(images: Images, tell: Callable[[str], None]) -> None:
    image = images.runtime("onnx,torch")
    size = added_bytes(image)
    tell(f"runtime with torch: {size / 1e6:.1f} MB above its Python base")
    assert size > LEAN_BUDGET
    golden = golden_of(images.bundle)
    code = (
        "import sys; from thoth_models.cli.main import main; sys.exit(main([*sys.argv[1:], '--variant', 'torch-fp32']))"
    )
    # torch wants a directory for temporary files, already when it is imported. The models are mounted: as
    # layers of an image they are tested below, with the lean one.
    options = ["--memory=2g", "--tmpfs=/tmp", f"--volume={images.bundle}:/models:ro"]
    vectors = embed(image, golden.texts[:4], *options, python=["python3", "-c", code])
    assert cosines(vectors, golden.vectors[:4]).min() > 0.9999


def test_the_lean_runtime_has_no_torch(images: Images) -> None:
    code = """
import importlib.util, json
print(json.dumps([bool(importlib.util.find_spec(n)) for n in ("torch", "sentence_transformers", "onnxruntime")]))
"""
    assert python_in(images.runtime(), code) == [False, False, True]


def test_a_start_compiles_no_module(images: Images) -> None:
    # -v says of each module whether bytecode that fits was found; "code object from" is a source that was compiled.
    code = """
import json, subprocess, sys
modules = "thoth_models.cli.main, thoth_models.backends.onnx, thoth_models.bundle.golden, thoth_models.bundle.agreement"
said = subprocess.run([sys.executable, "-v", "-c", f"import {modules}"], capture_output=True, text=True, check=True)
print(json.dumps([
    [line for line in said.stderr.splitlines() if line.startswith("# code object from /") and line.endswith(".py")],
    sum("matches" in line for line in said.stderr.splitlines()),
]))
"""
    compiled, found = python_in(images.runtime(), code)
    assert compiled == []
    assert found > 100


def test_a_module_that_is_replaced_is_compiled_again(images: Images, tmp_path: Path) -> None:
    # Bytecode that nobody compares with its source would run the old module.
    (tmp_path / "__init__.py").write_text("answer = 'replaced'\n", encoding="utf-8")
    code = "import json, tokenizers; print(json.dumps(getattr(tokenizers, 'answer', 'old')))"
    find = "import json, tokenizers; print(json.dumps(tokenizers.__file__))"
    place = python_in(images.runtime(), find)
    name = images.tag("replaced")
    (tmp_path / "Dockerfile").write_text(f"FROM {images.runtime()}\nCOPY __init__.py {place}\n", encoding="utf-8")
    assert images.build(tmp_path, f"--tag={name}").returncode == 0
    assert python_in(images.runtime(), code) == "old"
    assert python_in(name, code) == "replaced"


def test_the_wheel_and_its_list_lie_there_for_services_with_an_environment_of_their_own(images: Images) -> None:
    code = """
import hashlib, json, pathlib
root = pathlib.Path("/models-runtime")
print(json.dumps({p.name: [hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mode & 0o7777, p.stat().st_uid]
                  for p in root.iterdir()}))
"""
    found = python_in(images.runtime(), code)
    (wheel,) = [name for name in found if name.endswith(".whl")]
    assert sorted(found) == ["requirements.txt", wheel]
    assert wheel.startswith("thoth_models-")
    listed = (images.wheelhouse("runtime-onnx") / "requirements.txt").read_text(encoding="utf-8")
    assert f"--hash=sha256:{found[wheel][0]}" in listed
    assert {tuple(facts[1:]) for facts in found.values()} == {(0o644, 0)}


@pytest.mark.hostile
def test_what_is_added_belongs_to_root_and_only_root_may_write_it(images: Images) -> None:
    code = """
import json, os, stat, sys
wrong = []
for root in ("/usr/local", "/models-runtime", "/etc/passwd", "/etc/group"):
    for directory, names, files in os.walk(root):
        for name in ["", *files]:
            path = os.path.join(directory, name)
            found = os.lstat(path)
            if found.st_uid or found.st_gid not in (0, 50) or not stat.S_ISLNK(found.st_mode) and found.st_mode & 0o002:
                wrong.append([path, oct(found.st_mode), found.st_uid, found.st_gid])
print(json.dumps(wrong[:10]))
"""
    assert python_in(images.runtime(), code) == []  # group 50 is Debian's "staff", which /usr/local belongs to


def test_the_image_says_how_it_is_to_be_run(images: Images) -> None:
    configuration = inspect(images.models())["Config"]
    environment = dict(item.split("=", 1) for item in configuration["Env"])
    assert configuration["User"] == "65532:65532"
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert environment["THOTH_MODELS_DIR"] == "/models"
    assert configuration["Healthcheck"]["Test"] == ["CMD", "thoth-models", "doctor", "--quick"]


# --- building ---


@pytest.mark.parametrize("buildkit", [True, False], ids=["buildkit", "classic"])
def test_two_builds_have_the_same_layers_with_either_builder(images: Images, *, buildkit: bool) -> None:
    # The lean runtime is one that BuildKit has built.
    layers = [layers_above_python(images.runtime())] if buildkit else []
    for attempt in ("b",) if buildkit else ("a", "b"):
        context = images.context("runtime", images.wheelhouse("runtime-onnx", "./runtime[onnx]"))
        name = images.tag(f"again-{attempt}-{buildkit}".lower())
        options = ["--no-cache", f"--build-arg=PYTHON_IMAGE={PYTHON_IMAGE}", f"--tag={name}"]
        finished = images.build(context, *options, buildkit=buildkit)
        assert finished.returncode == 0, finished.stderr
        layers.append(layers_above_python(name))
    # The layer with the packages. The other ones are as old as the build, which the builders do not let one set.
    assert layers[0][-1] == layers[1][-1]


@pytest.mark.hostile
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_wheel_that_is_changed_or_missing_fails_the_build(images: Images, tmp_path: Path, damage: str) -> None:
    context = images.context("runtime", images.wheelhouse("runtime-onnx", "./runtime[onnx]"))
    (wheel,) = (context / "wheelhouse").glob("flatbuffers-*.whl")
    data = wheel.read_bytes()
    wheel.unlink()
    if damage == "changed":
        wheel.write_bytes(data + b"\0")
    finished = images.build(context, f"--build-arg=PYTHON_IMAGE={PYTHON_IMAGE}", f"--tag={images.tag('damaged')}")
    assert finished.returncode != 0
    expected = "DO NOT MATCH THE HASHES" if damage == "changed" else "No matching distribution found for flatbuffers"
    said = finished.stdout + finished.stderr
    assert expected in said
    made_for = (context / "wheelhouse/requirements.txt").read_text(encoding="utf-8").partition("\n")[0]
    for what in ("the wheels are made with: ", "this image needs:         "):  # here the same
        assert what + made_for.removeprefix("# ") in said


@pytest.mark.hostile
def test_a_dependency_that_is_not_listed_fails_the_build(images: Images) -> None:
    context = images.context("runtime", images.wheelhouse("runtime-onnx", "./runtime[onnx]"))
    listed = context / "wheelhouse/requirements.txt"
    lines = listed.read_text(encoding="utf-8").splitlines(keepends=True)
    listed.unlink()  # a link to the one that others use
    listed.write_text("".join(line for line in lines if not line.startswith("flatbuffers==")), encoding="utf-8")
    finished = images.build(context, f"--build-arg=PYTHON_IMAGE={PYTHON_IMAGE}", f"--tag={images.tag('incomplete')}")
    assert finished.returncode != 0
    assert "flatbuffers" in finished.stdout + finished.stderr


# --- models in it ---


@pytest.mark.hostile
def test_the_right_vectors_come_out_where_next_to_nothing_is_allowed(images: Images) -> None:
    golden = golden_of(images.bundle)
    vectors = embed(images.models(), golden.texts)
    assert vectors.shape == golden.vectors.shape
    assert cosines(vectors, golden.vectors).min() > 0.9999


def test_the_models_have_the_modes_and_the_owner_of_a_bundle(images: Images) -> None:
    code = """
import json, os
found = set()
for directory, names, files in os.walk("/models"):
    for path in [directory, *(os.path.join(directory, name) for name in files)]:
        status = os.lstat(path)
        found.add((path == directory, oct(status.st_mode), status.st_uid, status.st_gid))
print(json.dumps(sorted(found)))
"""
    found = python_in(images.models(), code)
    assert found == [[False, "0o100444", 0, 0], [True, "0o40555", 0, 0]]


def test_the_files_are_those_of_the_bundle(images: Images) -> None:
    code = """
import json, os
print(json.dumps(sorted(os.path.relpath(os.path.join(d, f), "/models") for d, _, fs in os.walk("/models") for f in fs)))
"""
    bundle = images.bundle
    expected = sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())
    assert python_in(images.models(), code) == expected


def test_the_engine_comes_to_call_it_healthy(images: Images) -> None:
    options = [*HARDENED, "--health-interval=1s", "--memory=512m"]
    with container(images.models(), *options, command=["sleep", "600"]) as name:
        assert health_of(name, timeout=60).startswith("healthy")


@pytest.mark.hostile
def test_the_engine_calls_changed_models_unhealthy(images: Images, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(images.bundle, changed)
    manifest = changed / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes().replace(b'"dimension":384', b'"dimension":385', 1))
    options = [*HARDENED, "--health-interval=1s", "--health-retries=1", "--health-start-period=1ms"]
    options.append(f"--volume={changed}:/models:ro")
    with container(images.models(), *options, command=["sleep", "600"]) as name:
        assert health_of(name, timeout=60).startswith("unhealthy")


def test_nothing_is_written(images: Images) -> None:
    # Without --read-only, so that whoever wants to write does.
    with container(images.models(), "--network=none", command=["thoth-models", "doctor", "--model", MODEL]) as name:
        assert docker("wait", name).strip() == "0"
        changes: list[Any] = docker("diff", name).split()
    assert changes == []
