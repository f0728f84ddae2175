"""The small files of a model, and what the builder says of them."""

from __future__ import annotations

from tests.support.projects import as_json, spec_of
from thoth_models.bundle.digest import Digest
from thoth_models_builder.bundle.configure import configure
from thoth_models_builder.bundle.describe import ModelFacts, describe
from thoth_models_builder.bundle.model_files import ModelFiles

Files = dict[str, bytes]
"""The content of each file of a model, by its path."""

_MODEL = spec_of({"mini": {"sources": [{"directory": "mini"}]}}).models["mini"]


def files_of(contents: Files) -> ModelFiles:
    return ModelFiles({path: Digest.of(data) for path, data in contents.items()}, contents.__getitem__)


def facts_of(contents: Files) -> ModelFacts:
    return describe(configure(files_of(contents), _MODEL).files)


def modules(*kinds: str) -> bytes:
    return as_json(
        [
            {"name": str(index), "path": f"{index}_{kind}", "type": f"sentence_transformers.models.{kind}"}
            for index, kind in enumerate(kinds)
        ]
    )
