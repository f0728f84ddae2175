"""The images of ``docker/``, built for the tests: each once in a run, and removed when it ends.

Everything is built as docs/docker.md says, on the Python base image of the tests, and without a network.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.containers import HARDENED
from tests.support.bundles import make_removable
from tests.support.projects import run_builder, specification
from thoth_models.bundle.golden import Golden
from thoth_models.verification.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from thoth_models.types import FloatArray

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
OWN_PYTHON_IMAGE = "thoth-test-python:3.11"
PYTHON_IMAGE = os.environ.get("THOTH_TEST_PYTHON_IMAGE", OWN_PYTHON_IMAGE)
"""The base image with Python; ``make_python_base.sh`` makes the one that is used where nobody says otherwise."""

SERVICE_DOCKERFILES = {"from": "Dockerfile", "copy-from": "Dockerfile.copy-from"}
MODEL = "mini"

_BUILD_SECONDS = 1800.0
_SECONDS = 120.0


def docker(*arguments: str | Path, timeout: float = _SECONDS, text: str | None = None, check: bool = True) -> str:
    """Run the docker client and return what it printed; a failure has its words in the message."""
    finished = docker_result(*arguments, timeout=timeout, text=text)
    if check and finished.returncode != 0:
        raise AssertionError(
            f"docker {' '.join(map(str, arguments))}: {finished.returncode}: {finished.stderr[-3000:]}"
        )
    return finished.stdout


def docker_result(
    *arguments: str | Path,
    timeout: float = _SECONDS,
    text: str | None = None,
    client: str = "docker",
    buildkit: int = 1,
) -> subprocess.CompletedProcess[str]:
    """Run the docker client and return what came of it."""
    return subprocess.run(
        [client, *map(str, arguments)],
        input=text,
        env={**os.environ, "DOCKER_BUILDKIT": str(buildkit), "BUILDKIT_PROGRESS": "plain"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@functools.cache
def buildkit_client() -> str:
    """Return a docker client that can build with BuildKit; newer ones cannot without a plugin, and Debian's own can."""
    found = [str(Path(place, "docker")) for place in os.get_exec_path() if Path(place, "docker").is_file()]
    for client in found:
        finished = docker_result("build", "--help", client=client)
        if finished.returncode == 0 and "buildx component is missing" not in finished.stderr + finished.stdout:
            return client
    raise AssertionError(f"expected a docker client that can build with BuildKit, found {found}")


def inspect(name: str) -> dict[str, Any]:
    """Return what the engine knows of an image or a container."""
    (found,) = json.loads(docker("inspect", name))
    result: dict[str, Any] = found
    return result


def python_in(image: str, code: str, *arguments: str, options: Sequence[str] = HARDENED) -> Any:
    """Run Python code in a container of an image, and return the JSON that it prints last."""
    out = docker("run", "--rm", *options, image, "python3", "-c", code, *arguments)
    return json.loads(out.splitlines()[-1])


@contextmanager
def container(image: str, *options: str, command: Sequence[str] = ()) -> Iterator[str]:
    """Run a container in the background, and remove it in the end."""
    name = f"thoth-service-{uuid.uuid4().hex[:12]}"
    try:
        docker("run", "--detach", f"--name={name}", *options, image, *command)
        yield name
    finally:
        docker("rm", "--force", "--volumes", name, check=False)


@contextmanager
def internal_network() -> Iterator[str]:
    """Make a network that leads nowhere but to its own containers, and to this computer."""
    name = f"thoth-service-{uuid.uuid4().hex[:12]}"
    docker("network", "create", "--internal", name)
    try:
        yield name
    finally:
        docker("network", "rm", name, check=False)


def address_of(name: str) -> str:
    """Return the address of a container in its only network."""
    (network,) = inspect(name)["NetworkSettings"]["Networks"].values()
    address: str = network["IPAddress"]
    return address


