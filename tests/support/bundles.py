"""Bundles made without the builder: of real model directories, or of invented bytes where no library has to read them.

Also what tests do to a bundle: damage it, as an attacker or a broken disk would. Modes are those of a real bundle,
files 0444 and directories 0555, so a helper lifts them where that is needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thoth_models import backends
from thoth_models.bundle.accuracy import Accuracy, Gate
from thoth_models.bundle.digest import Digest, hash_file
from thoth_models.bundle.golden import GOLDEN_NAME, Golden
from thoth_models.bundle.manifest import (
    CHECKSUMS_NAME,
    MANIFEST_NAME,
    Alternate,
    BuildRecord,
    BuiltModel,
    ConfiguredFile,
    Manifest,
    Model,
    Origin,
    Variant,
)
from thoth_models.bundle.report import Report
from thoth_models.bundle.space import possible_spaces
from thoth_models.embedding import Embedding
from thoth_models.info import EmbeddingInfo
from thoth_models.verification.report_file import report_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pytest

    from tests.support.tiny_models import TinyModel
    from thoth_models.types import Backend, FloatArray
    from thoth_models.verification.verify import VerifiedVariant

DIMENSION = 8
"""Length of the vectors of invented models."""


@dataclass(frozen=True)
class Sparse:
    """Content of a large file that takes no room: zeros, but for ``parts`` by offset."""

    size: int
    parts: Mapping[int, bytes] = field(default_factory=dict)


Content = bytes | Path | Sparse


@dataclass(frozen=True, kw_only=True)
class VariantPlan:
    """One variant of a bundle to make. ``files`` are by path below its directory."""

    files: Mapping[str, Content]
    backend: str = "torch"
    directory: str = "source"
    gate: Gate | None = None


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """One model of a bundle to make; one without variants is absent."""

    name: str
    variants: Mapping[str, VariantPlan]
    aliases: tuple[str, ...] = ()
    alternates: tuple[tuple[str, str], ...] = ()
    dimension: int = DIMENSION
    max_seq_length: int | None = 16
    pooling: str = "mean"
    normalize: bool = True
    similarity: str = "cosine"
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    space: str | None = None  # any text; models with equal texts share a space; None for that of its files, if any
    license: str | None = "apache-2.0"
    revision: str | None = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
    golden: Golden | None = None
    configured: tuple[ConfiguredFile, ...] = ()


def put_backend(monkeypatch: pytest.MonkeyPatch, load: Callable[[VerifiedVariant], Any]) -> None:
    """Have ``load`` make the backends of all variants, without the libraries that the real ones import."""
    monkeypatch.setattr(backends, "BACKENDS", dict.fromkeys(backends.BACKENDS, lambda: load))


def invented_files(name: str) -> dict[str, Content]:
    """Files with the names of a small model and bytes that mean nothing."""
    return {
        "modules.json": f"modules of {name}\n".encode(),
        "model.safetensors": hashlib.shake_256(name.encode()).digest(3000),
        "1_Pooling/config.json": f"pooling of {name}\n".encode(),
        "empty.txt": b"",
    }


def invented_model(
    name: str,
    *,
    variants: Sequence[str] = ("torch-fp32",),
    more: Mapping[str, Content] | None = None,
    aliases: tuple[str, ...] = (),
    alternates: tuple[tuple[str, str], ...] = (),
    dimension: int = DIMENSION,
    space: str | None = None,
    prompts: Mapping[str, str] | None = None,
    default_prompt_name: str | None = None,
    normalize: bool = True,
) -> ModelPlan:
    """Plan a model of invented bytes; each variant has a directory of its own."""
    plans = {
        variant: VariantPlan(
            files={**invented_files(f"{name}/{variant}"), **(more or {})},
            directory="source" if variant == "torch-fp32" else variant,
        )
        for variant in variants
    }
    return ModelPlan(
        name=name,
        variants=plans,
        aliases=aliases,
        alternates=alternates,
        dimension=dimension,
        space=space,
        prompts=prompts or {},
        default_prompt_name=default_prompt_name,
        normalize=normalize,
    )


def golden_of(texts: Sequence[str], *, prompts: Sequence[str] | None = None, dimension: int = DIMENSION) -> Golden:
    """Golden vectors as :class:`FakeBackend` gives them."""
    chosen = tuple(prompts or [""] * len(texts))
    backend = FakeBackend(dimension)
    vectors = np.stack([backend.vector(text, prompt) for text, prompt in zip(texts, chosen, strict=True)])
    return Golden(texts=tuple(texts), prompts=chosen, vectors=vectors)


def proved(plan: ModelPlan, golden: Golden, *, required_cosine: float = 0.99) -> ModelPlan:
    """Return the plan with golden vectors, which each of its variants was measured against."""
    gate = Gate.of(required_cosine)
    variants = {name: replace(variant, gate=gate) for name, variant in plan.variants.items()}
    return replace(plan, variants=variants, golden=golden)


def tiny_plan(
    name: str,
    tiny: TinyModel,
    *,
    aliases: tuple[str, ...] = (),
    alternates: tuple[tuple[str, str], ...] = (),
    normalize: bool = True,
) -> ModelPlan:
    """Plan a model of the files that sentence-transformers wrote."""
    paths = sorted(path for path in tiny.directory.rglob("*") if path.is_file())
    settings = json.loads((tiny.directory / "config_sentence_transformers.json").read_bytes())
    return ModelPlan(
        name=name,
        variants={"torch-fp32": VariantPlan(files={str(path.relative_to(tiny.directory)): path for path in paths})},
        aliases=aliases,
        alternates=alternates,
        dimension=tiny.dimension,
        max_seq_length=tiny.max_seq_length,
        pooling=tiny.pooling,
        normalize=normalize,
        similarity=settings["similarity_fn_name"],
        prompts={"query": "", "document": "", **settings["prompts"]},
        default_prompt_name=settings["default_prompt_name"],
    )


def make_bundle(
    root: Path,
    models: Sequence[ModelPlan],
    *,
    default: str | None = None,
    name: str = "test-bundle",
    release: int | None = None,
) -> Manifest:
    """Write a complete bundle to ``root``, sealed, and return its manifest."""
    contents = {
        f"{model.name}/{variant.directory}/{path}": content
        for model in models
        for variant in model.variants.values()
        for path, content in variant.files.items()
    }
    contents |= {f"{model.name}/{GOLDEN_NAME}": model.golden.to_bytes() for model in models if model.golden is not None}
    for path, content in contents.items():
        _write(root / path, content)
    root.mkdir(parents=True, exist_ok=True)
    digests = {}
    for path in sorted(contents):
        with (root / path).open("rb") as file:
            digests[path] = hash_file(file)
    manifest = Manifest(
        name=name,
        default=default,
        models={model.name: _model(model) for model in models},
        files=digests,
        release=release,
    )
    seal(root, manifest)
    return manifest


def measure(
    root: Path, manifest: Manifest, *, minimum_cosine: float = 1.0, bundle_digest: Digest | None = None
) -> Path:
    """Write a report beside a bundle that says the same figures of every variant, and return its path."""
    accuracy = Accuracy(minimum_cosine=minimum_cosine, mean_cosine=1.0, largest_difference=0.0, neighbour_agreement=1.0)
    models = {
        model.name: {variant.name: accuracy for variant in model.built.variants}
        for model in manifest.models.values()
        if model.built is not None
    }
    report = Report(bundle_digest=bundle_digest or Digest.of(manifest.to_bytes()), models=models)
    path = report_path(root)
    path.write_bytes(report.to_bytes())
    return path


def seal(root: Path, manifest: Manifest) -> None:
    """Write manifest and checksum list, and take all permissions to write away."""
    make_writable(root)
    (root / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    (root / CHECKSUMS_NAME).write_bytes(manifest.checksums())
    make_read_only(root)


def make_read_only(root: Path) -> None:
    """Give every file and directory the mode that it has in a bundle."""
    for path in [*root.rglob("*"), root]:
        if not path.is_symlink() and (path.is_file() or path.is_dir()):
            path.chmod(0o555 if path.is_dir() else 0o444)


def make_writable(root: Path) -> None:
    """Let the owner change and remove everything below ``root``."""
    if not root.exists():
        return
    root.chmod(0o755)
    # One level after the other: what lies in a directory can be listed only once that is readable.
    for path in root.iterdir():
        if path.is_symlink():
            continue
        if path.is_dir():
            make_writable(path)
        elif path.is_file():
            path.chmod(0o644)


def make_removable(root: Path) -> None:
    """Let the owner remove everything below ``root``; files stay as they are, since other trees may link to them."""
    for directory in (root, *root.rglob("*")):
        if directory.is_dir() and not directory.is_symlink():
            directory.chmod(0o755)


@contextlib.contextmanager
def opened(root: Path) -> Iterator[Path]:
    """Lift the modes of a bundle while something in it is changed, and restore them."""
    make_writable(root)
    yield root
    make_read_only(root)


def flip_bit(root: Path, path: str, *, offset: int = 0, bit: int = 0) -> None:
    """Change one bit of a file, and neither its length nor its mode."""
    with opened(root), (root / path).open("r+b") as file:
        file.seek(offset)
        old = file.read(1)
        file.seek(offset)
        file.write(bytes([old[0] ^ (1 << bit)]))


def replace_manifest(root: Path, data: bytes, *, adjust_checksums: bool) -> None:
    """Put other bytes in place of the manifest, and adjust its line in the checksum list or not."""
    with opened(root):
        checksums = (root / CHECKSUMS_NAME).read_text(encoding="utf-8")
        old = Digest.of((root / MANIFEST_NAME).read_bytes()).hex
        (root / MANIFEST_NAME).write_bytes(data)
        if adjust_checksums:
            checksums = checksums.replace(old, Digest.of(data).hex)
            (root / CHECKSUMS_NAME).write_text(checksums, encoding="utf-8")


class FakeBackend:
    """Vectors that follow from prompt and text, at no cost; keeps what it was asked for."""

    def __init__(self, dimension: int = DIMENSION) -> None:
        self.dimension = dimension
        self.texts: list[str] = []
        self.prompts: list[str | None] = []
        self.batch_sizes: list[int | None] = []

    def encode(
        self, texts: list[str], *, prompt: str | None, batch_size: int | None, show_progress_bar: bool
    ) -> FloatArray:
        self.texts += texts
        self.prompts.append(prompt)
        self.batch_sizes.append(batch_size)
        return np.stack([self.vector(text, prompt) for text in texts])

    def vector(self, text: str, prompt: str | None = None) -> FloatArray:
        data = hashlib.shake_256(f"{prompt or ''}{text}".encode()).digest(self.dimension)
        return np.frombuffer(data, dtype=np.uint8).astype(np.float32) - 128


def embedding_of(plan: ModelPlan, backend: Backend) -> Embedding:
    """Make an embedding as loading would, around a backend of the test's own."""
    model = _model(plan)
    assert model.built is not None
    info = EmbeddingInfo(
        requested=plan.name,
        model=plan.name,
        variant="torch-fp32",
        revision=plan.revision,
        space=model.built.space.hex,
        bundle_digest=Digest.of(b"bundle").hex,
        fallback=None,
        attempts=(),
        golden_cosine=None,
        verify_seconds=0.0,
        load_seconds=0.0,
    )
    return Embedding(backend, model, model.built, info)


