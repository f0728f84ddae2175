"""Destinations and bases as the command line says them."""

from __future__ import annotations

import pytest

from thoth_models_builder.errors import ImageReferenceError, UsageError
from thoth_models_builder.oci.references import Reference
from thoth_models_builder.pipeline.destinations import BaseSource, Destination, parse_all, parse_base

NAME = "bundle:1"


@pytest.mark.parametrize(
    ("text", "kind", "place", "reference"),
    [
        ("oci:some/directory", "oci", "some/directory", "docker.io/library/bundle:1"),
        ("docker-archive:image.tar", "docker-archive", "image.tar", "docker.io/library/bundle:1"),
        ("docker-archive:a:b.tar", "docker-archive", "a:b.tar", "docker.io/library/bundle:1"),
        ("docker", "docker", "", "docker.io/library/bundle:1"),
        ("docker:models", "docker", "models", "docker.io/library/models:latest"),
        ("docker:models:2", "docker", "models:2", "docker.io/library/models:2"),
        ("registry:localhost:5000/models:2", "registry", "localhost:5000/models:2", "localhost:5000/models:2"),
    ],
)
def test_a_destination_is_read(text: str, kind: str, place: str, reference: str) -> None:
    expected = Destination(text=text, kind=kind, place=place, reference=Reference.parse(reference))  # type: ignore[arg-type]
    assert parse_all([text], NAME) == [expected]


def test_destinations_without_a_name_of_their_own_get_the_given_one() -> None:
    (found,) = parse_all(["docker"], "acme/models")
    assert str(found.reference) == "docker.io/acme/models:latest"


def test_several_destinations_keep_their_order() -> None:
    texts = ["registry:localhost/a:1", "oci:a", "docker", "oci:b"]
    assert [found.text for found in parse_all(texts, NAME)] == texts


@pytest.mark.parametrize("text", ["", "somewhere", "oci", "oci:", "docker:", "registry:", "docker-archive:", "OCI:a"])
def test_what_is_not_a_destination_is_refused_with_all_forms(text: str) -> None:
    forms = "oci:DIR, docker-archive:FILE, docker or docker:NAME:TAG, registry:HOST/NAME:TAG"
    with pytest.raises(UsageError) as caught:
        parse_all([text], NAME)
    assert str(caught.value) == f"expected a destination ({forms}), found {text!r}"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], r"^expected at least one destination: oci:DIR, .*$"),
        (["oci:a/../b", "oci:b"], r"^expected different destinations, found oci:a/\.\./b and oci:b$"),
        (["docker", "docker:bundle:1"], r"^expected different destinations, found docker and docker:bundle:1$"),
        (["oci:a:1"], r"^expected oci:DIR, whose image is named by --name NAME:TAG, found 'oci:a:1'$"),
        (["docker:models@sha256:" + "0" * 64], r"^expected a name and a tag, found a digest, which follows from the"),
        (["registry:localhost:5000/models"], r"expected a tag or a digest, found neither$"),
    ],
)
def test_destinations_that_cannot_be_used(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_all(texts, NAME)


def test_one_directory_may_hold_a_layout_and_another_an_archive() -> None:
    assert len(parse_all(["oci:a", "docker-archive:a"], NAME)) == 2


def test_a_name_that_is_not_one_is_refused() -> None:
    with pytest.raises(ImageReferenceError, match="image reference 'Not A Name'"):
        parse_all(["oci:a"], "Not A Name")


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        ("oci:base", "oci", "base"),
        ("docker:python:3.11", "docker", "python:3.11"),
        ("registry:ghcr.io/acme/base:1", "registry", "ghcr.io/acme/base:1"),
        ("registry:base@sha256:" + "0" * 64, "registry", "base@sha256:" + "0" * 64),
    ],
)
def test_a_base_is_read(text: str, kind: str, place: str) -> None:
    assert parse_base(text) == BaseSource(kind=kind, place=place)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "busybox", "oci:", "docker", "docker-archive:a.tar"])
def test_what_is_not_a_base_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^expected a base image \(oci:DIR, docker:NAME or registry:HOST/NAME:TAG\)"):
        parse_base(text)


def test_a_base_in_a_registry_has_a_tag_or_a_digest() -> None:
    with pytest.raises(UsageError, match="expected a tag or a digest, found neither"):
        parse_base("registry:busybox")
