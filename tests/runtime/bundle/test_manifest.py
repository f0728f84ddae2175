from __future__ import annotations

import copy
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import invented_model, make_bundle
from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.digest import CHUNK_SIZE, CHUNKED_ABOVE, ContentDigest, Digest
from thoth_models.bundle.manifest import Manifest
from thoth_models.errors import BundleError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEX = "0" * 64
FILE = "mini/source/modules.json"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    models = [
        invented_model(
            "mini",
            aliases=("legacy", "all-MiniLM-L6-v2"),
            alternates=(("other", "accept"), ("gone", "refuse")),
            prompts={"query": "query: ", "odd [": ""},
            default_prompt_name="query",
        ),
        invented_model("other"),
        invented_model("gone", variants=()),
    ]
    return make_bundle(tmp_path_factory.mktemp("manifest") / "bundle", models, default="mini")


@pytest.fixture
def document(manifest: Manifest) -> Any:
    return json.loads(manifest.to_bytes())


def test_bytes_and_back(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    assert data.endswith(b"}\n")
    assert b" : " not in data
    assert Manifest.from_bytes(data) == manifest
    assert Manifest.from_bytes(data).to_bytes() == data


def test_the_document_is_the_one_that_is_designed(document: Any) -> None:
    assert sorted(document) == ["bundle", "files", "models", "version"]
    assert document["version"] == 2
    assert document["bundle"] == {"name": "test-bundle", "default": "mini"}
    assert document["files"][FILE] == {
        "size": 27,
        "sha256": hashlib.sha256(b"modules of mini/torch-fp32\n").hexdigest(),
    }
    mini = document["models"]["mini"]
    assert mini["aliases"] == ["all-MiniLM-L6-v2", "legacy"]
    assert mini["alternates"] == [
        {"model": "other", "other_space": "accept"},
        {"model": "gone", "other_space": "refuse"},
    ]
    assert document["models"]["gone"]["built"] is None


def test_checksums_are_those_of_sha256sum(manifest: Manifest) -> None:
    lines = manifest.checksums().decode().splitlines()
    assert f"{Digest.of(manifest.to_bytes())}  manifest.json" in lines
    assert [line[66:] for line in lines] == sorted([*manifest.files, "manifest.json"])
    assert {line[66:]: line[:64] for line in lines if "source" in line} == {
        path: content.sha256.hex for path, content in manifest.files.items()
    }


def test_names_and_aliases(manifest: Manifest) -> None:
    assert manifest.names() == {
        "mini": "mini", "legacy": "mini", "all-MiniLM-L6-v2": "mini", "other": "other", "gone": "gone",
    }  # fmt: skip


def test_a_large_file_has_chunks(manifest: Manifest) -> None:
    size = CHUNKED_ABOVE + 1
    chunks = tuple(Digest.of(bytes([index])) for index in range(5))
    large = Manifest(
        name=manifest.name,
        default=None,
        models={},
        files={"large": ContentDigest(size=size, sha256=Digest(HEX), chunks=chunks)},
    )
    found = Manifest.from_bytes(large.to_bytes())
    assert found == large
    assert json.loads(large.to_bytes())["files"]["large"]["chunks"]["size"] == CHUNK_SIZE


def _set(*keys: str | int) -> Callable[[Any, Any], None]:
    def change(document: Any, value: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


def _rename(old: str, *keys: str | int) -> Callable[[Any, Any], None]:
    def change(document: Any, new: Any) -> None:
        for key in keys:
            document = document[key]
        document[new] = document.pop(old)

    return change


BUILT = ("models", "mini", "built")
VARIANT = (*BUILT, "variants", 0)
CHUNKS_OF_SIZE = {"size": CHUNK_SIZE, "sha256": [HEX] * 4}


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "value", "message"),
    [
        (_set("version"), 1, "version: expected 2, found 1"),
        (_set("version"), True, "version: expected 2, found true"),
        (_set("more"), 1, "the document: expected only the keys 'version', 'bundle', 'models', 'files', found 'more'"),
        (_set("bundle"), {"name": "a"}, "bundle: expected the key 'default', found only 'name'"),
        (_set("bundle", "name"), "A b", "bundle.name: expected a name of lower-case letters, digits and hyphens"),
        (_set("bundle", "default"), "nobody", "bundle.default: expected the name of a model of this bundle (gone, "),
        (_set("bundle", "default"), 3, "bundle.default: expected a string, found an integer"),
        (_set("bundle", "default"), "legacy", "bundle.default: expected the name of a model"),
        (_set("models"), [], "models: expected an object, found a list"),
        (_rename("mini", "models"), "Mini", 'models["Mini"] (the key): expected a name of lower-case letters'),
        (_rename("mini", "models"), "-mini", 'models["-mini"] (the key): expected a name'),
        (_rename("mini", "models"), "m" * 64, "at most 63 long"),
        (_rename("mini", "models"), "mini\n", "(the key): expected a name"),
        (_set("models", "mini", "more"), 1, 'models["mini"]: expected only the keys'),
        (_set("models", "mini", "aliases"), ["b", "a"], 'models["mini"].aliases: expected a sorted list'),
        (_set("models", "mini", "aliases"), ["a", "a"], 'models["mini"].aliases: expected a sorted list'),
        (_set("models", "mini", "aliases"), [1], 'models["mini"].aliases[0]: expected a string, found an integer'),
        (_set("models", "mini", "aliases"), ["other"], "expected each name and alias once, found 'other' twice"),
        (_set("models", "other", "aliases"), ["legacy"], "expected each name and alias once, found 'legacy' twice"),
        (_set("models", "mini", "alternates", 0, "model"), "nobody", "models: expected alternates that are models of"),
        (_set("models", "mini", "alternates", 0, "model"), "B!", 'models["mini"].alternates[0].model: expected a name'),
        (_set("models", "mini", "alternates", 0, "other_space"), True, '[0].other_space: expected "accept" or'),
        (_set("models", "mini", "dimension"), 0, 'models["mini"].dimension: expected an integer of at least 1'),
        (_set("models", "mini", "dimension"), "8", 'models["mini"].dimension: expected an integer, found a string'),
        (_set(*BUILT), [], 'models["mini"].built: expected an object, found a list'),
        (_set(*BUILT, "origin", "kind"), "ftp", 'models["mini"].built.origin.kind: expected "hub" or "wheel" or'),
        (_set(*BUILT, "origin", "id"), None, 'models["mini"].built.origin.id: expected a string, found nothing (null)'),
        (_set(*BUILT, "origin", "revision"), 1, 'models["mini"].built.origin.revision: expected a string'),
        (_set(*BUILT, "license"), 1, 'models["mini"].built.license: expected a string'),
        (_set(*BUILT, "max_seq_length"), 0, 'models["mini"].built.max_seq_length: expected an integer of at least 1'),
        (_set(*BUILT, "pooling"), None, 'models["mini"].built.pooling: expected a string'),
        (_set(*BUILT, "normalize"), 1, 'models["mini"].built.normalize: expected a boolean, found an integer'),
        (_set(*BUILT, "similarity"), "jaccard", 'models["mini"].built.similarity: expected "cosine" or "dot" or'),
        (_set(*BUILT, "prompts", "query"), None, 'models["mini"].built.prompts["query"]: expected a string'),
        (_set(*BUILT, "default_prompt_name"), "nope", "built.default_prompt_name: expected the name of a prompt"),
        (_set(*BUILT, "space"), "ABC", 'models["mini"].built.space: expected a sha256'),
        (_set(*BUILT, "variants"), [], 'models["mini"].built.variants: expected at least one variant, each name once'),
        (_set(*VARIANT, "name"), "Torch", 'models["mini"].built.variants[0].name: expected a name'),
        (_set(*VARIANT, "backend"), 1, 'models["mini"].built.variants[0].backend: expected a string'),
        (_set(*VARIANT, "precision"), 1, 'models["mini"].built.variants[0].precision: expected a string'),
        (_set(*VARIANT, "directory"), "/models", "variants[0].directory: expected a relative path"),
        (_set(*VARIANT, "directory"), "mini/../other", "variants[0].directory: expected a relative path"),
        (_set(*VARIANT, "directory"), "mini/sou", "variants[0].files: expected paths below 'mini/sou', found"),
        (_set(*VARIANT, "files"), [], "variants[0].files: expected at least one path"),
        (_set(*VARIANT, "files"), [FILE, FILE], "variants[0].files: expected a sorted list"),
        (_set(*VARIANT, "files"), ["mini/source/none"], "expected paths that `files` lists, found 'mini/source/none'"),
        (_set(*VARIANT, "files"), ["../x"], "variants[0].files[0]: expected a relative path"),
        (_rename(FILE, "files"), "../x", 'files["../x"] (the key): expected a relative path'),
        (_rename(FILE, "files"), "/etc/passwd", 'files["/etc/passwd"] (the key): expected a relative path'),
        (_rename(FILE, "files"), "a\\b", "(the key): expected a relative path"),
        (_rename(FILE, "files"), "a\nb", "(the key): expected a relative path"),
        (_rename(FILE, "files"), "manifest.json", "(the key): expected a path other than those of the manifest"),
        (_rename(FILE, "files"), "SHA256SUMS", "(the key): expected a path other than those of the manifest"),
        (_set("files", "mini/source"), {"size": 0, "sha256": HEX}, "files: expected files and directories of"),
        (_set("files", FILE), {"size": 0}, f'files["{FILE}"]: expected the key \'sha256\', found only \'size\''),
        (_set("files", FILE, "size"), -1, f'files["{FILE}"].size: expected an integer of at least 0, found -1'),
        (_set("files", FILE, "size"), CHUNKED_ABOVE + 1, f'files["{FILE}"]: expected 5 chunk digests for 67108865'),
        (_set("files", FILE, "sha256"), HEX[1:], f'files["{FILE}"].sha256: expected a sha256'),
        (_set("files", FILE, "chunks"), CHUNKS_OF_SIZE, f'files["{FILE}"]: expected 0 chunk digests for 27 bytes'),
        (_set("files", FILE, "chunks"), {"size": 1, "sha256": []}, f'files["{FILE}"].chunks.size: expected 16777216'),
        (_set("files", FILE, "chunks"), {"size": CHUNK_SIZE, "sha256": [1]}, f'files["{FILE}"].chunks.sha256[0]: '),
        (
            _set("files", FILE),
            {"size": CHUNKED_ABOVE + CHUNK_SIZE, "sha256": HEX, "chunks": CHUNKS_OF_SIZE},
            f'files["{FILE}"]: expected 5 chunk digests for 83886080 bytes, found 4',
        ),
    ],
)  # fmt: skip
def test_a_malformed_manifest_is_refused_with_its_key_path(
    document: Any, change: Callable[[Any, Any], None], value: object, message: str
) -> None:
    change(document, copy.deepcopy(value))
    with pytest.raises(ManifestError, match=re.escape(message)) as caught:
        Manifest.from_bytes(canonical_json(document))
    assert str(caught.value).startswith("manifest.json: ")
    assert isinstance(caught.value, BundleError)


