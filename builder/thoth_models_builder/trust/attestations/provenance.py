"""The statement of what a bundle was built from, and by whom: https://slsa.dev/spec/v1.0/provenance. Pure.

Nothing in it depends on when it is made: the same models.yaml, lock, bundle and installed toolchain give the same
predicate, but for what the user says of the builder. docs/attestations.md describes its fields.

:mod:`thoth_models_builder.trust.attestations.compare_provenance` compares it with a bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from thoth_models_builder.spec.reviewed.records import CodeOrigin
from thoth_models_builder.trust.package_urls import package_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packageurl import PackageURL

    from thoth_models.bundle.digest import Digest
    from thoth_models.bundle.manifest import BuiltModel, Manifest, Origin
    from thoth_models_builder.spec.lockfile import LockedModel
    from thoth_models_builder.spec.plan import PlannedModel

PROVENANCE: Final = "https://slsa.dev/provenance/v1"
"""Type of the predicate."""

BUILD_TYPE: Final = "https://thoth-models/build/v1"
"""How to read the parameters and dependencies."""

COMPILER: Final = "compiler"
"""Name of the builder's own sources in a toolchain."""

PYTHON: Final = "python"
"""Name of Python in a toolchain, of which only the minor version is known."""

_NO_PACKAGES: Final = {"machine": None, PYTHON: "pkg:generic/python@{}", COMPILER: "pkg:pypi/thoth-models-builder"}
"""Members of a toolchain that are not distributions of that name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Builder:
    """Who ran a build.

    Attributes:
        id: URI of the platform that is trusted to have run it as it says.
        version: Version of thoth-models-builder.
        invocation_id: What the platform calls the run, or None.
    """

    id: str
    version: str
    invocation_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What was asked for.

    Attributes:
        bundle: Keys of ``bundle`` in models.yaml.
        planned: The models of the bundle, as specified and locked.
        settings: What decides what the files of each model say, from ``configure.settings_of``.
        specification: sha256 of models.yaml.
        lock: sha256 of models.lock.
        is_selection: Whether models.yaml has models besides these.
    """

    bundle: Mapping[str, object]
    planned: Sequence[PlannedModel]
    settings: Mapping[str, Mapping[str, object]]
    specification: Digest
    lock: Digest
    is_selection: bool


def provenance_predicate(
    manifest: Manifest, request: Request, builder: Builder, digests: Mapping[tuple[str, str], Mapping[str, str]]
) -> dict[str, Any]:
    """Return the predicate.

    Args:
        manifest: Manifest of the bundle.
        request: What was asked for.
        builder: Who ran the build.
        digests: Digests of each member of the toolchain by algorithm, as far as they are known, by name and version.
    """
    built = {name: model.built for name, model in manifest.models.items() if model.built is not None}
    external: dict[str, Any] = {
        "specification": {"name": "models.yaml", "digest": {"sha256": request.specification.hex}},
        "bundle": dict(request.bundle),
        "models": {
            model.name: without_floats(model.spec.model_dump(mode="json", exclude_unset=True))
            for model in request.planned
        },
    }
    if request.is_selection:
        external["selected"] = [model.name for model in request.planned]
    files = [
        descriptor
        for model in request.planned
        if model.name in built
        for descriptor in _files(model.name, model.locked, built[model.name].origin)
    ]
    metadata = {} if builder.invocation_id is None else {"metadata": {"invocationId": builder.invocation_id}}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": external,
            "internalParameters": {
                "models": {
                    name: {**internal_parameters(model), "settings": without_floats(request.settings[name])}
                    for name, model in built.items()
                }
            },
            "resolvedDependencies": [
                {"name": "models.lock", "digest": {"sha256": request.lock.hex}, "annotations": {"kind": "lock"}},
                *files,
                *({**tool, **_digest_of(tool, digests)} for tool in toolchain_of(manifest)),
            ],
        },
        "runDetails": {"builder": {"id": builder.id, "version": {"thoth-models-builder": builder.version}}, **metadata},
    }


def without_floats(value: object) -> Any:  # noqa: ANN401 - a JSON value
    """Return a JSON value with numbers that are not integers as strings, because canonical JSON has no floats."""
    if isinstance(value, Mapping):
        return {key: without_floats(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_floats(item) for item in value]
    return repr(value) if isinstance(value, float) else value


def internal_parameters(model: BuiltModel) -> dict[str, Any]:
    """Return what the builder decided for a model, as far as a bundle says it."""
    found: dict[str, Any] = {"variants": [variant.name for variant in model.variants]}
    if model.record is not None:
        found["derivation"] = model.record.derivation.hex
        found["omitted"] = dict(model.record.omitted)
        found["toolchain"] = dict(model.record.toolchain)
    return found


# --- dependencies ---


def _files(model: str, locked: LockedModel, origin: Origin) -> Iterator[dict[str, Any]]:
    """Yield each file of a lock entry: with the address that it has at its origin, unless it was made of others."""
    made = {file.path for file in locked.converted}
    for file in locked.files:
        uri = None if file.path in made else origin_uri(origin, file.path)
        yield _file(f"{model}/{file.path}", file.sha256, uri, kind="source", model=model, path=file.path)
    for code in locked.code:
        uri = code_uri(origin, code.name)
        yield _file(code.name, code.content.sha256, uri, kind="code", model=model, path=code.path)
    for converted in locked.converted:
        for path, content in sorted(converted.made_from.items()):
            uri = origin_uri(origin, path)
            yield _file(f"{model}/{path}", content.sha256, uri, kind="pickle", model=model, path=path)


def _file(name: str, digest: Digest, uri: str | None, **annotations: str) -> dict[str, Any]:
    return {
        "name": name,
        **({} if uri is None else {"uri": uri}),
        "digest": {"sha256": digest.hex},
        "annotations": annotations,
    }


def origin_uri(origin: Origin, path: str) -> str | None:
    """Return the address of a file of a model; None if its origin has none."""
    # A wheel has the model in a directory of it, which the lock's sources have; the file is known by its path there.
    return _text(package_url(origin.kind, origin.id, origin.revision, path if origin.kind == "hub" else None))


def code_uri(origin: Origin, name: str) -> str | None:
    """Return the address of reviewed code by its name in the lock, which may have another repository."""
    other = CodeOrigin.of(name)
    if other is None:
        return origin_uri(origin, name)
    return _text(package_url("hub", other.repository, other.revision, other.path))


def _text(url: PackageURL | None) -> str | None:
    return None if url is None else url.to_string()


def toolchain_of(manifest: Manifest) -> list[dict[str, Any]]:
    """Return what took part in compiling any model, without digests, which a bundle does not have."""
    records = [model.built.record for model in manifest.models.values() if model.built is not None]
    used = sorted({member for record in records if record is not None for member in record.toolchain.items()})
    return [
        {"name": name, "uri": uri, "annotations": {"kind": "toolchain", "version": version}}
        for name, version in used
        if (uri := tool_uri(name, version)) is not None
    ]


def _digest_of(tool: Mapping[str, Any], digests: Mapping[tuple[str, str], Mapping[str, str]]) -> dict[str, Any]:
    known = digests.get((tool["name"], tool["annotations"]["version"]))
    return {} if known is None else {"digest": dict(known)}


def tool_uri(name: str, version: str) -> str | None:
    """Return the address of a member of a toolchain; None if it has none."""
    if name in _NO_PACKAGES:
        form = _NO_PACKAGES[name]
        return None if form is None else form.format(version)
    return _text(package_url("wheel", f"{name}=={version}"))
