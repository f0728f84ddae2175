"""The files of one model, read through functions that are given: from a store, a bundle or a test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.errors import UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_HEADER_SIZE: Final = 2**20
"""Longest header of a safetensors file that is read, in bytes; with one to three tensors it has some hundred."""


class ModelFiles:
    """The files of one model, by path relative to its directory.

    Args:
        digests: sha256 of each file.
        read: Returns the content of a small file.
        start: Returns the first bytes of a file, given their number, for files that may be large; by default ``read``.
    """

    def __init__(
        self,
        digests: Mapping[str, Digest],
        read: Callable[[str], bytes],
        start: Callable[[str, int], bytes] | None = None,
    ) -> None:
        self.digests = digests
        self._read = read
        self._start = start or (lambda path, size: read(path)[:size])

    def read(self, path: str) -> bytes:
        """Return the bytes of a file, which must be among them."""
        return self._read(path)

    def json(self, path: str, kind: type[dict[str, Any] | list[Any]], *, is_large: bool = False) -> Any:  # noqa: ANN401
        """Return the content of a JSON file whose root is an object or a list.

        Args:
            path: The file.
            kind: The type of its root.
            is_large: Whether it may have some hundred thousand values, which are then taken as they are.

        Raises:
            UnsupportedModelError: The file does not exist, or has something else, or a value without a canonical form.
        """
        if path not in self.digests:
            raise UnsupportedModelError(f"{path}: expected this file, found none")
        try:
            value = json.loads(self._read(path))
            if not is_large:
                canonical_json(value)  # refuses values without a canonical form: NaN and lone surrogates
        except (ValueError, RecursionError) as error:
            raise UnsupportedModelError(f"{path}: expected JSON, found something else ({error})") from error
        if not isinstance(value, kind):
            raise UnsupportedModelError(f"{path}: expected a JSON {kind.__name__}, found {type(value).__name__}")
        return value

    def optional_object(self, path: str) -> dict[str, Any]:
        """Return the content of a JSON file whose root is an object; an empty object if the file is missing."""
        return self.json(path, dict) if path in self.digests else {}

    def changed(self, path: str, data: bytes | ContentDigest) -> ModelFiles:
        """Return these files with another content of one of them.

        Args:
            path: The file, which may be a new one.
            data: Its content, or the digest of content that cannot be read then.
        """
        known = data.sha256 if isinstance(data, ContentDigest) else Digest.of(data)

        def read(wanted: str) -> bytes:
            if wanted != path:
                return self._read(wanted)
            if isinstance(data, ContentDigest):
                raise UnsupportedModelError(f"{path}: expected a small file, found one that only its digest stands for")
            return data

        def start(wanted: str, size: int) -> bytes:
            return self._start(wanted, size) if wanted != path else read(path)[:size]

        return ModelFiles({**self.digests, path: known}, read, start)

    def shapes(self, path: str) -> dict[str, list[int]]:
        """Return the shape of each tensor of a safetensors file, by name, from its header.

        The format: the length of the header in eight bytes, little-endian; the header, which is JSON; the data.

        Raises:
            UnsupportedModelError: The file is not a safetensors file, or its header is longer than for a few tensors.
        """
        size = int.from_bytes(self._start(path, 8), "little")
        if size > _MAX_HEADER_SIZE:
            raise UnsupportedModelError(f"{path}: expected a header of at most {_MAX_HEADER_SIZE} bytes, found {size}")
        try:
            header = json.loads(self._start(path, 8 + size)[8:])
            return {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise UnsupportedModelError(
                f"{path}: expected the header of a safetensors file, found something else"
            ) from error