def health_of(name: str, *, timeout: float) -> str:
    """Return how healthy the engine calls a container, once it has an opinion."""
    deadline = time.monotonic() + timeout
    while (health := inspect(name)["State"]["Health"])["Status"] == "starting" and time.monotonic() < deadline:
        time.sleep(0.2)
    return f"{health['Status']}: {health['Log'][-1]['Output'] if health['Log'] else 'not asked yet'}"


@dataclass
class Images:
    """Builds images for the tests; ``work`` is a directory to do it in."""

    work: Path
    prefix: str = field(default_factory=lambda: f"thoth-images-{uuid.uuid4().hex[:8]}")
    _made: dict[str, str] = field(default_factory=dict)
    _stages: list[str] = field(default_factory=list)

    # --- what images are made of ---

    def wheelhouse(self, name: str, *requirements: str) -> Path:
        """Gather wheels for the Python of the base image, and return the directory."""
        target = self.work / "wheelhouses" / name
        if not target.exists():
            code = "import sys, platform; print('%d.%d' % sys.version_info[:2], platform.libc_ver()[1])"
            python, glibc = docker("run", "--rm", "--network=none", PYTHON_IMAGE, "python3", "-c", code).split()
            options = ["--to", str(target), "--python", python, "--glibc", glibc.partition(".")[2]]
            finished = subprocess.run(
                [sys.executable, DOCKER / "wheelhouse.py", *options, *requirements],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
                check=False,
            )
            assert finished.returncode == 0, finished.stderr
        return target

    def context(self, name: str, wheelhouse: Path) -> Path:
        """Return a copy of a directory of ``docker/`` with a wheelhouse in it."""
        target = self.work / "contexts" / f"{name}-{uuid.uuid4().hex[:8]}"
        shutil.copytree(DOCKER / name, target, ignore=shutil.ignore_patterns("wheelhouse", "__pycache__"))
        shutil.copytree(wheelhouse, target / "wheelhouse", copy_function=os.link)
        return target

    def build(self, context: Path, *options: str, buildkit: bool = True) -> subprocess.CompletedProcess[str]:
        """Build an image without a network, as the classic builder or as BuildKit does."""
        chosen = ["build", "--network=none", *options, str(context)]
        client = buildkit_client() if buildkit else "docker"
        finished = docker_result(*chosen, timeout=_BUILD_SECONDS, client=client, buildkit=int(buildkit))
        if not buildkit:
            # The classic builder leaves the images of its stages behind, without a name.
            self._stages += re.findall(r"^ ---> ([0-9a-f]{12})$", finished.stdout, flags=re.MULTILINE)
        return finished

    def tag(self, name: str) -> str:
        """Return the name of an image of this run, which is removed in the end."""
        return self._made.setdefault(name, self._tag_of(name))

    def _tag_of(self, name: str) -> str:
        return f"{self.prefix}-{name}:test"

    @functools.cached_property
    def bundle(self) -> Path:
        """A bundle with the real model alone."""
        root = self.work / "bundle"
        root.mkdir()
        store = os.environ.get("THOTH_TEST_STORE") or self.work / "store"
        options = [f"--file={_specify(root)}", f"--store={store}", f"--output={root / 'bundle'}", "--strict"]
        _succeed(run_builder("build", *options, timeout=_BUILD_SECONDS))
        return root / "bundle"

    # --- the images ---

    def runtime(self, variant: str = "onnx") -> str:
        """Return the runtime base with extras: ``onnx``, ``onnx,torch`` or ``onnx,signing``."""
        name = f"runtime-{variant.replace(',', '-')}"
        if name not in self._made:
            context = self.context("runtime", self.wheelhouse(name, f"./runtime[{variant}]"))
            options = [f"--build-arg=PYTHON_IMAGE={PYTHON_IMAGE}", f"--tag={self._tag_of(name)}"]
            _succeed(self.build(context, *options))
        return self.tag(name)

    def models(self) -> str:
        """Return the image ``thoth-models``: the runtime base with the layers of the bundle on top."""
        name = "models"
        if name not in self._made:
            base, target = self.runtime(), self._tag_of(name)
            options = [f"--base=docker:{base}", f"--to=docker:{target}", str(self.bundle)]
            _succeed(run_builder("image", *options, timeout=_BUILD_SECONDS))
        return self.tag(name)

    def service(self, way: str) -> str:
        """Return the example service: ``from`` or ``copy-from``."""
        name = f"service-{way}"
        if name not in self._made:
            listed = str(DOCKER / "example-service/requirements.in")
            context = self.context("example-service", self.wheelhouse("service", "--file", listed))
            arguments = [f"THOTH_MODELS={self.models()}", f"PYTHON_IMAGE={PYTHON_IMAGE}"][: 1 if way == "from" else 2]
            options = [f"--file={context / SERVICE_DOCKERFILES[way]}", f"--tag={self._tag_of(name)}"]
            _succeed(self.build(context, *options, *(f"--build-arg={argument}" for argument in arguments)))
        return self.tag(name)

    def close(self) -> None:
        """Remove the images and the bundles."""
        for name in reversed(list(self._made.values())):
            docker("image", "rm", "--force", name, check=False)
        for stage in reversed(self._stages):
            if docker("inspect", "--format={{.RepoTags}}", stage, check=False).strip() == "[]":
                docker("image", "rm", stage, check=False)
        make_removable(self.work)


