"""What to write into models.yaml for a model that is refused: the block of its code, or the key for its pickles."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.errors import SourceError
from thoth_models_builder.pipeline.reviewed.pickles import advice
from thoth_models_builder.spec.variants import MODULES_FILE

if TYPE_CHECKING:
    from thoth_models_builder.pipeline.reviewed.code import CodeFinder
    from thoth_models_builder.spec.models_yaml import ModelSpec

_log = logging.getLogger(__name__)


def advice_on(model: ModelSpec, finder: CodeFinder) -> str:
    """Return what follows the reason why a model was refused; empty if there is nothing to write.

    A source that fails now is not an error: the reason was found before.
    """
    names = (MODULES_FILE, "config.json", "tokenizer_config.json")
    try:
        remote = {file.path: file for file in finder.source.list_files().files}
        paths = [path for path in remote if path.rpartition("/")[2] in names and path.count("/") <= 1]
        small = finder.ingest(finder.source, [remote[path] for path in paths])
    except SourceError as error:
        _log.info("what to do about a refused model is not known: %s", error)
        return ""
    store = finder.context.store
    files = ModelFiles({path: file.sha256 for path, file in small.items()}, lambda path: store.read(small[path].sha256))
    pickles = "" if model.pickle == "convert" else advice(remote, finder.source)
    return f"{pickles}{finder.advice(remote, files)}"
