"""Tokenizers that a stranger wrote: what the library does with them ends in an error that names them, in time.

The library is written in Rust: a panic there is no ``Exception`` of Python, so that a service which catches those ends.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundles import golden_of, make_bundle, make_writable, proved, tiny_plan
from tests.support.checkpoints import changed_tokenizer, split, with_tokenizer
from tests.support.compiled import ALL, project_of
from tests.support.onnx_models import plan, tokenizer_json, variant_files, verified
from thoth_models import BackendError, ModelUnavailableError, load_embedding
from thoth_models_builder.errors import BuildError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tiny_models import TinyModel
    from thoth_models.types import FloatArray

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [pytest.mark.onnx, pytest.mark.hostile]


def mapped(trie: bytes, normalized: bytes, *, size: int | None = None) -> dict[str, Any]:
    """Return a normalizer of SentencePiece: a size, a trie, and the texts that it leads to."""
    data = struct.pack("<I", len(trie) if size is None else size) + trie + normalized
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode()}


def nested(kind: str, innermost: dict[str, Any]) -> dict[str, Any]:
    found = innermost
    for _ in range(150):
        found = {"type": "Sequence", kind: [found]}
    return found


def bpe(vocabulary: dict[str, int], merges: list[list[str]], **more: Any) -> dict[str, Any]:
    return {"type": "BPE", "vocab": vocabulary, "merges": merges, **more}


def token(number: int, content: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": content, **flags}


ENDLESS = split("a*a*a*(?![a ])")
"""Takes time with the fourth power of the length of a word. The library limits the steps from one place of a text, and
of places there are many."""
LONG = ("a" * 350 + " ") * 500

REFUSED: dict[str, dict[str, Any]] = {
    "a map that is not base64": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "!!!!"}},
    "an empty map": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}},
    "a map shorter than its size": {"normalizer": mapped(b"", b"abc", size=4096)},
    "a map of garbage": {"normalizer": mapped(bytes(range(256)) * 4, b"\xff\xfe\0")},
    "normalizers in normalizers": {"normalizer": nested("normalizers", {"type": "Lowercase"})},
    "pre-tokenizers in pre-tokenizers": {"pre_tokenizer": nested("pretokenizers", {"type": "Whitespace"})},
    "a regular expression that is none": {"pre_tokenizer": split("((((")},
    "a regular expression of many groups": {"pre_tokenizer": split("(" * 5000 + "a" + ")" * 5000)},
    "an id beyond all integers of the library": {"model": {"vocab": {"[UNK]": 2**62}}},
    "a negative id": {"model": {"vocab": {"[UNK]": -1}}},
    "an added token with such an id": {"added_tokens": [token(2**62, "added")]},
    "merges longer than every token": {"model": bpe({"a": 0, "b": 1}, [["a", "b"]])},
    "a prefix longer than a merge": {
        "model": bpe({"a": 0, "b": 1, "ab": 2}, [["a", "b"]], continuing_subword_prefix="#" * 10)
    },
    "a vocabulary without tokens": {"model": {"type": "Unigram", "unk_id": 0, "vocab": []}},
    "an unknown token that is not there": {"model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.0]]}},
}
FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "a map without a trie": ({"normalizer": mapped(b"", b"abc")}, "water"),
    "pieces without a length": ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "water"),
    "a regular expression of exponential time": ({"pre_tokenizer": split("(a+)+$")}, "a" * 3000 + "b"),
    "an unknown token that is not in the vocabulary": ({"model": {"unk_token": "[NONE]"}}, "日本"),
}
HARMLESS: dict[str, dict[str, Any]] = {
    "an added token without content": {"added_tokens": [token(40, "")]},
    "two tokens with one id": {"model": {"vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "water": 3}}},
    "an empty regular expression": {"pre_tokenizer": split("")},
    "an empty text that is replaced": {"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "x"}},
}


def encode(root: Path, files: Path, changes: dict[str, Any], text: str) -> FloatArray:
    from thoth_models.backends.onnx import OnnxBackend

    tokenizer = changed_tokenizer(tokenizer_json(), changes)
    backend = OnnxBackend(verified(root, plan(variant_files(files, tokenizer=tokenizer))))
    return backend.encode([text], prompt=None, batch_size=None, show_progress_bar=False)


@pytest.mark.parametrize("changes", REFUSED.values(), ids=list(REFUSED))
def test_a_tokenizer_that_is_malformed(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(BackendError, match=r"^tokenizer\.json cannot be read: "):
        encode(tmp_path / "bundle", tmp_path / "files", changes, "water")


@pytest.mark.parametrize(("changes", "text"), FAILING.values(), ids=list(FAILING))
def test_a_tokenizer_that_fails_for_a_text(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(BackendError, match=r"^texts\[0\]: the tokenizer failed: "):
        encode(tmp_path / "bundle", tmp_path / "files", changes, text)


@pytest.mark.parametrize("changes", HARMLESS.values(), ids=list(HARMLESS))
def test_a_tokenizer_that_is_only_strange(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert encode(tmp_path / "bundle", tmp_path / "files", changes, "water").shape == (1, 8)


def test_an_id_without_a_row_does_not_reach_into_other_memory(tmp_path: Path) -> None:
    vocabulary = {**json.loads(tokenizer_json())["model"]["vocab"], "water": 2**32 - 1}
    with pytest.raises(BackendError, match=r"^texts\[0\]: onnxruntime could not run model\.onnx: "):
        encode(tmp_path / "bundle", tmp_path / "files", {"model": {"vocab": vocabulary}}, "water")


_LOAD = """
import sys
import numpy, onnxruntime, tokenizers
from thoth_models import LoadTimeout, load_embedding
try:
    load_embedding(root=sys.argv[1], timeout=4)
