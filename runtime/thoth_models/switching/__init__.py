"""Local or hosted embeddings, chosen by an environment variable; both sides keep track of the embedding space."""

from thoth_models.switching.choice import Hosted, SwitchedEmbeddings, choose_embeddings
from thoth_models.switching.sides import Side, TextEncoder

__all__ = ["Hosted", "Side", "SwitchedEmbeddings", "TextEncoder", "choose_embeddings"]
