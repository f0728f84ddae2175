from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.projects import COMMIT, REPOSITORY, spec_of
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import LockError
from thoth_models_builder.spec.lockfile import Lock, LockedFile, LockedModel, LockedSource, differences, locked_sources
from thoth_models_builder.spec.models_yaml import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable

HUB = LockedSource(kind="hub", id="org/mini", detail=COMMIT)
WHEEL = LockedSource(kind="wheel", id="mini==1", detail="mini/model")
DIRECTORY = LockedSource(kind="directory", id="models/mini", detail=None)
FILE = LockedFile(path="config.json", size=3, sha256=Digest.of(b"abc"), blob_id="b" * 40)
MODEL = LockedModel(
    sources=(HUB, WHEEL, DIRECTORY),
    variants=("torch-fp32",),
    revision=COMMIT,
    license="apache-2.0",
    dimension=384,
    files=(FILE, LockedFile(path="model.safetensors", size=0, sha256=Digest.of(b""))),
)
LOCK = Lock(models={"mini": MODEL})
TEXT = f"""\
{{
  "models": {{
    "mini": {{
      "dimension": 384,
      "files": [
        {{"path": "config.json", "size": 3, "sha256": "{Digest.of(b"abc").hex}", "blob_id": "{"b" * 40}"}},
        {{"path": "model.safetensors", "size": 0, "sha256": "{Digest.of(b"").hex}"}}
      ],
      "license": "apache-2.0",
      "revision": "{COMMIT}",
      "sources": [
        {{"hub": "org/mini", "revision": "{COMMIT}"}},
        {{"wheel": "mini==1", "path": "mini/model"}},
        {{"directory": "models/mini"}}
      ],
      "variants": ["torch-fp32"]
    }}
  }},
  "version": 1
}}
"""


def test_the_one_spelling() -> None:
    assert LOCK.to_bytes().decode() == TEXT
    assert Lock.from_bytes(TEXT.encode(), "models.lock") == LOCK


def test_the_link_of_a_licence_is_there_only_where_one_was_published() -> None:
    lock = Lock(models={"mini": replace(MODEL, license="other (acme)", license_link="LICENSE.md")})
    text = TEXT.replace('"apache-2.0"', '"other (acme)"')
    text = text.replace('      "revision": "', '      "license_link": "LICENSE.md",\n      "revision": "', 1)
    assert lock.to_bytes().decode() == text
    assert Lock.from_bytes(text.encode(), "models.lock") == lock


def test_an_empty_lock() -> None:
    assert Lock(models={}).to_bytes() == b'{\n  "models": {},\n  "version": 1\n}\n'
    assert Lock.from_bytes(Lock(models={}).to_bytes(), "models.lock") == Lock(models={})


def test_models_are_sorted_whatever_order_they_came_in() -> None:
    names = ["b", "a-1", "c", "a"]
    data = Lock(models=dict.fromkeys(names, MODEL)).to_bytes()
    assert list(json.loads(data)["models"]) == sorted(names)
    assert Lock(models=dict.fromkeys(reversed(names), MODEL)).to_bytes() == data


def test_any_spelling_of_json_is_read() -> None:
    compact = json.dumps(json.loads(TEXT), indent=None).encode()
    assert Lock.from_bytes(compact, "models.lock") == LOCK


def test_what_can_be_told_of_a_model() -> None:
    assert MODEL.origin == HUB
    assert MODEL.size == 3
    assert list(map(str, MODEL.sources)) == [
        f"hub:org/mini@{COMMIT}",
        "wheel:mini==1!mini/model",
        "directory:models/mini",
    ]


# --- malformed locks ---

Path = tuple[str | int, ...]


def at(document: Any, path: Path) -> Any:
    for part in path:
        document = document[part]
    return document


def setting(*path: str | int, to: object) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        at(document, path[:-1])[path[-1]] = to

    return change


def removing(*path: str | int) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        del at(document, path[:-1])[path[-1]]

    return change


