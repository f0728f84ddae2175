"""Models, specifications and command lines for the tests of the builder.

The models have the files of a sentence-transformers model that the builder reads, and random weights, so none of these
tests needs torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import thoth_models
import thoth_models_builder
from thoth_models.verification.verify import verify
from thoth_models_builder.pipeline import build, lock
from thoth_models_builder.sources.limits import Limits
from thoth_models_builder.spec.lockfile import Lock
from thoth_models_builder.spec.models_yaml import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from thoth_models.bundle.manifest import Manifest
    from thoth_models_builder.reports.results import BuildReport, LockReport
    from thoth_models_builder.spec.models_yaml import Spec
    from thoth_models_builder.watcher import CompileProgress

REPOSITORY = Path(__file__).parents[2]
DIMENSION = 8
COMMIT = "a" * 40

FAST = Limits(
    connect=5, read=2, stall_window=2, attempts=2, backoff=0.01, max_backoff=0.05, file_deadline=20, wheel_deadline=60
)
"""Waits short enough for a test, long enough for a busy machine."""

FAST_OPTIONS = ("--attempts=2", "--read-timeout=2", "--connect-timeout=5", "--stall-window=2", "--file-deadline=20")


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def weights_of(seed: str, size: int) -> bytes:
    """Return a file in the format of safetensors, with noise in it."""
    header = as_json({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + hashlib.shake_256(seed.encode()).digest(size)


def model_files(
    seed: str, *, dimension: int = DIMENSION, size: int = 4000, prompts: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """Return what a repository of a small model holds, by path; ``seed`` makes its weights and vocabulary its own."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds)
    ]
    return {
        "README.md": b"---\nlicense: apache-2.0\n---\n# A model\n",
        "modules.json": as_json(modules),
        "config.json": as_json({"model_type": "bert", "hidden_size": dimension, "max_position_embeddings": 64}),
        "config_sentence_transformers.json": as_json({"prompts": prompts or {}, "similarity_fn_name": "cosine"}),
        "sentence_bert_config.json": as_json({"max_seq_length": 16, "do_lower_case": False}),
        "1_Pooling/config.json": as_json({"word_embedding_dimension": dimension, "pooling_mode_mean_tokens": True}),
        "tokenizer.json": as_json({"version": "1.0", "seed": seed}),
        "tokenizer_config.json": as_json({"tokenizer_class": "BertTokenizer", "model_max_length": 64}),
        "special_tokens_map.json": as_json({"unk_token": "[UNK]"}),
        "vocab.txt": f"[UNK]\n{seed}\n".encode(),
        "model.safetensors": weights_of(seed, size),
    }


NEEDED = tuple(sorted(set(model_files("x")) - {"README.md"}))
"""The paths of :func:`model_files` that a lock records."""


