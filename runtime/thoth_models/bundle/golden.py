"""``golden.json``: texts with their reference vectors, from sentence-transformers in fp32 when the bundle was built.

Pure: bytes in, values out. The vectors are the model's own output, before the normalisation of the bundle.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thoth_models.bundle.canonical_json import FormatError, Node, canonical_json, parse_json
from thoth_models.bundle.digest import Digest

if TYPE_CHECKING:
    from thoth_models.types import FloatArray

GOLDEN_NAME = "golden.json"
_VERSION = 1

_SHORT = 24
"""Characters of the text that is checked at each load besides the first: each takes 2 % of the time to the first vector
of a small model."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Golden:
    """Texts with their reference vectors.

    Attributes:
        texts: At least one. Every load is checked with the first, and with another one.
        prompts: The prompt before each text; the empty string for none.
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
            FormatError: The document does not have golden vectors of that dimension.
        """
        keys = parse_json(data).members("version", "dimension", "texts", "prompts", "vectors")
        keys["version"].one_of(_VERSION)
        keys["dimension"].one_of(dimension)
        texts = tuple(item.text() for item in keys["texts"].items())
        if not texts:
            raise keys["texts"].wrong("at least one text")
        prompts = tuple(item.text() for item in keys["prompts"].items())
        if len(prompts) != len(texts):
            raise keys["prompts"].wrong(f"{len(texts)} prompts, one for each text", found=str(len(prompts)))
        return cls(texts=texts, prompts=prompts, vectors=_vectors(keys["vectors"], len(texts), dimension))


def checked_at_load(golden: Golden, bundle_digest: Digest) -> tuple[int, ...]:
    """Return which texts a load is checked with: the first, and a short one without a prompt that the digest chooses.

    Every bundle has another, so that all of them are checked somewhere, and not the same one everywhere.
    """
    short = (
        place
        for place, (text, prompt) in enumerate(zip(golden.texts, golden.prompts, strict=True))
        if place > 0 and text.strip() and len(text) <= _SHORT and not prompt
    )
    chosen = sorted(short, key=lambda place: Digest.of(f"{bundle_digest.hex}/{place}".encode()).hex)
    return (0, *chosen[:1])


def _vectors(node: Node, count: int, dimension: int) -> FloatArray:
    try:
        data = base64.b64decode(node.text(), validate=True)
    except ValueError as error:  # binascii.Error is a ValueError; letters beyond ASCII raise a plain one
        raise FormatError(f"{node.path}: expected base64, found something else ({error})") from error
    if len(data) != count * dimension * 4:
        raise FormatError(f"{node.path}: expected {count * dimension * 4} bytes in base64, found {len(data)}")
    vectors = np.frombuffer(data, dtype="<f4").reshape(count, dimension).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise FormatError(f"{node.path}: expected finite numbers only, found others")
    return vectors