MINI = ("models", "mini")
FILES = (*MINI, "files")
_PLACE = 'models["mini"]'


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting("version", to=2), "version: expected 1, found 2"),
        (setting("version", to=True), "version: expected 1, found true"),
        (setting("version", to="1"), 'version: expected 1, found "1"'),
        (removing("version"), "the document: expected the key 'version', found only 'models'"),
        (setting("more", to=1), "the document: expected only the keys 'models', 'version', found 'more'"),
        (setting("models", to=[]), "models: expected an object, found a list"),
        (setting(*MINI, to=None), f"{_PLACE}: expected an object, found nothing (null)"),
        (removing(*MINI, "license"), f"{_PLACE}: expected the key 'license', found only "),
        (setting(*MINI, "extra", to=1), f"{_PLACE}: expected only the keys "),
        (setting(*MINI, "dimension", to=0), f"{_PLACE}.dimension: expected an integer of at least 1, found 0"),
        (setting(*MINI, "dimension", to=True), f"{_PLACE}.dimension: expected an integer, found a boolean"),
        (setting(*MINI, "dimension", to="384"), f"{_PLACE}.dimension: expected an integer, found a string"),
        (setting(*MINI, "license", to=1), f"{_PLACE}.license: expected a string, found an integer"),
        (setting(*MINI, "revision", to="main"), f"{_PLACE}.revision: expected a git object id of 40"),
        (setting(*MINI, "revision", to=[]), f"{_PLACE}.revision: expected a string, found a list"),
        (setting(*MINI, "variants", to=["b", "a"]), f"{_PLACE}.variants: expected a sorted list without repetitions"),
        (setting(*MINI, "variants", to=["a", "a"]), f"{_PLACE}.variants: expected a sorted list without repetitions"),
        (setting(*MINI, "variants", 0, to=1), f"{_PLACE}.variants[0]: expected a string, found an integer"),
        (setting(*MINI, "sources", to=[]), f"{_PLACE}.sources: expected at least one source, found []"),
        (setting(*MINI, "sources", 0, to="hub"), f"{_PLACE}.sources[0]: expected an object, found a string"),
        (setting(*MINI, "sources", 0, to={}), f"{_PLACE}.sources[0]: expected the key 'directory', found only an"),
        (setting(*MINI, "sources", 0, to={"git": "x"}), f"{_PLACE}.sources[0]: expected only the keys "),
        (removing(*MINI, "sources", 0, "revision"), f"{_PLACE}.sources[0]: expected the key 'revision', found only"),
        (removing(*MINI, "sources", 1, "path"), f"{_PLACE}.sources[1]: expected the key 'path', found only 'wheel'"),
        (setting(*MINI, "sources", 2, "path", to="x"), f"{_PLACE}.sources[2]: expected only the keys 'directory'"),
        (setting(*MINI, "sources", 0, "wheel", to="x"), f"{_PLACE}.sources[0]: expected only the keys 'hub', 'rev"),
        (setting(*MINI, "sources", 0, "hub", to=1), f"{_PLACE}.sources[0].hub: expected a string, found an integer"),
        (setting(*FILES, to=[]), f"{_PLACE}.files: expected at least one file, sorted by path, each once, found none"),
        (
            lambda document: at(document, FILES).reverse(),
            f"{_PLACE}.files: expected at least one file, sorted by path, each once, found model.safetensors, config.j",
        ),
        (
            lambda document: at(document, FILES).insert(0, at(document, FILES)[0]),
            f"{_PLACE}.files: expected at least one file, sorted by path, each once, found config.json, config.json",
        ),
        (setting(*FILES, 0, "path", to="../config.json"), f"{_PLACE}.files[0].path: expected a relative path"),
        (setting(*FILES, 0, "path", to="/config.json"), f"{_PLACE}.files[0].path: expected a relative path"),
        (setting(*FILES, 0, "path", to="a\nb"), f"{_PLACE}.files[0].path: expected a relative path"),
        (setting(*FILES, 0, "path", to=""), f"{_PLACE}.files[0].path: expected a relative path"),
        (setting(*FILES, 0, "size", to=-1), f"{_PLACE}.files[0].size: expected an integer of at least 0, found -1"),
        (setting(*FILES, 0, "sha256", to="0" * 63), f"{_PLACE}.files[0].sha256: expected a sha256 of 64 lower-case"),
        (setting(*FILES, 0, "sha256", to="A" * 64), f"{_PLACE}.files[0].sha256: expected a sha256 of 64 lower-case"),
        (setting(*FILES, 0, "blob_id", to="b" * 39), f"{_PLACE}.files[0].blob_id: expected a git object id of 40"),
        (setting(*FILES, 0, "blob_id", to=None), f"{_PLACE}.files[0].blob_id: expected a string, found nothing (null)"),
        (setting(*FILES, 0, "mtime", to=1), f"{_PLACE}.files[0]: expected only the keys 'path', 'size', 'sha256', "),
        (removing(*FILES, 0, "size"), f"{_PLACE}.files[0]: expected the key 'size', found only"),
    ],
)  # fmt: skip
def test_a_malformed_lock_is_refused_with_the_key_path(change: Callable[[Any], None], message: str) -> None:
    document = json.loads(TEXT)
    change(document)
    with pytest.raises(LockError) as caught:
        Lock.from_bytes(json.dumps(document).encode(), "some.lock")
    assert str(caught.value).startswith(f"some.lock: {message}")


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "found something else"),
        (b"\xff", "found something else"),
        (b"version: 1", "found something else"),
        (TEXT.encode()[:-20], "found something else"),
        (TEXT.replace("384", "384.0").encode(), "expected integers only, found 384.0"),
        (TEXT.replace("384", "NaN").encode(), "expected integers only, found NaN"),
        (TEXT.replace('"license"', '"files": [], "license"').encode(), "expected each key once, found 'files' twice"),
        (TEXT.replace("apache-2.0", "\\ud800").encode(), "found something else"),
        (b"[" * 100_000, "found something else"),
    ],
)  # fmt: skip
def test_a_lock_that_is_no_json_is_refused(data: bytes, found: str) -> None:
    with pytest.raises(LockError, match=r"^some\.lock: ") as caught:
        Lock.from_bytes(data, "some.lock")
    assert found in str(caught.value)