def write_files(directory: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return directory


def write_wheel(directory: Path, name: str, version: str, below: str, files: Mapping[str, bytes]) -> Path:
    """Write a wheel that pip is willing to download, with ``files`` below a directory in it."""
    directory.mkdir(parents=True, exist_ok=True)
    package = name.replace("-", "_")
    about = f"{package}-{version}.dist-info"
    members = {
        **{f"{below}/{path}": data for path, data in files.items()},
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": b"",
    }
    wheel = directory / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in members.items():
            archive.writestr(path, data)
    return wheel


def specification(models: Mapping[str, Mapping[str, Any]], *, default: str | None = None, **keys: Any) -> str:
    """Return a models.yaml; JSON is YAML. Each model ships ``torch-fp32`` without a proof unless it says otherwise."""
    document = {
        "version": 1,
        "bundle": {"name": "test-bundle", "default": default or next(iter(models))},
        "models": {name: {"variants": ["torch-fp32"], "golden": False, **model} for name, model in models.items()},
        **keys,
    }
    return json.dumps(document, indent=2)


def spec_of(models: Mapping[str, Mapping[str, Any]], *, default: str | None = None) -> Spec:
    return parse_spec(specification(models, default=default).encode(), "models.yaml")


@dataclass
class StepRecorder:
    """Progress of compiling that keeps what it is told: one entry for each call."""

    calls: list[tuple[str, ...]] = field(default_factory=list)

    def begin(self, model: str, steps: Sequence[str]) -> None:
        self.calls.append(("begin", model, *steps))

    def begin_step(self, model: str, step: str) -> None:
        self.calls.append(("begin_step", model, step))

    def end_step(self, model: str, step: str, seconds: float) -> None:
        assert seconds > 0
        self.calls.append(("end_step", model, step))

    def end(self, model: str) -> None:
        self.calls.append(("end", model))


@dataclass
class Recorder:
    """A watcher that keeps what it is told."""

    notes: list[str] = field(default_factory=list)
    transfers: dict[str, int] = field(default_factory=dict)
    steps: StepRecorder = field(default_factory=StepRecorder)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def transfer(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        import contextlib

        @contextlib.contextmanager
        def counted() -> Iterator[Callable[[int], None]]:
            def advance(count: int) -> None:
                self.transfers[label] += count

            self.transfers.setdefault(label, 0)
            yield advance

        return counted()

    def compiling(self) -> AbstractContextManager[CompileProgress]:
        import contextlib

        return contextlib.nullcontext(self.steps)


@dataclass
class Project:
    """A directory with a models.yaml, and the places that the commands use."""

    root: Path
    watcher: Recorder = field(default_factory=Recorder)

    @property
    def file(self) -> Path:
        return self.root / "models.yaml"

    @property
    def lock_file(self) -> Path:
        return self.root / "models.lock"

    @property
    def output(self) -> Path:
        return self.root / "bundle"

    @property
    def store(self) -> Path:
        return self.root / "store"

    def specify(self, models: Mapping[str, Mapping[str, Any]], *, default: str | None = None, **keys: Any) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.file.write_text(specification(models, default=default, **keys), encoding="utf-8")

    def lock(self, **changes: Any) -> LockReport:
        options = {"limits": FAST, "watcher": self.watcher, **changes}
        return lock.lock(self.file, self.lock_file, self.store, **options)

    def locked(self) -> Lock:
        return Lock.from_bytes(self.lock_file.read_bytes(), "models.lock")

    def options(self, **changes: Any) -> build.BuildOptions:
        places = {"file": self.file, "lock": self.lock_file, "output": self.output, "store": self.store}
        return build.BuildOptions(**{**places, "limits": FAST, **changes})

    def build(self, **changes: Any) -> BuildReport:
        return build.build(self.options(**changes), self.watcher)

    def arguments(self, command: str, *more: str) -> list[str]:
        """Return the command line of ``lock``, ``build`` or ``gc`` in this project."""
        places = [f"--lock={self.lock_file}", f"--store={self.store}"]
        if command != "gc":
            places = [f"--file={self.file}", *places, *FAST_OPTIONS]
        if command == "build":
            places.append(f"--output={self.output}")
        return [command, *places, *more]


def environment_of_children(**more: str) -> dict[str, str]:
    """Return the environment for another interpreter that imports the same packages as this one."""
    places = [Path(package.__file__ or "").parents[1] for package in (thoth_models, thoth_models_builder)]
    # Coverage's variables go, or the process would measure without its configuration.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    return {**inherited, "PYTHONPATH": os.pathsep.join(map(str, dict.fromkeys(places))), **more}


def run_builder(*arguments: str, timeout: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "thoth_models_builder", *arguments],
        env=options.pop("env", None) or environment_of_children(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


@dataclass(frozen=True)
class Entry:
    """All that can be told of a directory entry without using it; access times change by looking."""

    mode: int
    inode: int
    owner: int
    modified: int
    content: bytes | str | None

    @classmethod
    def of(cls, path: Path) -> Entry:
        status = path.lstat()
        content: bytes | str | None = None
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        return cls(status.st_mode, status.st_ino, status.st_uid, status.st_mtime_ns, content)


def snapshot(root: Path) -> dict[str, Entry]:
    """Return everything below ``root``, and ``root`` itself, by path."""
    paths = [root, *root.rglob("*")] if root.exists() else []
    return {str(path.relative_to(root)): Entry.of(path) for path in paths}


def contents(root: Path) -> dict[str, bytes]:
    """Return the bytes of every file below ``root``, by path."""
    return {path: entry.content for path, entry in snapshot(root).items() if isinstance(entry.content, bytes)}


def is_intact(output: Path) -> Manifest:
    """Verify a bundle and return what it says of itself."""
    return verify(output, strict=True).manifest


def sources_of(report: BuildReport, model: str) -> set[str]:
    """Return where the files of a model came from."""
    (found,) = [built for built in report.models if built.name == model]
    return {file.source for file in found.files}
