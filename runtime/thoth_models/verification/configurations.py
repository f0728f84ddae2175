"""Check what the files of a variant say, once their bytes were compared: references that lead elsewhere, and the space.

Used by :mod:`thoth_models.verification.verify`, which passes a function that returns compared bytes: what is checked
here is what was compared.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, Final

from thoth_models.bundle.space import SENTENCE_TRANSFORMERS_FILE, possible_spaces
from thoth_models.bundle.unsafe_references import MODULES_FILE, reads, unsafe_references
from thoth_models.errors import Problem, VerificationError
from thoth_models.verification.contents import read_compared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from thoth_models.bundle.manifest import BuiltModel, Manifest, Model, Variant

_MAX_SIZE: Final = 64 * 1024 * 1024
"""Maximum size of a variant's configurations in bytes; those with thousands of added tokens have a few megabytes."""

_AS_PUBLISHED: Final = "torch"
"""The backend that loads the published files themselves, so that its variants have all files that make a space."""


def check_configurations(
    manifest: Manifest, model: Model, built: BuiltModel, variant: Variant, read: Callable[[str], bytes]
) -> list[Problem]:
    """Return what is wrong in the configurations of a variant.

    Args:
        manifest: The manifest of the bundle.
        model: The model.
        built: That model's files and settings.
        variant: The variant.
        read: Returns the compared bytes of a file of the variant, by path below the bundle root.
    """
    return list(_Configurations(manifest, variant, read).check(model, built))


def check_all_configurations(root: Path, manifest: Manifest) -> Iterator[Problem]:
    """Yield what is wrong in the configurations of all variants of a bundle.

    Raises:
        VerificationError: A file has changed since it was compared.
    """

    def read(path: str) -> bytes:
        data = read_compared(root, path, manifest.files[path])
        if isinstance(data, Problem):
            raise VerificationError(str(root), [data])
        return data

    for model in manifest.models.values():
        if model.built is not None:
            for variant in model.built.variants:
                yield from check_configurations(manifest, model, model.built, variant, read)


class _UnreadableError(Exception):
    """A configuration is not JSON of its kind."""


class _Configurations:
    """The configurations of one variant, each read and parsed at most once."""

    def __init__(self, manifest: Manifest, variant: Variant, read: Callable[[str], bytes]) -> None:
        self._prefix = f"{variant.directory}/"
        self._variant = variant
        self._contents = {path.removeprefix(self._prefix): manifest.files[path] for path in variant.files}
        self._read = read
        self._parsed = functools.cache(self._parse)

    def check(self, model: Model, built: BuiltModel) -> Iterator[Problem]:
        total = 0
        for path, content in self._contents.items():
            if not (reads(path) or path == SENTENCE_TRANSFORMERS_FILE):
                continue
            # Together: each is kept once it was parsed, and there may be one in each of any number of directories.
            if (total := total + content.size) > _MAX_SIZE:
                expected, found = f"at most {_MAX_SIZE} bytes of configurations", f"{total} bytes"
                yield Problem(kind="changed", path=self._prefix + path, expected=expected, found=found)
                return
        unsafe = list(self._check_references())
        yield from unsafe
        if not unsafe and self._variant.backend == _AS_PUBLISHED:
            yield from self._check_space(model, built)

    def _parse(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return the content of a file; None if the library cannot read it either."""
        try:
            return json.loads(self._read(self._prefix + path))
        except (ValueError, RecursionError):
            return None

    def _check_references(self) -> Iterator[Problem]:
        """Yield the references that would lead a library out of the verified files."""

        def value(path: str, kind: type[Any]) -> Any:  # noqa: ANN401 - of that kind
            found = self._parsed(path)
            return found if isinstance(found, kind) else kind()

        for finding in unsafe_references(self._contents, value):
            yield Problem(
                kind="unsafe", path=self._prefix + finding.path, expected=finding.expected, found=finding.found
            )

    def _check_space(self, model: Model, built: BuiltModel) -> Iterator[Problem]:
        """Yield the problem that these are not the files of the space that the manifest states."""
        if MODULES_FILE in self._contents and not isinstance(self._parsed(MODULES_FILE), list):
            return  # no library makes a model of these files

        def value(path: str, kind: type[Any]) -> Any:  # noqa: ANN401 - of that kind
            found = self._parsed(path)
            if not isinstance(found, kind):
                raise _UnreadableError(f"{path} is not a JSON {kind.__name__}")
            return found

        digests = {path: content.sha256 for path, content in self._contents.items()}
        try:
            spaces = list(possible_spaces(digests, value, built, model.dimension))
        except (_UnreadableError, ValueError) as error:
            found = f"none, because of a configuration ({error})"
        else:
            if built.space in spaces:
                return
            found = f"{spaces[0]}: other files, or another pooling, length, prompt or normalisation in the manifest"
        yield Problem(
            kind="space",
            path=self._variant.directory,
            expected=f"the embedding space {built.space} of {model.name!r}, as the manifest states it",
            found=found,
        )
