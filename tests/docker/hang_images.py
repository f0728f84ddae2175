"""The images that the hang tests run: the unprotected libraries, and ours beside them and without them.

| image | what is in it |
|---|---|
| ``current`` | the runtime's image with torch, huggingface_hub, hf_xet, without our wheel |
| ``old`` | huggingface_hub 0.34.4 with hf_xet 1.1.7, the pair of the original log, and tokenizers 0.22.2 |
| ``ours-current``, ``ours-old`` | the same image, and our wheel on top of it |
| ``ours`` | our wheel with its ``onnx`` extra and nothing else |
| ``neighbour`` | Python alone |

The wheels come from outside, with ``docker/wheelhouse.py``; no image needs a network to be built. The environment of
``old`` is kept in the engine for the next run under a name that says what is in it; the rest is removed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import APIError

from tests.docker.service_support import shared_images

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import docker

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON_IMAGE = os.environ.get("THOTH_TEST_PYTHON_IMAGE", "thoth-test-python:3.11")
LABEL = "io.github.thoth-models.test"
"""Label of all that the hang tests make in an engine: what they keep there, and what a killed run leaves behind."""

OURS = ("./runtime[onnx]", "gunicorn")

IMPORTED = {
    "current": (
        *("torch", "sentence_transformers", "onnxruntime", "tokenizers", "huggingface_hub"),
        *("transformers.models.bert.modeling_bert", "transformers.models.bert.tokenization_bert"),
        *("transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto"),
        *("sentence_transformers.base.modules", "sentence_transformers.sentence_transformer.modules"),
        *("gunicorn.app.wsgiapp", "gunicorn.workers.sync", "multiprocessing.pool", "concurrent.futures.process"),
    ),
    "old": ("onnxruntime", "tokenizers", "huggingface_hub", "hf_xet", "requests", "tqdm.auto", "yaml"),
}
"""What is compiled when an environment is made. All of its modules would take longer than the tests save by it."""

SETTINGS = (
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY"),
    "THOTH_MODELS_DIR",
)
"""What the runtime's image sets, and would protect the libraries: taken from all subjects before they start."""

_SUBJECTS = "/subjects/tests/docker/subjects"
_INSTALL = (
    "python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --root-user-action=ignore "
    "--no-index --find-links=/wheels --requirement=/wheels/requirements.txt"
)
_SECONDS = 900.0


