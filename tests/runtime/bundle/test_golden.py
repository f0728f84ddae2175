from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from thoth_models.bundle.canonical_json import FormatError, canonical_json
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.golden import Golden, checked_at_load

GOLDEN = Golden(
    texts=("a", "é\n"), prompts=("", "query: "), vectors=np.array([[1.5, -0.0, 3e-30], [0, 1 / 3, 7]], dtype=np.float32)
)


def changed(**changes: Any) -> bytes:
    return canonical_json({**json.loads(GOLDEN.to_bytes()), **changes})


def test_golden_vectors_survive_their_bytes_to_the_bit() -> None:
    again = Golden.from_bytes(GOLDEN.to_bytes(), dimension=3)
    assert (again.texts, again.prompts) == (GOLDEN.texts, GOLDEN.prompts)
    assert again.vectors.dtype == np.float32
    assert again.vectors.tobytes() == GOLDEN.vectors.tobytes()
    assert again.to_bytes() == GOLDEN.to_bytes()


def test_the_bytes_do_not_depend_on_how_the_array_lies_in_memory() -> None:
    turned = Golden(texts=GOLDEN.texts, prompts=GOLDEN.prompts, vectors=np.asfortranarray(GOLDEN.vectors))
    assert turned.to_bytes() == GOLDEN.to_bytes()


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version: expected 1, found 2"),
        ({"dimension": 4}, "dimension: expected 3, found 4"),
        ({"texts": [], "prompts": []}, "texts: expected at least one text"),
        ({"texts": ["a", 1]}, r"texts\[1\]: expected a string"),
        ({"prompts": [""]}, "prompts: expected 2 prompts, one for each text, found 1"),
        ({"vectors": "%%%"}, "vectors: expected base64"),
        ({"vectors": "éééé"}, "vectors: expected base64"),
        ({"vectors": "AAAA"}, "vectors: expected 24 bytes in base64, found 3"),
        (
            {"vectors": base64.b64encode(np.array([1, 2, 3, 4, 5, np.nan], dtype="<f4").tobytes()).decode()},
            "vectors: expected finite numbers only",
        ),
        ({"more": 1}, "expected only the keys"),
    ],
)
def test_malformed_golden_vectors_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Golden.from_bytes(changed(**changes), dimension=3)


def test_a_load_is_checked_with_the_first_text_and_a_short_one_without_a_prompt() -> None:
    short = [f"text {number}" for number in range(20)]
    texts = ("x" * 500, "", " \n", "query", "y" * 25, *short)
    prompts = ("", "", "", "query: ", *[""] * 21)
    golden = Golden(texts=texts, prompts=prompts, vectors=np.zeros((len(texts), 1), dtype=np.float32))
    chosen = [checked_at_load(golden, Digest.of(bytes([number]))) for number in range(200)]
    assert {(first, len(others)) for first, *others in chosen} == {(0, 1)}
    assert {place for _, *others in chosen for place in others} == set(range(5, 25))
    assert checked_at_load(golden, Digest.of(b"\0")) == chosen[0]


def test_a_load_is_checked_with_what_there_is() -> None:
    assert checked_at_load(GOLDEN, Digest.of(b"")) == (0,)
