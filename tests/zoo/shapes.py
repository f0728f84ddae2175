"""The shapes of the table, by name: how each is made, and how plain sentence-transformers loads it.

A shape is what models have in common in the eyes of a loader: modules and their files, tokenizer, architecture,
configuration keys, number format, prompts. It is made tiny, with random weights, and in the form that was published.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support import tiny_models
from tests.zoo import decoders, encoders, own_code
from tests.zoo.writing import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One shape.

    Attributes:
        make: Writes the files of the repository.
        runs_code: Whether the reference runs code: of the repository, or put beside the model where that is elsewhere.
        max_seq_length: Longest text of the tiny model, where models.yaml says one for the published models.
        pooling_includes_prompt: False where the reference must leave the prompt out of pooling, by its model card.
    """

    make: Callable[[Repository], None]
    runs_code: bool = False
    max_seq_length: int | None = None
    pooling_includes_prompt: bool = True


SHAPES: Mapping[str, Shape] = {
    "minilm": Shape(make=encoders.minilm),
    "bert-mean": Shape(make=encoders.bert_mean),
    "bert-mean-dot": Shape(make=encoders.bert_mean_dot),
    "e5": Shape(make=encoders.e5),
    "bge": Shape(make=encoders.bge),
    "gte-float16": Shape(make=encoders.gte_float16),
    "mxbai": Shape(make=encoders.mxbai),
    "arctic": Shape(make=encoders.arctic),
    "rubert-tiny": Shape(make=encoders.rubert_tiny),
    "labse": Shape(make=encoders.labse),
    "bert-unigram": Shape(make=encoders.bert_unigram),
    "e5-unigram": Shape(make=encoders.e5_unigram),
    "contriever": Shape(make=encoders.contriever),
    "simcse": Shape(make=encoders.simcse),
    "mpnet": Shape(make=encoders.mpnet),
    "mpnet-dot": Shape(make=encoders.mpnet_dot),
    "distiluse": Shape(make=encoders.distiluse),
    "tas-b": Shape(make=encoders.tas_b),
    "distilroberta": Shape(make=encoders.distilroberta),
    "roberta-wordpiece": Shape(make=encoders.roberta_wordpiece),
    "camembert": Shape(make=encoders.camembert),
    "phobert": Shape(make=encoders.phobert),
    "xlmr-mean": Shape(make=encoders.xlmr_mean),
    "e5-xlmr": Shape(make=encoders.e5_xlmr),
    "e5-instruct": Shape(make=encoders.e5_instruct),
    "bge-m3": Shape(make=encoders.bge_m3),
    "arctic-l-v2": Shape(make=encoders.arctic_l_v2),
    "granite": Shape(make=encoders.granite),
    "gte-modernbert": Shape(make=encoders.gte_modernbert),
    "modernbert-embed": Shape(make=encoders.modernbert_embed),
    "sentence-t5": Shape(make=encoders.sentence_t5),
    "instructor": Shape(make=encoders.instructor, pooling_includes_prompt=False),
    "static-retrieval": Shape(make=encoders.static_retrieval),
    "potion": Shape(make=encoders.potion),
    "e5-mistral": Shape(make=decoders.e5_mistral),
    "bge-gemma2": Shape(make=decoders.bge_gemma2),
    "qwen3": Shape(make=decoders.qwen3, max_seq_length=decoders.LONG),
    "qwen3-sharded": Shape(make=decoders.qwen3_sharded, max_seq_length=decoders.LONG),
    "embeddinggemma": Shape(make=decoders.embeddinggemma),
    "nomic": Shape(make=own_code.nomic, runs_code=True, max_seq_length=56),
    "arctic-m-long": Shape(make=own_code.arctic_m_long, runs_code=True, max_seq_length=56),
    "nomic-moe": Shape(make=own_code.nomic_moe, runs_code=True),
    "gte-en": Shape(make=own_code.gte_en, runs_code=True),
    "gte-multilingual": Shape(make=own_code.gte_multilingual, runs_code=True),
    "arctic-m-v2": Shape(make=own_code.arctic_m_v2, runs_code=True),
    "stella-400m": Shape(make=own_code.stella_400m, runs_code=True),
    "gte-qwen2": Shape(make=own_code.gte_qwen2, runs_code=True, max_seq_length=decoders.LONG),
    "jina-v2": Shape(make=own_code.jina_v2, runs_code=True),
    "jina-v3": Shape(make=own_code.jina_v3, runs_code=True),
}


def make(name: str, directory: Path) -> Path:
    """Write the repository of a shape, and return its directory."""
    directory.mkdir(parents=True)
    with tiny_models._no_progress():
        SHAPES[name].make(Repository(directory))
    return directory


def specified(name: str, directory: Path, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return what models.yaml says of the tiny model, from what the table says of the published ones."""
    said = dict(keys)
    if "max_seq_length" in said:
        said["max_seq_length"] = SHAPES[name].max_seq_length
    if (files := said.pop("code", None)) is not None:
        said["code"] = dict(own_code.reviewed(file, directory) for file in files)
    return said


def reference(name: str, directory: Path, scratch: Path, keys: Mapping[str, Any]) -> Any:
    """Load the published directory with plain sentence-transformers, with what a model card says set by hand."""
    import sentence_transformers

    from thoth_models_builder.compile.loading.older_code import for_older_code

    shape = SHAPES[name]
    if shape.runs_code:
        shutil.copytree(directory, scratch / name)
        directory = scratch / name
        own_code.with_code_beside(directory)
    with tiny_models._no_progress():
        options: dict[str, Any] = {"device": "cpu", "local_files_only": True, "trust_remote_code": shape.runs_code}
        if "pooling" in keys:
            from sentence_transformers.base.modules import Transformer
            from sentence_transformers.sentence_transformer.modules import Pooling

            transformer = Transformer(str(directory), model_kwargs={"dtype": "float32"})
            pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode=keys["pooling"])
            model = sentence_transformers.SentenceTransformer(modules=[transformer, pooling], device="cpu")
        else:
            task = {} if keys.get("task") is None else {"default_task": keys["task"]}
            # Only code that comes with a model was written for other releases than those installed.
            with for_older_code() if "task" in keys else contextlib.nullcontext():
                model = sentence_transformers.SentenceTransformer(
                    str(directory), model_kwargs={"dtype": "float32", **task}, **options
                )
    if "task" in keys:
        # `encode_query` passes the task "query", which the module refuses; its default is what models.yaml says.
        model.module_kwargs = {}
    model = model.float().eval()
    if "prompts" in keys:
        model.prompts = {"query": "", "document": "", **keys["prompts"]}
    if "default_prompt_name" in keys:
        model.default_prompt_name = keys["default_prompt_name"]
    if "max_seq_length" in keys:
        model.max_seq_length = shape.max_seq_length
    if not shape.pooling_includes_prompt:
        model.set_pooling_include_prompt(include_prompt=False)
    return model
