"""The small files of a model, and what the builder says of them."""

from __future__ import annotations

from tests.support.projects import as_json
from thoth_models.bundle.digest import Digest
from thoth_models_builder.bundle.describe import ModelFacts, describe
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.bundle.published.repairs import with_repairs

Files = dict[str, bytes]
"""The content of each file of a model, by its path."""


def files_of(contents: Files) -> ModelFiles:
    return ModelFiles({path: Digest.of(data) for path, data in contents.items()}, contents.__getitem__)


def facts_of(contents: Files) -> ModelFacts:
    return describe(with_repairs(files_of(contents)))


def modules(*kinds: str) -> bytes:
    return as_json(
        [
            {"path": f"{index}_{kind}", "type": f"sentence_transformers.models.{kind}"}
            for index, kind in enumerate(kinds)
        ]
    )
