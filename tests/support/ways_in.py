"""Every way in which a bundle is used, each to be tried with a bundle that must be refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from thoth_models import EmbeddingManager, ManagerConfig, load_embedding
from thoth_models.compat.named_model import NamedModel
from thoth_models.switching.choice import choose_embeddings
from thoth_models.switching.sides import Hosted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def _managed(root: Path, **settings: Any) -> None:
    with EmbeddingManager(ManagerConfig(root=root, **settings)) as manager:
        manager.encode("text", model="mini")


def _switched(root: Path, **settings: Any) -> None:
    hosted = Hosted(make=lambda: pytest.fail("the hosted side was chosen"), identity="openai:other:8", dimension=8)
    choose_embeddings(index=None, hosted=hosted, local="mini", config=ManagerConfig(root=root, **settings), environ={})


LIBRARY: Final[Mapping[str, Callable[..., object]]] = {
    "load_embedding": lambda root, **settings: load_embedding(root=root, **settings),
    "EmbeddingManager": _managed,
    "NamedModel": lambda root, **settings: NamedModel("mini", ManagerConfig(root=root, **settings)).manifest(),
    "choose_embeddings": _switched,
}
"""Calls of the library, by what is called: each takes the bundle, and settings as ``load_embedding`` has them."""

COMMANDS: Final[Mapping[str, list[str]]] = {
    "verify": ["verify"],
    "list": ["list"],
    "doctor": ["doctor"],
    "doctor --all": ["doctor", "--all"],
    "doctor --quick": ["doctor", "--quick"],
    "embed": ["embed", "--text", "text"],
}
"""Commands of ``thoth-models`` that use a bundle, without ``--root``."""
