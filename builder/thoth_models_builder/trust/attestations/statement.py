"""A statement about a bundle that others can check: https://github.com/in-toto/attestation/tree/main/spec/v1.

Pure: bytes in, values out. The subject is the bundle, by its name and its bundle digest. What is said about it is the
predicate, whose form its type names; the modules beside this one write and compare those that a builder makes. A
statement is signed in the same envelope as the signature of the bundle:
:mod:`thoth_models.verification.signatures.signature`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

from thoth_models.bundle.canonical_json import canonical_json, parse_json
from thoth_models.verification.signatures.signature import STATEMENT_TYPE

if TYPE_CHECKING:
    from thoth_models.bundle.canonical_json import Node
    from thoth_models.bundle.digest import Digest

MAX_SUBJECTS: Final = 1024
"""Maximum number of subjects of a statement of another tool; ours have one."""


_SHOWN: Final = 2
"""How many of them a message lists."""


class Attestation(NamedTuple):
    """A statement that is to be signed.

    Attributes:
        name: Name of the bundle, for people; it is not compared.
        bundle_digest: sha256 of its manifest.
        predicate_type: Type of the predicate, as a URI.
        predicate: Its JSON value.
    """

    name: str
    bundle_digest: Digest
    predicate_type: str
    predicate: object

    def to_bytes(self) -> bytes:
        """Return the JSON, which is the same for the same statement."""
        return canonical_json(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": self.name, "digest": {"sha256": self.bundle_digest.hex}}],
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )


class SignedStatement(NamedTuple):
    """A statement as it was signed, perhaps by another tool.

    Attributes:
        subjects: sha256 of each subject that has one.
        predicate_type: Type of the predicate.
        predicate: The predicate; its form has not been looked at.
    """

    subjects: frozenset[Digest]
    predicate_type: str
    predicate: Node

    @property
    def about(self) -> str:
        """What it is about, for messages."""
        return ", ".join(sorted(digest.hex for digest in self.subjects)[:_SHOWN]) or "something without a sha256"

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the JSON. Keys that the specification does not have are ignored, as it asks for.

        Raises:
            FormatError: It is not a statement of in-toto 1.0.
        """
        root = parse_json(data)
        root["_type"].one_of(STATEMENT_TYPE)
        digests = [item["digest"] for item in root["subject"].items(maximum=MAX_SUBJECTS)]
        return cls(
            subjects=frozenset(digest["sha256"].digest() for digest in digests if "sha256" in digest),
            predicate_type=root["predicateType"].text(),
            predicate=root["predicate"],
        )
