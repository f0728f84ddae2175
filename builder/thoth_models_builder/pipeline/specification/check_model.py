"""``check-model``: what the small files of a model say about a bundle with it. Writes nothing but to the store.

They say whether ``lock`` accepts it. Whether its weights are complete, and whether each variant can be made of it, only
a build finds out, which loads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from thoth_models_builder.bundle.configure import configure, notes_on
from thoth_models_builder.bundle.describe import describe, read_modules
from thoth_models_builder.bundle.published.special_tokens import refuse_without_room
from thoth_models_builder.bundle.published.tokenizers import compiled_fault, refuse_tokens_beyond_rows, vocabularies
from thoth_models_builder.errors import SourceError, SourceUnreachableError, UnsupportedModelError
from thoth_models_builder.pipeline.fetch import FetchContext, partial_files
from thoth_models_builder.pipeline.lock import finder_of, ingest, recognise
from thoth_models_builder.pipeline.reviewed.advice import advice_on
from thoth_models_builder.reports.results import ModelCheckReport
from thoth_models_builder.spec.licences.names import other_spdx
from thoth_models_builder.spec.models_yaml import HubSource
from thoth_models_builder.spec.new_model import block_entry, default_alias, default_name, new_model, source_of
from thoth_models_builder.spec.variants import VARIANTS, is_configuration
from thoth_models_builder.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from thoth_models_builder.bundle.describe import ModelFacts
    from thoth_models_builder.pipeline.lock import Recognised
    from thoth_models_builder.sources.limits import Limits
    from thoth_models_builder.sources.source import RemoteFile
    from thoth_models_builder.watcher import Watcher

_MAX_SMALL: Final = 64 * 1024 * 1024
"""Largest file that is fetched whole, in bytes; the tokenizer.json of Gemma has 33 million."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckOptions:
    """A model to check.

    Attributes:
        source: Its source, as a user writes it, see :mod:`thoth_models_builder.spec.new_model`.
        revision: Commit, tag or branch of a repository of the Hub; None for its branch ``main``.
        pooling: Modes of pooling, for a repository that does not say how it is done; empty for none.
    """

    source: str
    revision: str | None = None
    pooling: Sequence[str] = ()


def check_model(options: CheckOptions, store: Path, *, limits: Limits, watcher: Watcher) -> ModelCheckReport:
    """Describe a model as ``lock`` does, without its weights: of those, at most a StaticEmbedding's header is read.

    Args:
        options: The model.
        store: The store, which keeps the small files for ``lock``.
        limits: Bounds on every wait.
        watcher: Receives the progress of transfers.

    Raises:
        UsageError: The source has none of the known forms, or a mode of pooling is not a valid one.
        SourceError: The source failed.
        UnsupportedModelError: A bundle cannot contain the model; the message says why, and what to do.
    """
    is_directory = Path(options.source).is_dir()
    source = source_of(options.source, is_directory=is_directory, revision=options.revision)
    name = default_name(source)
    alias = default_alias(source, name)
    model = new_model(source, (), [alias] if alias else [], options.pooling)
    context = FetchContext(store=Store(store), base=Path.cwd(), limits=limits, watcher=watcher)
    with context.store.in_use(), context.sources(model, None) as (origin,):
        try:
            found = recognise(name, model, origin, context)
            small = {**found.small, **ingest(name, origin, list(_small(found)), context)}
            configuration = configure(partial_files(found.included, small, origin, context), model)
            facts, modules = describe(configuration.files), read_modules(configuration.files)
            unread = [found.remote[path] for path in vocabularies(found.remote, found.directory) if path not in small]
            if not unread:
                refuse_tokens_beyond_rows(configuration.files, found.directory, is_static=found.is_static)
                refuse_without_room(configuration.files, found.directory, facts.max_seq_length)
            is_known = not (unread and found.is_static)
            fault = (
                compiled_fault(configuration.files, found.directory, is_static=found.is_static) if is_known else None
            )
        except UnsupportedModelError as error:
            advice = advice_on(model, finder_of(name, model, origin, context))
            raise type(error)(f"{name} ({origin.label}): {error}{advice}") from error
        except SourceError as error:
            kind = type(error) if isinstance(error, SourceUnreachableError) else SourceError
            raise kind(f"{name} from {origin.label}: {error}") from error
    commit = found.listing.revision
    if isinstance(source, HubSource) and commit is not None:
        source = HubSource(hub=source.hub, revision=commit)
    included = [found.remote[path] for path in found.choice.included]
    variants = [variant for variant, kind in VARIANTS.items() if fault is None or not kind.is_compiled]
    listed = {} if fault is None else {"variants": variants}
    architecture = configuration.files.optional_object(found.path("config.json")).get("model_type")
    return ModelCheckReport(
        name=name,
        source=origin.label,
        revision=commit,
        license=found.listing.license,
        spdx=other_spdx(found.listing.license),
        architecture=architecture if isinstance(architecture, str) else modules[0].kind,
        modules=tuple(module.kind for module in modules),
        dimension=facts.dimension,
        max_seq_length=facts.max_seq_length,
        pooling=facts.pooling,
        is_normalized=facts.has_normalize,
        similarity=facts.similarity,
        prompts=dict(facts.prompts),
        default_prompt_name=facts.default_prompt_name,
        variants=tuple(variants),
        weight_bytes=sum(file.size or 0 for file in included if file.path.endswith(".safetensors")),
        bytes=sum(file.size or 0 for file in included),
        files=found.choice.included,
        refused=found.choice.refused,
        configured={file.path: file.reasons for file in configuration.configured},
        notes=(*configuration.notes, *notes_on(model, facts), *_notes(found, facts, fault, unread)),
        entry="\n".join(block_entry(name, model.model_copy(update={"sources": [source], **listed}))) + "\n",
    )


def _small(found: Recognised) -> Iterator[RemoteFile]:
    """Yield the files that describe the model, without those that were read already."""
    tokens = vocabularies(found.remote, found.directory)
    for path in found.choice.included:
        file = found.remote[path]
        is_wanted = is_configuration(path) or path.endswith("config.json") or path in tokens
        if is_wanted and path not in found.small and (file.size is None or file.size <= _MAX_SMALL):
            yield file


def _notes(found: Recognised, facts: ModelFacts, fault: str | None, unread: Sequence[RemoteFile]) -> Iterator[str]:
    """Yield what its files say against variants, and what they do not say, so that an author has to look it up."""
    compiled = ", ".join(variant for variant, kind in VARIANTS.items() if kind.is_compiled)
    if fault is not None:
        yield f"without {compiled}: {fault}"
    elif found.path("tokenizer.json") not in found.included:
        yield f"its tokenizer has no tokenizer.json: a build converts it, and leaves out {compiled} if it cannot"
    if not any(facts.prompts.values()):
        yield "its files have no prompts: if its card has some, such as `query: `, state them as `prompts`"
    if not facts.has_normalize and facts.similarity == "cosine":
        yield "its own vectors are not of unit length; `normalize: true`, the default, makes them so"
    for file in unread:
        yield (
            f"{file.path} has {file.size:,} bytes, more than are read here: `lock` reads it, and refuses tokens for "
            "which the embedding table has no row"
        )
