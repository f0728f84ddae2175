"""Libraries in a bill of materials, in the form in which scanners look for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bills import changed, materials, properties

if TYPE_CHECKING:
    from thoth_models.bundle.manifest import Manifest


def tools(manifest: Manifest) -> dict[str, dict[str, Any]]:
    found = [part for part in materials(manifest)["components"] if properties(part).get("role") == "toolchain"]
    return {part["name"]: part for part in found}


def test_libraries_of_the_toolchain_have_a_package_url_at_the_top_of_the_list(manifest: Manifest) -> None:
    found = tools(manifest)
    assert {name: (part["type"], part["version"], part.get("purl")) for name, part in found.items()} == {
        "torch": ("library", "2.13.0", "pkg:pypi/torch@2.13.0"),
        "onnx": ("library", "1.23.2", "pkg:pypi/onnx@1.23.2"),
        # Its patch level is not known, so a scanner must not compare it.
        "python": ("platform", "3.11", None),
        "thoth-models-compiler": ("application", "0cb11d0c89f7", None),
    }


def test_they_are_not_said_to_be_in_the_bundle(manifest: Manifest) -> None:
    assert {part["scope"] for part in tools(manifest).values()} == {"excluded"}
    depends = {entry["ref"]: entry.get("dependsOn", []) for entry in materials(manifest)["dependencies"]}
    assert not any(ref.startswith("tool:") for refs in depends.values() for ref in refs)


def test_which_build_of_a_release_it_was_stays_beside_its_version(manifest: Manifest) -> None:
    assert properties(tools(manifest)["torch"])["build"] == "cpu"
    assert "build" not in properties(tools(manifest)["onnx"])


@pytest.mark.hostile
def test_two_libraries_never_share_a_reference(manifest: Manifest) -> None:
    found = tools(changed(manifest, toolchain={"a": "b@c", "a@b": "c"}))
    assert {part["bom-ref"] for part in found.values()} == {"tool:a@b%40c", "tool:a%40b@c"}


@pytest.mark.hostile
@pytest.mark.parametrize(
    "toolchain",
    [{"": ""}, {"a/../b": "1"}, {"x": "1 or 2"}, {"x?y#z": "1"}, {"x": "@1"}, {"x": "+cpu"}, {"x\u202e": "1"}],
)
def test_a_library_of_another_form_has_no_package_url(manifest: Manifest, toolchain: dict[str, str]) -> None:
    (found,) = tools(changed(manifest, toolchain=toolchain)).values()
    assert "purl" not in found