@functools.cache
def shared_images() -> Images:
    """Return the images of this run of the tests; they are removed when the process ends."""
    if PYTHON_IMAGE == OWN_PYTHON_IMAGE:
        # Does nothing where the engine has it.
        _succeed(
            subprocess.run(
                [Path(__file__).with_name("make_python_base.sh"), PYTHON_IMAGE],
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
                check=False,
            )
        )
    work = Path(tempfile.mkdtemp(prefix="thoth-images-"))
    images = Images(work)

    def remove() -> None:
        images.close()
        shutil.rmtree(work)

    atexit.register(remove)
    return images


def golden_of(bundle: Path) -> Golden:
    """Return the golden vectors of the only model of a bundle that is there."""
    (model,) = [model for model in verify(bundle).manifest.models.values() if model.built is not None]
    return Golden.from_bytes((bundle / model.name / "golden.json").read_bytes(), dimension=model.dimension)


def embed(image: str, texts: Sequence[str], *options: str, python: Sequence[str] = ()) -> FloatArray:
    """Return the vectors that ``thoth-models embed`` prints in a container that may do next to nothing."""
    lines = "".join(f"{json.dumps(text)}\n" for text in texts)
    command = [*(python or ["thoth-models"]), "embed", "--model", MODEL, "--input-format", "jsonl"]
    hardened = [*HARDENED, "--memory=512m", *options]
    out = docker("run", "--rm", "--interactive", *hardened, image, *command, text=lines)
    return np.array([json.loads(line)["embedding"] for line in out.splitlines()], dtype=np.float32)


def cosines(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the cosine of each row of one array to the same row of the other."""
    left, right = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (first, second))
    return np.asarray((left * right).sum(axis=1), dtype=np.float32)


def _specify(root: Path) -> Path:
    """Write the specification of a bundle with the model alone, and the repository's own lock of it."""
    entry = json.loads((ROOT / "models.lock").read_bytes())["models"][MODEL]
    (root / "models.lock").write_text(json.dumps({"version": 1, "models": {MODEL: entry}}), encoding="utf-8")
    facts = {"sources": entry["sources"], "variants": ["onnx-fp32", "onnx-int8", "torch-fp32"], "golden": True}
    file = root / "models.yaml"
    file.write_text(specification({MODEL: facts}), encoding="utf-8")
    return file


def _succeed(finished: subprocess.CompletedProcess[str]) -> None:
    assert finished.returncode == 0, f"{finished.args}: {finished.stdout[-3000:]}{finished.stderr[-3000:]}"
