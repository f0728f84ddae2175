"""Licences and package URLs in a bill of materials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bills import changed, component, materials, properties
from thoth_models.bundle.manifest import Origin
from thoth_models_builder.trust.bill.source_facts import SourceFacts

if TYPE_CHECKING:
    from thoth_models.bundle.manifest import Manifest

COMMIT = "1" * 40


@pytest.mark.parametrize(
    ("origin", "purl"),
    [
        (Origin(kind="hub", id="acme/mini", revision=COMMIT), f"pkg:huggingface/acme/mini@{COMMIT}"),
        (Origin(kind="hub", id="mini", revision=None), "pkg:huggingface/mini"),
        (Origin(kind="wheel", id="Some_Models==0.1.0", revision=None), "pkg:pypi/some-models@0.1.0"),
        (Origin(kind="directory", id="./models", revision=None), None),
    ],
)
def test_an_origin_has_a_package_url_where_there_is_such_a_thing(
    manifest: Manifest, origin: Origin, purl: str | None
) -> None:
    assert component(materials(changed(manifest, origin=origin)), "mini").get("purl") == purl


def test_a_wheel_has_the_address_of_its_release_and_no_supplier(manifest: Manifest) -> None:
    origin = Origin(kind="wheel", id="some-models==0.1.0", revision=None)
    model = component(materials(changed(manifest, origin=origin)), "mini")
    (link,) = model["externalReferences"]
    assert (link["type"], link["url"]) == ("distribution", "https://pypi.org/project/some-models/0.1.0/")
    assert "supplier" not in model
    assert "publisher" not in model


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cc-by-nc-4.0", [{"license": {"id": "CC-BY-NC-4.0"}}]),
        ("Apache-2.0 OR MIT", [{"expression": "Apache-2.0 OR MIT"}]),
        ("gpl-3.0", [{"license": {"id": "GPL-3.0-only"}}]),
        ("odc-by", [{"license": {"id": "ODC-By-1.0"}}]),
        ("MIT AND gemma", [{"expression": "MIT AND LicenseRef-gemma"}]),
        ("gpl-2.0 with classpath-exception-2.0", [{"expression": "GPL-2.0-only WITH Classpath-exception-2.0"}]),
        ("llama3 community", [{"license": {"name": "llama3 community"}}]),
        ("Gemma", [{"license": {"name": "Gemma"}}]),
        ("other", [{"license": {"name": "other"}}]),
        ("other (Llama 3)", [{"license": {"name": "Llama 3"}}]),
        ("other (MIT)", [{"license": {"name": "MIT"}}]),
        ("unknown", None),
        (None, None),
    ],
)
def test_a_licence_is_an_identifier_an_expression_or_a_name_and_declared(
    manifest: Manifest, text: str | None, expected: list[dict[str, Any]] | None
) -> None:
    found = component(materials(changed(manifest, license=text)), "mini").get("licenses")
    for one in found or ():
        assert one.get("license", one).pop("acknowledgement") == "declared"
        one.pop("bom-ref", None)
    assert found == expected


def test_what_was_published_stays_beside_the_id(manifest: Manifest) -> None:
    def published(text: str) -> str | None:
        return properties(component(materials(changed(manifest, license=text)), "mini")).get("license-as-published")

    assert published("gpl-3.0") == "gpl-3.0"
    assert published("apache-2.0") is None


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("https://example.org/terms", "https://example.org/terms"),
        ("LICENSE.md", f"https://huggingface.co/tests/mini/blob/{COMMIT}/LICENSE.md"),
        (None, None),
    ],
)
def test_a_name_has_the_link_that_was_published_beside_it(
    manifest: Manifest, link: str | None, url: str | None
) -> None:
    origin = Origin(kind="hub", id="tests/mini", revision=COMMIT)
    other = changed(manifest, license="other (acme)", license_link=link, origin=origin)
    (found,) = component(materials(other), "mini")["licenses"]
    assert found["license"].get("url") == url


@pytest.mark.parametrize("license", ["apache-2.0", "acme terms"])
def test_the_text_of_a_licence_is_in_the_bill(manifest: Manifest, license: str) -> None:  # noqa: A002
    facts = {"mini": SourceFacts(licence_text="You may …\n")}
    (found,) = component(materials(changed(manifest, license=license), facts=facts), "mini")["licenses"]
    assert found["license"]["text"]["content"] == "You may …\n"
