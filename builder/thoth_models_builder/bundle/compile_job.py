"""Compose the job of the compiler process from the facts about a model. Part of what the cache key covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models_builder.spec.compile_job import CompileJob

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from thoth_models.bundle.digest import ContentDigest
    from thoth_models_builder.bundle.describe import ModelFacts


def compile_job(
    facts: ModelFacts, source: Mapping[str, ContentDigest], variants: Collection[str], code: Collection[str] = ()
) -> CompileJob:
    """Return the job that compiles ``variants`` of a model.

    Args:
        facts: Facts about the model.
        source: Content of each source file, by path in the model's source directory.
        variants: Names of the variants to compile, in any order.
        code: Paths of the source files that are reviewed Python code, in any order.
    """
    return CompileJob(
        source=source,
        variants=tuple(sorted(set(variants))),
        dimension=facts.dimension,
        max_seq_length=facts.max_seq_length,
        pooling=facts.pooling,
        similarity=facts.similarity,
        prompts=facts.prompts,
        default_prompt_name=facts.default_prompt_name,
        code=tuple(sorted(code)),
    )
