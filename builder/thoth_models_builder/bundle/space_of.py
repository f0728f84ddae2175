"""The identity of a model's embedding space, from its files and the facts in them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.space import SpaceInputs, space_id
from thoth_models_builder.spec.variants import MODULES_FILE, SENTENCE_TRANSFORMERS_FILE

if TYPE_CHECKING:
    from thoth_models_builder.bundle.describe import ModelFacts
    from thoth_models_builder.bundle.model_files import ModelFiles

# Keys about the origin of a file, not about its effect; they must not make equal spaces differ.
_PROVENANCE: Final = frozenset(
    {"_name_or_path", "name_or_path", "transformers_version", "torch_dtype", "dtype", "special_tokens_map_file",
     "tokenizer_file", "architectures", "use_cache", "gradient_checkpointing"}
)  # fmt: skip


def space_of(files: ModelFiles, facts: ModelFacts, *, normalize: bool) -> Digest:
    """Return the identity of the model's embedding space, see :mod:`thoth_models.bundle.space`.

    Args:
        files: The files of the model.
        facts: The result of :func:`describe` for them.
        normalize: Whether the bundle normalises vectors to unit length; no difference if the model does so itself.
    """
    weights: dict[str, str] = {}
    architecture: dict[str, str] = {}
    tokenizer: dict[str, str] = {}
    for path, digest in files.digests.items():
        name = path.rpartition("/")[2]
        if name.endswith(".safetensors"):
            weights[path] = digest.hex
        elif name.endswith(".safetensors.index.json"):
            continue  # only says which file has which weight; the weights are included
        elif name == SENTENCE_TRANSFORMERS_FILE:
            continue  # prompts, similarity and truncation are read separately
        elif name.endswith(".py"):
            architecture[path] = digest.hex
        elif name == "tokenizer_config.json":
            tokenizer[path] = _meaning(files, path)
        elif name.endswith("config.json") or path == MODULES_FILE:
            architecture[path] = _meaning(files, path) if name == "config.json" else digest.hex
        else:
            tokenizer[path] = digest.hex
    return space_id(
        SpaceInputs(
            weights=weights,
            architecture=architecture,
            tokenizer=tokenizer,
            pooling=facts.pooling,
            normalize=normalize or facts.has_normalize,
            max_seq_length=facts.max_seq_length,
            prompts=facts.prompts,
            default_prompt_name=facts.default_prompt_name,
            truncate_dim=facts.truncate_dim,
        )
    )


def _meaning(files: ModelFiles, path: str) -> str:
    """Return the digest of a configuration, without the keys that are only about its origin."""
    values = {key: value for key, value in files.json(path, dict).items() if key not in _PROVENANCE}
    return Digest.of(canonical_json(values)).hex
