"""The identity of a model's embedding space, from its files and the facts in them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models.bundle.space import SpaceInputs, file_inputs, space_id

if TYPE_CHECKING:
    from thoth_models.bundle.digest import Digest
    from thoth_models_builder.bundle.describe import ModelFacts
    from thoth_models_builder.bundle.model_files import ModelFiles


def space_of(files: ModelFiles, facts: ModelFacts, *, normalize: bool) -> Digest:
    """Return the identity of the model's embedding space, see :mod:`thoth_models.bundle.space`.

    Args:
        files: The files of the model.
        facts: The result of :func:`describe` for them.
        normalize: Whether the bundle normalises vectors to unit length; no difference if the model does so itself.
    """
    return space_id(
        SpaceInputs(
            **file_inputs(files.digests, files.json)._asdict(),
            pooling=facts.pooling,
            normalize=normalize or facts.has_normalize,
            max_seq_length=facts.max_seq_length,
            prompts=facts.prompts,
            default_prompt_name=facts.default_prompt_name,
            truncate_dim=facts.truncate_dim,
        )
    )