except LoadTimeout as error:
    print(str(error).splitlines()[0])
"""


def test_a_regular_expression_that_never_ends_is_waited_for_until_the_deadline(tmp_path: Path, run_python: Run) -> None:
    """In another process, because the library goes on with it."""
    files = variant_files(tmp_path / "files", tokenizer=changed_tokenizer(tokenizer_json(), {"pre_tokenizer": ENDLESS}))
    make_bundle(tmp_path / "bundle", [proved(plan(files), golden_of([LONG, LONG]))], default="mini")
    done = run_python("-c", _LOAD, str(tmp_path / "bundle"))
    assert done.returncode == 0, done.stderr
    assert "did not finish within 4 s; it was loading mini/onnx-fp32" in done.stdout
    make_writable(tmp_path / "bundle")


# --- with sentence-transformers, whose parts of Rust are the same ---


PANICS: dict[str, dict[str, Any]] = {
    "when it is read": REFUSED["a map of garbage"],
    "when it is used": FAILING["pieces without a length"][0],
}


@pytest.mark.torch
@pytest.mark.parametrize("changes", PANICS.values(), ids=list(PANICS))
def test_a_tokenizer_that_panics_is_an_error(
    wordpiece_model: TinyModel, tmp_path: Path, changes: dict[str, Any]
) -> None:
    model = with_tokenizer(wordpiece_model, tmp_path / "model", changes)
    make_bundle(tmp_path / "bundle", [tiny_plan("mini", model)], default="mini")
    with pytest.raises(ModelUnavailableError, match="sentence-transformers could not load the model: PanicException: "):
        load_embedding(root=tmp_path / "bundle")
    make_writable(tmp_path / "bundle")


@pytest.mark.torch
def test_a_build_names_each_model_with_such_a_tokenizer_and_builds_the_others(
    wordpiece_model: TinyModel, tmp_path: Path
) -> None:
    """In the compiler's process, which is ended where it does not end."""
    hostile = {
        "endless": ({"pre_tokenizer": split(r".{0,200}.{0,200}.{0,200}(?!.|$)|\s")}, "found it at work still on"),
        "garbage": (PANICS["when it is read"], "a model that sentence-transformers loads, found PanicException: "),
        # The library asks for 8 GB before it reads: with limited memory, that ends the process of the step.
        "size": ({"normalizer": mapped(b"", b"x" * 100, size=2**32 - 4)}, "expected "),
        "pieces": (PANICS["when it is used"], "a model that sentence-transformers loads, found PanicException: "),
    }
    models = {name: with_tokenizer(wordpiece_model, tmp_path / name, changes) for name, (changes, _) in hostile.items()}
    project = project_of(tmp_path / "project", wordpiece_model, others=models, variants=ALL[2:])
    with pytest.raises(BuildError) as caught:
        project.build(compile_deadline=8)
    said = {line.partition(":")[0]: line for line in str(caught.value).splitlines() if not line.startswith(" ")}
    assert said.keys() == hostile.keys()
    for name, (_, expected) in hostile.items():
        assert expected in said[name]
    assert project.build(models=["mini"]).compile_seconds == 0
    make_writable(project.root)