@dataclass
class HangImages:
    """Builds the images, each when it is first asked for; threads may share it.

    Attributes:
        client: The engine.
        bundle: A bundle with the model ``mini``: ``onnx-fp32`` and ``torch-fp32``.
        half: A bundle with the model ``half``, whose checkpoint is in half precision.
    """

    client: docker.DockerClient
    bundle: Path
    half: Path
    _made: dict[str, str] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def name_of(self, image: str) -> str:
        """Return the name in the engine of one of the images, built if it is not there."""
        with self._lock:
            if image not in self._made:
                self._made[image] = getattr(self, f"_make_{image.replace('-', '_')}")()
            return self._made[image]

    def close(self) -> None:
        """Remove the images, but for the environment of ``old``, and what was gathered on this computer."""
        shutil.rmtree(self._work)
        for name in reversed(list(self._made.values())):
            if name.endswith(f":{self._run}"):
                self.client.images.remove(name, force=True)

    # --- each image ---

    def _make_neighbour(self) -> str:
        return self._build("neighbour", PYTHON_IMAGE, subjects=True)

    def _make_current(self) -> str:
        base = shared_images().runtime("onnx,torch")
        variables = self.client.images.get(base).attrs["Config"]["Env"]
        protected = {variable.partition("=")[0] for variable in variables} - {"PATH", "LANG"}
        assert protected == set(SETTINGS), protected
        uninstall = "python3 -m pip uninstall --quiet --yes --root-user-action=ignore thoth-models"
        gone = """python3 -c 'import importlib.util as found; assert found.find_spec("thoth_models") is None'"""
        first = ["USER root", "HEALTHCHECK NONE", f"RUN {uninstall} && rm -r /models-runtime && {gone}"]
        wheels = self._gather("current", ["gunicorn"], ROOT / "constraints.txt")
        return self._build("current", base, wheels=wheels, models=True, first=first, options=_compiling("current"))

    def _make_old(self) -> str:
        return self._build("old", self._old_environment(), models=True)

    def _make_ours_current(self) -> str:
        return self._build("ours-current", self.name_of("current"), wheels=self._our_wheel, options=" --no-deps")

    def _make_ours_old(self) -> str:
        return self._build("ours-old", self.name_of("old"), wheels=self._our_wheel, options=" --no-deps")

    def _make_ours(self) -> str:
        return self._build("ours", PYTHON_IMAGE, wheels=self._ours, models=True)

    def _old_environment(self) -> str:
        """Return an image with Python and the packages of ``old``, under a name that changes with what is in it."""
        listed = HERE / "old-pair.txt"
        base = self.client.images.get(PYTHON_IMAGE).id
        facts = "\n".join([str(base), *IMPORTED["old"], listed.read_text(encoding="utf-8")])
        repository = "thoth-hangs-old-environment"
        target = f"{repository}:{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
        if not self.client.images.list(target):
            outdated = [tag for image in self.client.images.list(repository) for tag in image.tags]
            wheels = self._gather("old", [f"--file={listed}"], listed)
            self._build_from(target, PYTHON_IMAGE, {"wheels": wheels}, options=_compiling("old"))
            for tag in outdated:
                with contextlib.suppress(APIError):  # another run is using it
                    self.client.images.remove(tag)
        return target

    # --- what they are made of ---

    @functools.cached_property
    def _work(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="thoth-hangs-"))

    @functools.cached_property
    def _ours(self) -> Path:
        return self._gather("ours", OURS, ROOT / "constraints.txt")

    @functools.cached_property
    def _our_wheel(self) -> Path:
        """Return a directory with nothing but our wheel."""
        (wheel,) = self._ours.glob("thoth_models-*.whl")
        target = self._work / "our-wheel"
        target.mkdir()
        shutil.copy(wheel, target)
        (target / "requirements.txt").write_text("thoth-models\n", encoding="utf-8")
        return target

    def _gather(self, name: str, requirements: Sequence[str], constraints: Path) -> Path:
        """Gather wheels for the Python of the base image, and return their directory."""
        target = self._work / "wheelhouses" / name
        code = "import sys, platform; print('%d.%d' % sys.version_info[:2], platform.libc_ver()[1])"
        printed = self.client.containers.run(PYTHON_IMAGE, ["python3", "-c", code], remove=True, network_mode="none")
        python, glibc = printed.decode().split()
        options = ["--to", target, "--python", python, "--glibc", glibc.partition(".")[2], "--constraints", constraints]
        finished = subprocess.run(
            [sys.executable, ROOT / "docker/wheelhouse.py", *options, *requirements],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return target

    def _build(
        self,
        name: str,
        base: str,
        *,
        wheels: Path | None = None,
        models: bool = False,
        subjects: bool = False,
        first: Sequence[str] = (),
        options: str = "",
    ) -> str:
        parts: dict[str, Path] = {}
        if wheels is not None:
            parts["wheels"] = wheels
        if models:
            parts |= {"models": self.bundle, "half": self.half}
        if models or subjects:
            parts["subjects"] = HERE / "subjects"
        target = f"thoth-hangs-{name}:{self._run}"
        self._build_from(target, base, parts, first=first, options=options)
        return target

    def _build_from(
        self, target: str, base: str, parts: Mapping[str, Path], *, first: Sequence[str] = (), options: str = ""
    ) -> None:
        lines = [f"FROM {base}", *first]
        places = {"subjects": _SUBJECTS}
        with tempfile.TemporaryDirectory(dir=self._work) as temporary:
            for part, source in parts.items():
                shutil.copytree(
                    source, Path(temporary, part), copy_function=_link, ignore=shutil.ignore_patterns("__pycache__")
                )
                lines.append(f"COPY {part} {places.get(part, f'/{part}')}")
                lines += [f"RUN {_INSTALL}{options}"] if part == "wheels" else []
            # Where the subjects are modules, and where the caches of the libraries would be.
            lines.append("ENV PYTHONPATH=/subjects PYTHONDONTWRITEBYTECODE=1 HF_HOME=/tmp/hub")
            Path(temporary, "Dockerfile").write_text("\n".join([*lines, ""]), encoding="utf-8")
            self.client.images.build(
                path=temporary, tag=target, rm=True, forcerm=True, network_mode="none", labels={LABEL: "hangs"}
            )


def _compiling(name: str) -> str:
    """Return the options of an installation that compiles no modules but those that are imported."""
    code = "; ".join(f"import {module}" for module in IMPORTED[name])
    return f" --no-compile && python3 -c '{code}'"


def _link(source: str, target: str) -> None:
    """Make a hard link, or a copy where that is another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
