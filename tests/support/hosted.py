"""A hosted side for the switch, and the choice between it and an invented bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thoth_models.switching import SwitchedEmbeddings, choose_embeddings

if TYPE_CHECKING:
    from thoth_models import ManagerConfig
    from thoth_models.switching import Hosted

IDENTITY = "openai:text-embedding-3-small:4"
LOCAL = {"THOTH_EMBEDDINGS": "local"}
REMOTE = {"THOTH_EMBEDDINGS": "hosted"}


class Client:
    """A hosted side that answers what it is told to; keeps what it was asked."""

    def __init__(self) -> None:
        self.made = 0
        self.asked: list[list[str]] = []
        self.answer: Any = None

    def make(self) -> Client:
        self.made += 1
        return self

    def encode(self, texts: list[str]) -> Any:
        self.asked.append(texts)
        if isinstance(self.answer, Exception):
            raise self.answer
        return [[float(len(text)), 1.0, 2.0, 3.0] for text in texts] if self.answer is None else self.answer

    async def aencode(self, texts: list[str]) -> Any:
        return self.encode(texts)


def choose(hosted: Hosted, config: ManagerConfig, environ: dict[str, str], **more: Any) -> SwitchedEmbeddings:
    return choose_embeddings(**{"index": None, "hosted": hosted, "config": config, "environ": environ, **more})
