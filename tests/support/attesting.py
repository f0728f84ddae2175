"""A bundle with compiled models, and the models.yaml and models.lock that it follows from, without compiling any."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from tests.support.bundles import measure, seal
from tests.support.projects import specification
from thoth_models.bundle.accuracy import Gate
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models.bundle.model import ConfiguredFile
from thoth_models_builder.bundle.compiler_sources import sources_digest
from thoth_models_builder.bundle.compose_manifest import ModelInputs, compose
from thoth_models_builder.bundle.configure import settings_of
from thoth_models_builder.bundle.derivation import Derived, cache_key
from thoth_models_builder.bundle.describe import ModelFacts
from thoth_models_builder.pipeline.signing.attest import AttestOptions
from thoth_models_builder.spec.lockfile import Lock, LockedFile, LockedModel, locked_sources
from thoth_models_builder.spec.models_yaml import parse_spec
from thoth_models_builder.spec.plan import PlannedModel
from thoth_models_builder.spec.reviewed.records import ConvertedFile, LockedCode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.signing import Key
    from thoth_models.bundle.manifest import Manifest
    from thoth_models_builder.spec.models_yaml import ModelSpec, Spec

COMMIT: Final = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
BUILDER_ID: Final = "https://ci.example.org/models"
MODELS: Final[dict[str, dict[str, Any]]] = {
    # Its source files are in the bundle, one of them changed.
    "mini": {
        "sources": [{"hub": "acme/mini", "revision": COMMIT}, {"directory": "mirror"}],
        "variants": ["onnx-fp32", "torch-fp32"],
        "golden": True,
        "max_seq_length": 128,
        "int8_floor": {"minimum_cosine": 0.9},
    },
    # Its source files are not: only the cache key says what it was compiled from.
    "other": {
        "sources": [{"wheel": "acme-other==1.0+cpu", "path": "acme_other/model"}],
        "variants": ["onnx-fp32"],
        "golden": True,
        "pooling": ["mean", "cls"],
    },
    "coded": {
        "sources": [{"hub": "acme/coded", "revision": COMMIT}],
        "variants": ["onnx-fp32"],
        "golden": True,
        "code": {"modeling.py": Digest.of(b"code").hex, f"acme/parts@{COMMIT}:parts.py": Digest.of(b"parts").hex},
        "pickle": "convert",
    },
    # Nothing is compiled of it.
    "plain": {"sources": [{"directory": "plain"}], "variants": ["torch-fp32"]},
}
LICENCES: Final = {"mini": "apache-2.0", "other": "our own terms", "coded": "MIT OR Apache-2.0", "plain": None}
CHANGED: Final = ConfiguredFile(path="config.json", origin=Digest.of(b"mini/config.json"), reasons=("a reason",))


def _content(data: bytes) -> ContentDigest:
    return ContentDigest(size=len(data), sha256=Digest.of(data))


@dataclass(frozen=True)
class Attestable:
    """A bundle below ``root``, and what it was built from beside it; torch is of a version that does not exist."""

    root: Path
    release: int | None = None
    directory: str = "bundle"
    torch: str | None = "0.0.1+cpu"

    @property
    def bundle(self) -> Path:
        return self.root / self.directory

    @cached_property
    def spec(self) -> Spec:
        return parse_spec((self.root / "models.yaml").read_bytes(), "models.yaml")

    @cached_property
    def lock(self) -> Lock:
        return Lock.from_bytes((self.root / "models.lock").read_bytes(), "models.lock")

    @cached_property
    def planned(self) -> list[PlannedModel]:
        return [PlannedModel(name=name, spec=self.spec.models[name], locked=self.lock.models[name]) for name in MODELS]

    def toolchain(self) -> dict[str, str]:
        return {
            "compiler": sources_digest().short,
            "machine": "x86_64",
            "numpy": metadata.version("numpy"),
            "python": "3.11",
            **({} if self.torch is None else {"torch": self.torch}),
        }

    def write(self, *, name: str = "test-bundle") -> Manifest:
        """Write everything, the report of the build included."""
        document = json.loads(specification(MODELS))
        document["bundle"] = {"name": name, "default": "mini"}
        if self.release is not None:
            document["bundle"]["release"] = self.release
        (self.root / "models.yaml").write_text(json.dumps(document), encoding="utf-8")
        locked = {model: _locked(model, spec) for model, spec in self.spec.models.items()}
        (self.root / "models.lock").write_bytes(Lock(models=locked).to_bytes())
        inputs = {model.name: _inputs(model, self.toolchain()) for model in self.planned}
        manifest = compose(self.spec.bundle, self.planned, inputs)
        for path in manifest.files:
            (self.bundle / path).parent.mkdir(parents=True, exist_ok=True)
            (self.bundle / path).write_bytes(b"as configured" if path == "mini/source/config.json" else path.encode())
        seal(self.bundle, manifest)
        measure(self.bundle, manifest)
        return manifest


def attest_options(root: Path, key: Key, **more: Any) -> AttestOptions:
    """Return the options that attest what :class:`Attestable` wrote below ``root``."""
    options: dict[str, Any] = {"builder_id": BUILDER_ID, "lock": root / "models.lock", "key": key.file, **more}
    return AttestOptions(bundle=root / "bundle", file=root / "models.yaml", **options)


def _source(model: str, path: str) -> bytes:
    return f"{model}/source/{path}".encode() if path != "config.json" or model != "mini" else b"mini/config.json"


def _locked(name: str, spec: ModelSpec) -> LockedModel:
    paths = ["config.json", "model.safetensors", "modules.json"]
    files = [_content(_source(name, path)) for path in paths]
    is_coded = name == "coded"
    return LockedModel(
        sources=locked_sources(spec),
        variants=tuple(sorted(spec.variants)),
        revision=COMMIT if name in ("mini", "coded") else None,
        license=LICENCES[name],
        dimension=8,
        files=tuple(
            LockedFile(path=path, size=content.size, sha256=content.sha256)
            for path, content in zip(paths, files, strict=True)
        ),
        code=(
            LockedCode(name=f"acme/parts@{COMMIT}:parts.py", path="parts.py", content=_content(b"parts")),
            LockedCode(name="modeling.py", path="modeling.py", content=_content(b"code")),
        )
        if is_coded
        else (),
        converted=(
            ConvertedFile(
                path="model.safetensors", content=files[1], made_from={"pytorch_model.bin": _content(b"pickle")}
            ),
        )
        if is_coded
        else (),
    )


def _inputs(model: PlannedModel, toolchain: Mapping[str, str]) -> ModelInputs:
    contents = {file.path: ContentDigest(size=file.size, sha256=file.sha256) for file in model.locked.files}
    made = {"onnx-fp32/model.onnx", "golden.json"}
    key = cache_key(
        {**contents, **{code.path: code.content for code in model.locked.code}},
        model.spec.variants,
        toolchain,
        settings_of(model.spec),
    )
    if model.name == "mini":
        contents["config.json"] = _content(b"as configured")
    return ModelInputs(
        model=model,
        contents=contents,
        facts=ModelFacts(
            dimension=8,
            max_seq_length=16,
            pooling="mean",
            has_normalize=True,
            similarity="cosine",
            prompts={},
            default_prompt_name=None,
        ),
        space=Digest.of(model.name.encode()),
        derived=None
        if model.name == "plain"
        else Derived(
            files={path: _content(f"{model.name}/{path}".encode()) for path in made},
            golden="golden.json",
            variants=tuple(model.spec.variants),
            omitted={},
            derivation=key,
            toolchain=toolchain,
            gates={variant: Gate.of(0.99) for variant in model.spec.variants},
        ),
        configured=(CHANGED,) if model.name == "mini" else (),
    )