def copy_bundle(source: Path, target: Path) -> Path:
    """Copy a bundle to where a test may damage it."""
    return Path(shutil.copytree(source, target, symlinks=True))


def _write(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        path.write_bytes(content.read_bytes())
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with path.open("wb") as file:
            file.truncate(content.size)
            for offset, part in content.parts.items():
                file.seek(offset)
                file.write(part)


def _model(plan: ModelPlan) -> Model:
    return Model(
        name=plan.name,
        aliases=tuple(sorted(plan.aliases)),
        alternates=tuple(
            Alternate(model=model, accepts_other_space=other_space == "accept")
            for model, other_space in plan.alternates
        ),
        dimension=plan.dimension,
        built=_built(plan) if plan.variants else None,
    )


def _built(plan: ModelPlan) -> BuiltModel:
    built = _without_space(plan)
    if plan.space is not None:
        return built
    for variant in plan.variants.values():
        if variant.backend == "torch":
            # Invented files are not JSON, and have no space.
            with contextlib.suppress(TypeError, ValueError):
                return replace(built, space=space_of(variant.files, built, plan.dimension))
    return built


def space_of(files: Mapping[str, Content], built: BuiltModel, dimension: int) -> Digest:
    """Return the space of the files of a model, with what its manifest says of them."""

    def data(path: str) -> bytes:
        content = files[path]
        return content if isinstance(content, bytes) else content.read_bytes() if isinstance(content, Path) else b""

    def read(path: str, kind: type[Any]) -> Any:
        value = json.loads(data(path))
        if not isinstance(value, kind):
            raise TypeError(path)
        return value

    if "modules.json" in files:
        read("modules.json", list)
    return next(possible_spaces({path: Digest.of(data(path)) for path in files}, read, built, dimension))


def _without_space(plan: ModelPlan) -> BuiltModel:
    return BuiltModel(
        origin=Origin(kind="hub", id=f"tests/{plan.name}", revision=plan.revision),
        license=plan.license,
        max_seq_length=plan.max_seq_length,
        pooling=plan.pooling,
        normalize=plan.normalize,
        similarity=plan.similarity,
        prompts=plan.prompts,
        default_prompt_name=plan.default_prompt_name,
        space=Digest.of((plan.space or plan.name).encode()),
        variants=tuple(_variant(plan.name, name, variant) for name, variant in plan.variants.items()),
        record=None
        if plan.golden is None
        else BuildRecord(
            golden=f"{plan.name}/{GOLDEN_NAME}",
            derivation=Digest.of(plan.golden.to_bytes()),
            toolchain={"some-library": "1.0"},
            omitted={},
        ),
        configured=plan.configured,
    )


def _variant(model: str, name: str, plan: VariantPlan) -> Variant:
    directory = f"{model}/{plan.directory}"
    return Variant(
        name=name,
        backend=plan.backend,
        precision=name.rpartition("-")[2],
        directory=directory,
        files=tuple(sorted(f"{directory}/{path}" for path in plan.files)),
        gate=plan.gate,
    )
