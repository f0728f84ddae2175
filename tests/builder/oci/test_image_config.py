"""Configurations, manifests and indexes: what they say, and that they say it the same way every time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import invented_model, make_bundle
from tests.support.images import two_models
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import UsageError
from thoth_models_builder.oci.image_config import BaseImage, Created, labels, make_config
from thoth_models_builder.oci.layers import Layer, bundle_layers

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models.bundle.manifest import Manifest

AMD64 = BaseImage(platform={"os": "linux", "architecture": "amd64"})
ONE, TWO = Digest.of(b"1"), Digest.of(b"2")


@pytest.fixture
def manifest(place: Path) -> Manifest:
    return two_models(place / "b")


@pytest.fixture
def layers(manifest: Manifest, place: Path) -> tuple[Layer, ...]:
    return bundle_layers(manifest, place / "b", root="/models", mtime=0)


def config_of(base: BaseImage, layers: tuple[Layer, ...], created: Created | None = None) -> dict[str, Any]:
    pairs = [(layer, Digest.of(layer.name.encode())) for layer in layers]
    data = make_config(
        base, pairs, {"a": "b"}, created or Created(), {"THOTH_MODELS_DIR": "/models", "THOTH_MODELS_DIGEST": "d"}
    )
    document: dict[str, Any] = json.loads(data)
    assert json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == data
    return document


# --- the time ---


def test_the_time_is_1970_unless_somebody_says_otherwise() -> None:
    assert Created.read({}) == Created.read({"SOURCE_DATE_EPOCH": ""}) == Created(seconds=0, is_stated=False)
    stated = Created.read({"SOURCE_DATE_EPOCH": "1700000000"})
    assert (stated, str(stated)) == (Created(seconds=1_700_000_000, is_stated=True), "2023-11-14T22:13:20Z")
    assert str(Created.read({"SOURCE_DATE_EPOCH": "8589934591"})) == "2242-03-16T12:56:31Z"


@pytest.mark.parametrize("text", ["-1", "1.5", "now", "0x10", " 1", "1 ", "8589934592", "9" * 400, "\u0661"])
def test_a_time_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH: expected seconds since 1970, from 0 to 8589934591, found"):
        Created.read({"SOURCE_DATE_EPOCH": text})


# --- labels ---


def test_labels_say_what_is_in_the_image(manifest: Manifest) -> None:
    found = labels(manifest, ONE, TWO, Created(), {})
    space = manifest.models["mini"].built
    assert space is not None
    assert found == {
        "org.opencontainers.image.title": "test-bundle",
        "org.opencontainers.image.description": "Embedding models, verified: mini, other",
        "org.opencontainers.image.version": ONE.short,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "thoth-models.bundle-digest": f"sha256:{ONE}",
        "thoth-models.set-digest": f"sha256:{TWO}",
        "thoth-models.models": "mini other",
        "thoth-models.default": "mini",
        "thoth-models.model.mini.space": f"sha256:{space.space}",
        "thoth-models.model.mini.variants": "onnx-fp32 torch-fp32",
        "thoth-models.model.mini.license": "apache-2.0",
        "thoth-models.model.mini.origin": found["thoth-models.model.mini.origin"],
        "thoth-models.model.other.space": found["thoth-models.model.other.space"],
        "thoth-models.model.other.variants": "torch-fp32",
        "thoth-models.model.other.license": "apache-2.0",
        "thoth-models.model.other.origin": found["thoth-models.model.other.origin"],
    }
    assert found["thoth-models.model.mini.origin"].endswith("@1110a243fdf4706b3f48f1d95db1a4f5529b4d41")
    assert labels(replace(manifest, release=7), ONE, TWO, Created(), {}) == {**found, "thoth-models.release": "7"}


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        (("gpl-3.0", "gemma"), "GPL-3.0-only AND LicenseRef-gemma"),
        (("mit or apache-2.0", "MIT"), "MIT AND (MIT OR Apache-2.0)"),
        ((None, "mit or apache-2.0"), "MIT OR Apache-2.0"),
        ((None, "unknown"), None),
    ],
)
def test_the_licences_are_one_expression_of_spdx(
    published: tuple[str | None, str | None], expected: str | None, place: Path
) -> None:
    models = [
        replace(invented_model(name), license=text) for name, text in zip(("mini", "other"), published, strict=True)
    ]
    found = labels(make_bundle(place / "licences", models), ONE, TWO, Created(), {})
    assert found.get("org.opencontainers.image.licenses") == expected
    assert [found[f"thoth-models.model.{name}.license"] for name in ("mini", "other")] == [
        text or "not stated" for text in published
    ]


def test_the_caller_knows_better(manifest: Manifest) -> None:
    more = {"org.opencontainers.image.version": "1.2", "org.opencontainers.image.source": "https://example.org"}
    found = labels(manifest, ONE, TWO, Created(seconds=1, is_stated=True), more)
    assert found.items() >= {**more, "org.opencontainers.image.created": "1970-01-01T00:00:01Z"}.items()


# --- configurations ---


def test_a_configuration_of_nothing_but_the_bundle(layers: tuple[Layer, ...]) -> None:
    assert config_of(AMD64, layers) == {
        "os": "linux",
        "architecture": "amd64",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Labels": {"a": "b"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{Digest.of(layer.name.encode())}" for layer in layers]},
        "history": [
            {
                "created": "1970-01-01T00:00:00Z",
                "created_by": f"thoth-bundle image: {name}",
                "comment": f"{count} files of the bundle",
            }
            for name, count in (("mini/onnx-fp32", 4), ("mini/torch-fp32", 4), ("other/torch-fp32", 4), ("manifest", 2))
        ],
    }


def based(**config: Any) -> BaseImage:
    return BaseImage(platform=AMD64.platform, config=config, digest=ONE)


def test_a_base_is_completed_and_otherwise_kept(layers: tuple[Layer, ...]) -> None:
    document = config_of(
        based(
            author="somebody",
            container="0123",
            container_config={"Cmd": ["x"]},
            config={
                "Env": ["PATH=/opt/bin", "HF_HUB_OFFLINE=0", "EMPTY="],
                "User": "root",
                "Cmd": ["python3"],
                "WorkingDir": "/srv",
                "Labels": {"theirs": "kept", "a": "replaced", "org.opencontainers.image.created": "2020"},
            },
            rootfs={"type": "layers", "diff_ids": ["sha256:base"]},
            history=[{"created_by": "ADD"}, {"created_by": "ENV", "empty_layer": True}],
        ),
        layers,
    )
    second = 1_000_000_000
    assert document["config"] == {
        "Env": [
            *("PATH=/opt/bin", "EMPTY="),
            *(
                "HF_HUB_OFFLINE=1",
                "TRANSFORMERS_OFFLINE=1",
                "HF_HUB_DISABLE_TELEMETRY=1",
                "ORT_DISABLE_TELEMETRY=1",
                "THOTH_MODELS_DIR=/models",
                "THOTH_MODELS_DIGEST=d",
            ),
        ],
        "User": "65532:65532",
        "Cmd": ["python3"],
        "WorkingDir": "/srv",
        "Labels": {"theirs": "kept", "a": "b"},
        "Healthcheck": {
            "Test": ["CMD", "thoth-models", "doctor", "--quick"],
            "Interval": 30 * second,
            "Timeout": 20 * second,
            "StartPeriod": 60 * second,
            "Retries": 3,
        },
    }
    assert document["author"] == "somebody"
    assert "container" not in document
    assert "container_config" not in document
    assert document["rootfs"]["diff_ids"][0] == "sha256:base"
    assert len(document["rootfs"]["diff_ids"]) == 1 + len(layers)
    assert [entry["created_by"] for entry in document["history"][:3]] == [
        "ADD",
        "ENV",
        "thoth-bundle image: mini/onnx-fp32",
    ]


def test_a_base_without_a_history_gets_one_entry_per_layer(layers: tuple[Layer, ...]) -> None:
    base = based(rootfs={"type": "layers", "diff_ids": ["sha256:1", "sha256:2"]}, config=None)
    document = config_of(base, layers)
    assert [entry["created_by"] for entry in document["history"][:2]] == ["the base image"] * 2
    assert len(document["history"]) == len(document["rootfs"]["diff_ids"]) == 2 + len(layers)


# --- all of it ---
