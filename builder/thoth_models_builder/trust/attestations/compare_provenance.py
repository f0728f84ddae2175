"""Compare a statement of provenance with the manifest of the bundle that it is about. Pure.

What it states is bound to the bundle twice. The manifest has the sha256 of each source file that the bundle ships, of
reviewed code and of converted pickles, and the toolchain. And it has the cache key of each compilation, which is the
digest of all source files, the settings and the toolchain together: so the lock entry of a model whose source files are
not in the bundle is compared as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.spec.variants import SOURCE_DIRECTORY
from thoth_models_builder.trust.attestations.differences import Difference, differences, shown
from thoth_models_builder.trust.attestations.provenance import (
    BUILD_TYPE,
    COMPILER,
    code_uri,
    internal_parameters,
    origin_uri,
    toolchain_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from thoth_models.bundle.canonical_json import Node
    from thoth_models.bundle.manifest import BuiltModel, Manifest

    _Files = Mapping[str, Mapping[str, "_File"]]
    CacheKey = Callable[[Mapping[str, ContentDigest], Sequence[str], Mapping[str, str], Mapping[str, object]], Digest]

_KINDS: Final = ("source", "code", "pickle")
"""Kinds of dependencies that are files of a model."""


def provenance_differences(predicate: Node, manifest: Manifest, cache_key: CacheKey) -> Iterator[Difference]:
    """Yield what of the predicate is not so by the manifest of the bundle.

    Args:
        predicate: The predicate.
        manifest: Manifest of the bundle that it is about.
        cache_key: ``derivation.cache_key``.

    Raises:
        FormatError: The predicate has another form, or is of another type of build.
    """
    definition = predicate["buildDefinition"]
    definition["buildType"].one_of(BUILD_TYPE)
    bundle = definition["externalParameters"]["bundle"]
    stated = {"name": manifest.name, **({} if manifest.release is None else {"release": manifest.release})}
    # A bundle of some models of a specification may lack its default.
    default = manifest.default or (bundle["default"].value if "default" in bundle else None)
    yield from differences({**stated, "default": default}, bundle)
    models = definition["externalParameters"]["models"]
    if (names := sorted(node.key for node in models.mapping())) != sorted(manifest.models):
        yield Difference(models.path, shown(sorted(manifest.models)), shown(names))
    internal = definition["internalParameters"]["models"]
    built = {name: model.built for name, model in manifest.models.items() if model.built is not None}
    if (names := sorted(node.key for node in internal.mapping())) != sorted(built):
        yield Difference(internal.path, shown(sorted(built)), shown(names))
    dependencies = _Dependencies(definition["resolvedDependencies"])
    for name in sorted(dependencies.models - built.keys()):
        yield Difference(dependencies.path, "files of models in the bundle", f"files of {shown(name)}")
    for name, model in built.items():
        files = dependencies.of_model(name)
        yield from _file_differences(name, model, manifest, files)
        if name in internal and name in models:
            stated = {**internal_parameters(model), "settings": internal[name]["settings"].value}
            yield from differences(stated, internal[name])
            if (record := model.record) is not None:
                key = _key_of(files, models[name], internal[name], record.toolchain, cache_key)
                if key != record.derivation:
                    what = f"lock entries, settings and variants that give the cache key {record.derivation}"
                    yield Difference(f"resolvedDependencies: {name}", what, f"some that give {key}")
    yield from _tool_differences(dependencies, manifest)


def _file_differences(name: str, model: BuiltModel, manifest: Manifest, files: _Files) -> Iterator[Difference]:
    """Compare the files of a lock entry with what the manifest says of them and of their origin."""
    where, record, origin = f"resolvedDependencies: {name}", model.record, model.origin
    shipped = _shipped_sources(name, model, manifest)
    sources = {path: file.sha256.hex for path, file in files["source"].items()}
    if not any(path.startswith(f"{name}/{SOURCE_DIRECTORY}/") for path in manifest.files):
        # Without its source directory, a bundle knows only the files that were changed; the cache key has the others.
        sources = {path: sha256 for path, sha256 in sources.items() if path in shipped}
    code = {file.name: file for file in files["code"].values()}
    converted = {} if record is None else record.converted
    made_from = {path: sha256 for made, both in converted.items() for path, sha256 in both.items() if path != made}
    for expected, found in (
        (shipped, sources),
        ({} if record is None else record.code, {name: file.sha256.hex for name, file in code.items()}),
        (made_from, {path: file.sha256.hex for path, file in files["pickle"].items()}),
    ):
        yield from _entry_differences(where, "sha256", expected, found)
    # What was made of pickles has no address.
    addresses = {path: None if path in converted else origin_uri(origin, path) for path in files["source"]}
    addresses |= {path: origin_uri(origin, path) for path in files["pickle"]}
    addresses |= {name: code_uri(origin, name) for name in code}
    stated = {path: file.uri for path, file in {**files["source"], **files["pickle"], **code}.items()}
    yield from _entry_differences(where, "uri", addresses, stated)


def _entry_differences(
    where: str, what: str, expected: Mapping[str, str | None], found: Mapping[str, str | None]
) -> Iterator[Difference]:
    for name in sorted({*expected, *found}):
        both = [f"{what} {side[name]}" if name in side else "no such entry" for side in (expected, found)]
        if both[0] != both[1]:
            yield Difference(f"{where}/{name}", *both)


def _key_of(files: _Files, entry: Node, internal: Node, toolchain: Mapping[str, str], cache_key: CacheKey) -> Digest:
    """Return the cache key that follows from what was attested."""
    contents = {
        path: ContentDigest(size=0, sha256=file.sha256)
        for kind in ("source", "code")
        for path, file in files[kind].items()
    }
    settings = {node.key: node.value for node in internal["settings"].mapping()}
    return cache_key(contents, [item.text() for item in entry["variants"].items()], toolchain, settings)


def _shipped_sources(name: str, model: BuiltModel, manifest: Manifest) -> dict[str, str]:
    """Return the sha256 that the manifest says each source file had at its origin, by path in the model's directory."""
    prefix = f"{name}/{SOURCE_DIRECTORY}/"
    found = {
        path.removeprefix(prefix): content.sha256.hex
        for path, content in manifest.files.items()
        if path.startswith(prefix)
    }
    for file in model.configured:
        found.pop(file.path, None)
        if file.origin is not None:
            found[file.path] = file.origin.hex
    return found