# --- against a specification ---

SPEC = {
    "mini": {
        "sources": [
            {"hub": "org/mini", "revision": COMMIT},
            {"wheel": "mini==1", "path": "mini/model"},
            {"directory": "models/mini"},
        ]
    }
}


def test_sources_are_recorded_as_they_were_asked_for() -> None:
    assert locked_sources(spec_of(SPEC).models["mini"]) == MODEL.sources
    assert locked_sources(spec_of({"mini": {"sources": [{"hub": "mini"}]}}).models["mini"]) == (
        LockedSource(kind="hub", id="mini", detail="main"),
    )


def test_a_lock_that_fits() -> None:
    assert differences(spec_of(SPEC), LOCK) == []


def test_what_does_not_change_the_bytes_is_no_difference() -> None:
    more = {"aliases": ["a"], "normalize": False, "when_unavailable": "fail"}
    assert differences(spec_of({"mini": {**SPEC["mini"], **more}}), LOCK) == []


def test_every_difference_is_told() -> None:
    spec = spec_of({"mini": {"sources": [{"hub": "org/mini", "revision": "main"}]}, "new": SPEC["mini"]})
    lock = Lock(
        models={
            "mini": LockedModel(
                sources=MODEL.sources,
                variants=("onnx-fp32", "torch-fp32"),
                revision=None,
                license=None,
                dimension=1,
                files=(),
            ),
            "old": MODEL,
        }
    )
    assert differences(spec, lock) == [
        f"mini: sources: expected hub:org/mini@main, found {', '.join(map(str, MODEL.sources))}",
        "mini: variants: expected torch-fp32, found onnx-fp32, torch-fp32",
        "new: expected an entry, found none",
        "old: expected no entry, because the specification has no such model, found one",
    ]
    assert differences(spec, lock, ["new"]) == ["new: expected an entry, found none"]
    assert differences(spec, lock, []) == []


def test_the_order_of_sources_is_a_difference_and_that_of_variants_is_not() -> None:
    turned = {"mini": {"sources": list(reversed(SPEC["mini"]["sources"]))}}
    assert len(differences(spec_of(turned), LOCK)) == 1


def test_another_commit_than_the_pinned_one_is_a_difference() -> None:
    lock = Lock(models={"mini": replace(MODEL, revision="f" * 40)})
    assert differences(spec_of(SPEC), lock) == [f"mini: revision: expected {COMMIT}, found {'f' * 40}"]


# --- the lock of this repository ---


@pytest.fixture(scope="module")
def committed() -> Lock:
    return Lock.from_bytes((REPOSITORY / "models.lock").read_bytes(), "models.lock")


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """What is publicly known of both models; how, its ``_about`` says."""
    facts: dict[str, Any] = json.loads((REPOSITORY / "tests/data/known-models.json").read_bytes())
    return {name: known for name, known in facts.items() if name != "_about"}


def test_the_committed_lock_fits_the_committed_list(committed: Lock) -> None:
    spec = parse_spec((REPOSITORY / "models.yaml").read_bytes(), "models.yaml")
    assert differences(spec, committed) == []


def test_the_committed_lock_is_spelled_canonically(committed: Lock) -> None:
    assert (REPOSITORY / "models.lock").read_bytes() == committed.to_bytes()


def test_the_committed_lock_has_exactly_the_published_digests(committed: Lock, published: dict[str, Any]) -> None:
    assert len(published) == 2
    by_repository = {model.origin.id: model for model in committed.models.values()}
    assert by_repository.keys() == published.keys()
    for repository, known in published.items():
        model = by_repository[repository]
        locked = {
            file.path: {
                "size": file.size,
                "sha256": file.sha256.hex,
                **({"blob_id": file.blob_id} if file.blob_id else {}),
            }
            for file in model.files
        }
        assert locked == known["files"]
        assert (model.revision, model.license) == (known["commit"], known["license"])
        assert model.origin.detail == known["commit"]
        assert model.dimension == 384


def test_the_committed_lock_names_the_published_mirror(committed: Lock, published: dict[str, Any]) -> None:
    known = next(known["mirror"] for known in published.values() if "mirror" in known)
    assert committed.models["mini"].sources[1] == LockedSource(kind="wheel", id=known["wheel"], detail=known["path"])