@pytest.mark.hostile
def test_two_variants_of_one_name_are_refused(document: Any) -> None:
    variants = document["models"]["mini"]["built"]["variants"]
    variants.append(variants[0])
    with pytest.raises(ManifestError, match="expected at least one variant, each name once"):
        Manifest.from_bytes(canonical_json(document))


@pytest.mark.parametrize("key", ["version", "bundle", "models", "files"])
def test_every_key_is_needed(document: Any, key: str) -> None:
    del document[key]
    with pytest.raises(ManifestError, match=f"expected the key '{key}'"):
        Manifest.from_bytes(canonical_json(document))


def test_a_bundle_without_models_names_none(document: Any) -> None:
    document["models"] = {}
    with pytest.raises(
        ManifestError, match=re.escape("bundle.default: expected the name of a model of this bundle (none)")
    ):
        Manifest.from_bytes(canonical_json(document))


@pytest.mark.hostile
@pytest.mark.parametrize(
    "respell",
    [
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: b" " + data,
        lambda data: data.replace(b'"version":2', b'"version": 2'),
        lambda data: data.replace(b"mini", b"m\\u0069ni", 1),
        lambda data: json.dumps(json.loads(data), indent=1).encode(),
        lambda data: json.dumps(dict(reversed(json.loads(data).items())), separators=(",", ":")).encode() + b"\n",
    ],
    ids=["no newline", "two newlines", "space before", "space inside", "escape", "indented", "order of keys"],
)
def test_another_spelling_of_the_same_manifest_is_refused(
    manifest: Manifest, respell: Callable[[bytes], bytes]
) -> None:
    data = respell(manifest.to_bytes())
    assert json.loads(data) == json.loads(manifest.to_bytes())
    with pytest.raises(ManifestError, match="expected canonical JSON"):
        Manifest.from_bytes(data)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"version":1,"version":1}', "expected each key once, found 'version' twice"),
        (b'{"version":1.0}', "expected integers only, found 1.0"),
        (b"not json", "expected JSON in UTF-8"),
        (b"null\n", "the document: expected an object, found nothing"),
    ],
)
def test_a_manifest_that_is_no_document_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(message)):
        Manifest.from_bytes(data)


def test_a_bundle_on_disk_holds_what_the_manifest_says(tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    made = make_bundle(root, [invented_model("mini")])
    assert Manifest.from_bytes((root / "manifest.json").read_bytes()) == made
    assert (root / "SHA256SUMS").read_bytes() == made.checksums()