def _tool_differences(dependencies: _Dependencies, manifest: Manifest) -> Iterator[Difference]:
    where = "resolvedDependencies: the toolchain"
    expected = {f"{tool['name']} {tool['annotations']['version']}": tool["uri"] for tool in toolchain_of(manifest)}
    yield from _entry_differences(
        where, "uri", expected, {f"{name} {version}": tool.uri for (name, version), tool in dependencies.tools.items()}
    )
    for (name, version), tool in dependencies.tools.items():
        if name == COMPILER and tool.sha256 is not None and tool.sha256.short != version:
            yield Difference(f"{where}/{name}", f"a sha256 that begins with {version}", f"sha256 {tool.sha256}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A file of a model, as it was attested."""

    name: str
    uri: str | None
    sha256: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tool:
    """A member of the toolchain, as it was attested."""

    uri: str | None
    sha256: Digest | None


class _Dependencies:
    """The resolved dependencies of a statement, by what they are.

    Raises:
        FormatError: One of them has another form.
    """

    def __init__(self, node: Node) -> None:
        self.path = node.path
        self.tools: dict[tuple[str, str], _Tool] = {}
        self._files: dict[tuple[str, str, str], _File] = {}
        for item in node.items():
            notes = item["annotations"]
            kind = notes["kind"].one_of("lock", "toolchain", *_KINDS)
            name, uri = item["name"].text(), item["uri"].text() if "uri" in item else None
            digest = item["digest"]["sha256"].digest() if "digest" in item and "sha256" in item["digest"] else None
            if kind == "toolchain":
                self.tools[name, notes["version"].text()] = _Tool(uri=uri, sha256=digest)
            elif kind in _KINDS:
                place = (notes["model"].text(), kind, notes["path"].text())
                if place in self._files or digest is None:
                    raise item.wrong("each file once, with its sha256")
                self._files[place] = _File(name=name, uri=uri, sha256=digest)

    @property
    def models(self) -> set[str]:
        """The models that files belong to."""
        return {model for model, _, _ in self._files}

    def of_model(self, name: str) -> _Files:
        """Return the files of a model, by kind and path."""
        return {
            kind: {path: one for (model, other, path), one in self._files.items() if (model, other) == (name, kind)}
            for kind in _KINDS
        }
