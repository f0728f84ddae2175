from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.projects import spec_of
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models.bundle.manifest import Manifest
from thoth_models_builder.bundle.compose_manifest import ModelInputs
from thoth_models_builder.bundle.compose_manifest import compose as compose_manifest
from thoth_models_builder.bundle.describe import ModelFacts
from thoth_models_builder.errors import AlternateError
from thoth_models_builder.spec.lockfile import LockedFile, LockedModel, locked_sources
from thoth_models_builder.spec.models_yaml import BundleSpec
from thoth_models_builder.spec.plan import PlannedModel

# --- the manifest ---

FACTS = ModelFacts(
    dimension=8,
    max_seq_length=16,
    pooling="mean",
    has_normalize=True,
    similarity="cosine",
    prompts={},
    default_prompt_name=None,
)


def planned_models(models: dict[str, dict[str, Any]], dimensions: dict[str, int]) -> list[PlannedModel]:
    spec = spec_of({name: {"sources": [{"directory": name}], **model} for name, model in models.items()})
    return [
        PlannedModel(
            name=name,
            spec=model,
            locked=LockedModel(
                sources=locked_sources(model),
                variants=("torch-fp32",),
                revision=None,
                license="mit",
                license_link="LICENSE.md",
                dimension=dimensions.get(name, 8),
                files=(LockedFile(path="a", size=1, sha256=Digest.of(b"a")),),
            ),
        )
        for name, model in spec.models.items()
    ]


def inputs(planned: list[PlannedModel], spaces: dict[str, str]) -> dict[str, ModelInputs]:
    content = ContentDigest(size=1, sha256=Digest.of(b"a"), chunks=())
    return {
        model.name: ModelInputs(
            model=model,
            contents={"a": content},
            facts=FACTS,
            space=Digest.of(spaces[model.name].encode()),
            derived=None,
        )
        for model in planned
        if model.name in spaces
    }


def compose(
    models: dict[str, dict[str, Any]], spaces: dict[str, str], dimensions: dict[str, int] | None = None
) -> Manifest:
    planned = planned_models(models, dimensions or {})
    return compose_manifest(BundleSpec(name="test-bundle", default="a"), planned, inputs(planned, spaces))


def alternate(name: str, space: str) -> dict[str, Any]:
    return {"alternates": [{"model": name, "other_space": space}]}


def test_a_manifest_says_what_was_specified_locked_and_found() -> None:
    manifest = compose({"a": {"aliases": ["z", "y"], **alternate("b", "accept")}, "b": {}}, {"b": "some"})
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    document = json.loads(manifest.to_bytes())
    assert document["bundle"] == {"default": "a", "name": "test-bundle"}
    assert list(document["files"]) == ["b/source/a"]
    assert manifest.models["a"].aliases == ("y", "z")
    assert manifest.models["a"].built is None
    built = manifest.models["b"].built
    assert built is not None
    assert (built.license, built.origin.kind, built.origin.id, built.origin.revision) == ("mit", "directory", "b", None)
    assert built.license_link == "LICENSE.md"
    assert [(variant.name, variant.directory, variant.files) for variant in built.variants] == [
        ("torch-fp32", "b/source", ("b/source/a",))
    ]


def test_what_is_not_built_is_neither_default_nor_alternate() -> None:
    planned = planned_models({"a": {}, "b": alternate("a", "accept")}, {})[1:]
    bundle = BundleSpec(name="test-bundle", default="a", release=7)
    manifest = compose_manifest(bundle, planned, inputs(planned, {"b": "some"}))
    assert (manifest.default, manifest.release) == (None, 7)
    assert manifest.models["b"].alternates == ()


@pytest.mark.parametrize("spaces", [{"a": "one", "b": "one"}, {"a": "one"}, {"b": "one"}, {}])
def test_an_alternate_of_the_same_or_an_unknown_space_is_fine(spaces: dict[str, str]) -> None:
    compose({"a": alternate("b", "refuse"), "b": {}}, spaces)


def test_an_alternate_of_another_space_has_to_be_accepted() -> None:
    spaces = {"a": "one", "b": "two"}
    compose({"a": alternate("b", "accept"), "b": {}}, spaces)
    with pytest.raises(AlternateError) as caught:
        compose({"a": alternate("b", "refuse"), "b": {}}, spaces)
    assert str(caught.value) == (
        "models.a.alternates: b: expected the embedding space of a, or `other_space: accept`, found another space"
    )


@pytest.mark.parametrize("space", ["accept", "refuse"])
@pytest.mark.parametrize("spaces", [{"a": "one", "b": "two"}, {}])
def test_an_alternate_of_another_dimension_could_never_stand_in(space: str, spaces: dict[str, str]) -> None:
    with pytest.raises(AlternateError) as caught:
        compose({"a": alternate("b", space), "b": {}}, spaces, {"b": 16})
    assert str(caught.value) == (
        "models.a.alternates: b: expected 8 dimensions, as a has, found 16: it could never stand in"
    )
