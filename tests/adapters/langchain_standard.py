"""The suites that LangChain has for embeddings, over the bundle at ``THOTH_MODELS_DIR``.

Run by test_langchain_standard in a process of its own, with the plugins that the suites need.
"""

from __future__ import annotations

from typing import Any

from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from thoth_models.adapters.langchain import ThothEmbeddings


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[ThothEmbeddings]:
        return ThothEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "mini"}


class TestIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[ThothEmbeddings]:
        return ThothEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "mini"}
