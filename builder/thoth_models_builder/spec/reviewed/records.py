"""What the lock records of reviewed code and of converted pickles: frozen types with their JSON form. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from thoth_models.bundle.canonical_json import safe_path
from thoth_models.bundle.digest import ContentDigest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from thoth_models.bundle.canonical_json import Node

CODE_PATTERN: Final = (
    r"^([A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}@[0-9a-f]{40}:)?"
    r"([A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_]+\.py$"
)
CODE_MEANING: Final = (
    "a Python file of the repository, or ORGANISATION/NAME@COMMIT:FILE.py for one of another repository"
)
_CODE: Final = re.compile(CODE_PATTERN, re.ASCII)


class CodeOrigin(NamedTuple):
    """A file of another repository: its id, a commit, and the path there."""

    repository: str
    revision: str
    path: str

    @classmethod
    def of(cls, name: str) -> CodeOrigin | None:
        """Return the origin that a key of ``code`` names, or None for a file of the model's own repository."""
        if ":" not in name:
            return None
        place, _, path = name.partition(":")
        repository, _, revision = place.partition("@")
        return cls(repository, revision, path)


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedCode:
    """A Python file of a model that was reviewed.

    Attributes:
        name: Its key in models.yaml: its path, with repository and commit if that is another one.
        path: Where the model expects it, relative to the model's directory.
        content: Its length and digest.
    """

    name: str
    path: str
    content: ContentDigest

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        size, sha256 = self.content.size, self.content.sha256.hex
        return {"name": self.name, "path": self.path, "size": size, "sha256": sha256}

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value."""
        keys = node.members("name", "path", "size", "sha256")
        content = ContentDigest(size=keys["size"].integer(minimum=0), sha256=keys["sha256"].digest())
        name, path = keys["name"].matching(_CODE, CODE_MEANING), safe_path(keys["path"])
        origin = CodeOrigin.of(name)
        # A module below the top may have its code in another repository, where it is at the top.
        follows = path == name if origin is None else f"/{path}".endswith(f"/{origin.path}")
        if not follows:
            raise keys["path"].wrong(f"the path of {name}")
        return cls(name=name, path=path, content=content)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedFile:
    """A file of weights that was made from pickles.

    Attributes:
        path: Its path in the model's directory, such as ``model.safetensors``.
        content: Its length and digest.
        made_from: Content of each file that it was made from, by path.
    """

    path: str
    content: ContentDigest
    made_from: Mapping[str, ContentDigest]

    def to_document(self) -> dict[str, object]:
        """Return the JSON value."""
        origins = {path: content.to_document() for path, content in sorted(self.made_from.items())}
        return {"path": self.path, **self.content.to_document(), "from": origins}

    @classmethod
    def from_node(cls, node: Node) -> Self:
        """Read the JSON value."""
        keys = node.members("path", "size", "sha256", "from")
        return cls(
            path=safe_path(keys["path"]),
            content=ContentDigest(size=keys["size"].integer(minimum=0), sha256=keys["sha256"].digest()),
            made_from={safe_path(item.key_node()): ContentDigest.from_node(item) for item in keys["from"].mapping()},
        )


def code_differences(specified: Mapping[str, str], locked: Iterable[LockedCode]) -> list[str]:
    """Return each difference between the code that a specification lists, by sha256, and what is locked."""
    # Each entry, also of a name that is there twice.
    found = {(code.name, code.content.sha256.hex) for code in locked}
    absent = {(name, "none") for name in specified.keys() - {name for name, _ in found}}
    return [
        f"code: {name}: expected sha256 {specified.get(name, 'of a listed file')}, found {sha256}"
        for name, sha256 in sorted(found | absent)
        if specified.get(name) != sha256
    ]
