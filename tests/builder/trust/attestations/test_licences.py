from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.attesting import LICENCES, Attestable
from thoth_models.bundle.canonical_json import FormatError, Node, parse_json
from thoth_models_builder.trust.attestations.licences import licence_differences
from thoth_models_builder.trust.sbom import sbom

if TYPE_CHECKING:
    from thoth_models.bundle.manifest import Manifest


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return Attestable(tmp_path_factory.mktemp("attestable")).write()


@pytest.fixture
def document(manifest: Manifest) -> dict[str, Any]:
    return sbom(manifest)


def node(document: object) -> Node:
    return parse_json(json.dumps(document).encode())


def test_our_own_bill_of_materials_has_the_licences_of_the_manifest(
    manifest: Manifest, document: dict[str, Any]
) -> None:
    """An id, an expression, a name, and none: each in its form of CycloneDX."""
    assert list(licence_differences(node(document), manifest)) == []
    assert len(LICENCES) == len({str(part.get("licenses")) for part in document["components"]})


def test_another_licence_is_a_difference(manifest: Manifest, document: dict[str, Any]) -> None:
    for part in document["components"]:
        part["licenses"] = [{"license": {"id": "MIT"}}]
    found = {one.path: (one.expected, one.found) for one in licence_differences(node(document), manifest)}
    places = {part["name"]: f"components[{index}].licenses" for index, part in enumerate(document["components"])}
    assert found == {
        places["mini"]: ('["Apache-2.0"]', '["MIT"]'),
        places["other"]: ('["our own terms"]', '["MIT"]'),
        places["coded"]: ('["MIT OR Apache-2.0"]', '["MIT"]'),
        places["plain"]: ("[]", '["MIT"]'),
    }


def test_a_model_without_an_entry_is_a_difference(manifest: Manifest, document: dict[str, Any]) -> None:
    document["components"] = [part for part in document["components"] if part["name"] != "other"]
    (one,) = licence_differences(node(document), manifest)
    assert (one.expected, one.found) == ("the model other", "none of that name")


@pytest.mark.parametrize("document", [{}, {"bomFormat": "SPDX"}, {"bomFormat": "CycloneDX"}])
def test_another_document_is_refused(manifest: Manifest, document: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        list(licence_differences(node(document), manifest))
