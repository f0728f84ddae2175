"""Map imported packages to the distributions that provide them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.migration.surface import Release

IMPORTED_AS = {
    "cohere": frozenset({"cohere"}),
    "haystack": frozenset({"haystack-ai"}),
    "haystack_integrations": frozenset(
        {"chroma-haystack", "pgvector-haystack", "pinecone-haystack", "qdrant-haystack", "weaviate-haystack"}
    ),
    "milvus_haystack": frozenset({"milvus-haystack"}),
    "mistralai": frozenset({"mistralai"}),
    "openai": frozenset({"openai"}),
    "pinecone": frozenset({"pinecone"}),
    "psycopg2": frozenset({"psycopg2", "psycopg2-binary"}),
    "pydantic": frozenset({"pydantic"}),
    "pymilvus": frozenset({"pymilvus"}),
    "qdrant_client": frozenset({"qdrant-client"}),
    "requests": frozenset({"requests"}),
    "torch": frozenset({"torch"}),
    "weaviate": frozenset({"weaviate-client"}),
}
"""The distributions that provide a package. For a package that is missing here, the audit fails with a KeyError."""

_NAME = re.compile(r"[a-z0-9-]+")


def required_names(release: Release, extra: str) -> dict[str, str]:
    """Return the version bounds of a release's requirements, by canonical name: of an extra, or "" for no extra."""
    found: dict[str, str] = {}
    for requirement in release.requires.get(extra, ()):
        match = _NAME.match(requirement)
        if match is not None:
            found[match[0]] = requirement[match.end() :]
    return found


def top_levels(release: Release) -> set[str]:
    """Return the packages outside of a release and of the standard library that its modules import."""
    return {name.partition(".")[0] for module in release.modules.values() for name in module.imports}
