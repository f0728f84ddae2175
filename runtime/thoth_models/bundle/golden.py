"""``golden.json``: texts with their reference vectors, from sentence-transformers in fp32 when the bundle was built.

Pure: bytes in, values out. The vectors are what the model itself gives, before the bundle's own normalisation.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thoth_models.canonical import FormatError, Node, canonical_json, parse_json

if TYPE_CHECKING:
    from thoth_models.embedding import FloatArray

GOLDEN_NAME = "golden.json"
_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Golden:
    """Texts with their reference vectors.

    Attributes:
        texts: At least one. The first is the one that every load is checked with.
        prompts: What is put before each text; empty where nothing is.
        vectors: float32 of shape (len(texts), dimension).
    """

    texts: tuple[str, ...]
    prompts: tuple[str, ...]
    vectors: FloatArray

    def to_bytes(self) -> bytes:
        """Return the canonical JSON; the vectors are base64 of little-endian float32, row by row."""
        data = np.ascontiguousarray(self.vectors, dtype="<f4").tobytes()
        return canonical_json(
            {
                "version": _VERSION,
                "dimension": self.vectors.shape[1],
                "texts": list(self.texts),
                "prompts": list(self.prompts),
                "vectors": base64.b64encode(data).decode(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, dimension: int) -> Golden:
        """Parse the JSON of golden vectors.

        Raises:
            FormatError: It is not the JSON of golden vectors of that dimension.
        """
        keys = parse_json(data).table("version", "dimension", "texts", "prompts", "vectors")
        keys["version"].one_of(_VERSION)
        keys["dimension"].one_of(dimension)
        texts = tuple(item.text() for item in keys["texts"].items())
        if not texts:
            raise keys["texts"].wrong("at least one text")
        prompts = tuple(item.text() for item in keys["prompts"].items())
        if len(prompts) != len(texts):
            raise keys["prompts"].wrong(f"{len(texts)} prompts, one for each text", found=str(len(prompts)))
        return cls(texts=texts, prompts=prompts, vectors=_vectors(keys["vectors"], len(texts), dimension))


def _vectors(node: Node, count: int, dimension: int) -> FloatArray:
    try:
        data = base64.b64decode(node.text(), validate=True)
    except ValueError as error:  # binascii.Error is one, and so is what is said of letters beyond ASCII
        raise FormatError(f"{node.path}: expected base64, found something else ({error})") from error
    if len(data) != count * dimension * 4:
        raise FormatError(f"{node.path}: expected {count * dimension * 4} bytes in base64, found {len(data)}")
    vectors = np.frombuffer(data, dtype="<f4").reshape(count, dimension).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise FormatError(f"{node.path}: expected finite numbers only, found others")
    return vectors
