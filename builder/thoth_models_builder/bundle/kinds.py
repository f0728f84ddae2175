"""Repositories that are not a dense embedding model of text as a bundle has it: what they are, and what to do. Pure.

A few small files (:func:`kind_paths`) and the list of paths are enough. Each kind has a line of its own, because
"expected modules.json, found none" leaves the author of models.yaml to find out that a repository is a reranker or an
adapter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from thoth_models_builder.errors import UnsupportedModelError
from thoth_models_builder.spec.variants import MODULES_FILE, SENTENCE_TRANSFORMERS_FILE, path_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from thoth_models_builder.bundle.model_files import ModelFiles

_CONFIG: Final = "config.json"
_ADAPTER: Final = "adapter_config.json"
_ADAPTER_PLACES: Final = ("", "0_Transformer")
"""Where an adapter lies without a modules.json."""
_SENTENCE_CONFIG: Final = "sentence_bert_config.json"

_TOP: Final = (MODULES_FILE, _CONFIG, SENTENCE_TRANSFORMERS_FILE, _SENTENCE_CONFIG)

_MEDIA: Final = ("image", "audio", "video")
_MEDIA_CONFIGS: Final = ("vision_config", "audio_config")
_MEDIA_TYPES: Final = frozenset(
    {"align", "altclip", "beit", "blip", "blip-2", "chinese_clip", "clap", "clip", "clip_vision_model", "clipseg"}
    | {"dinov2", "dinov3_vit", "flava", "hubert", "siglip", "siglip2", "vit", "wav2vec2", "whisper", "xclip"}
)
_SPARSE_MODULES: Final = frozenset({"MLMTransformer", "SpladePooling", "SparseAutoEncoder", "SparseStaticEmbedding"})
_MULTI_VECTOR_MODULES: Final = frozenset({"MultiVectorMask", "TokenPooling"})
_ROUTERS: Final = frozenset({"Router", "Asym"})
_WRITES: Final = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ForSeq2SeqLM")


def kind_paths(paths: Collection[str], files: ModelFiles) -> tuple[str, ...]:
    """Return the files that say which kind of model a repository has; :func:`kind_of` reads no others.

    Args:
        paths: Every path of the repository.
        files: Those that were read. Without modules.json among them, the files of its modules are not named.
    """
    directories = _module_directories(files)
    own = [path_in(directories[0], name) for name in (_CONFIG, _SENTENCE_CONFIG)]
    adapters = [path_in(directory, _ADAPTER) for directory in (*_ADAPTER_PLACES, *directories)]
    return tuple(path for path in dict.fromkeys((*_TOP, *own, *adapters)) if path in paths)


def _module_directories(files: ModelFiles) -> tuple[str, ...]:
    """Return the directory of each module, that of the first module first; only the top without a modules.json."""
    entries = _content(files, MODULES_FILE, list) or []
    stated = [entry.get("path") for entry in entries if isinstance(entry, dict)]
    # Paths with a dot are the top directory, as the library takes them.
    directories = [path if isinstance(path, str) and path not in (".", "./") else "" for path in stated]
    return tuple(dict.fromkeys(directories)) or ("",)


def _content(files: ModelFiles, path: str, kind: type[dict[str, Any] | list[Any]]) -> Any:  # noqa: ANN401 - of that kind, or None
    if path not in files.digests:
        return None
    try:
        return files.json(path, kind)
    except UnsupportedModelError:
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherKind:
    """A kind of model that a bundle does not have.

    Attributes:
        name: Name of the kind.
        found: Where it shows, and what was found there.
        meaning: What such a model is.
        advice: What to do.
    """

    name: str
    found: str
    meaning: str
    advice: str

    def __str__(self) -> str:
        """Return all of it as one line."""
        return f"{self.found}: {self.meaning}; {self.advice}"


def refuse_other_kinds(paths: Collection[str], files: ModelFiles, *, has_pooling: bool = False) -> None:
    """Refuse a repository that is not a dense embedding model of text.

    Args:
        paths: Every path of the repository.
        files: Those of :func:`kind_paths`; others are not read.
        has_pooling: Whether models.yaml says how the vectors of tokens become one.

    Raises:
        UnsupportedModelError: It is something else; the message says what.
    """
    if (kind := kind_of(paths, files, has_pooling=has_pooling)) is not None:
        raise UnsupportedModelError(str(kind))


def kind_of(paths: Collection[str], files: ModelFiles, *, has_pooling: bool = False) -> OtherKind | None:
    """Return what a repository is instead of a dense embedding model of text, or None for such a model.

    Takes what :func:`refuse_other_kinds` takes. Malformed files are left to the functions that describe the model.
    """
    return next(_kinds(paths, _KindFiles(paths, files), has_pooling=has_pooling), None)


class _KindFiles:
    """The content of the files of :func:`kind_paths`; what is missing or malformed is empty."""

    def __init__(self, paths: Collection[str], files: ModelFiles) -> None:
        self._files = files
        self.directories = _module_directories(files)
        self.config_path = path_in(self.directories[0], _CONFIG)
        self.sentence_config_path = path_in(self.directories[0], _SENTENCE_CONFIG)
        self.config = self.object(self.config_path)
        self.library = self.object(SENTENCE_TRANSFORMERS_FILE)
        self.has_modules = MODULES_FILE in paths
        entries = _content(files, MODULES_FILE, list)
        references = [entry.get("type") for entry in entries or () if isinstance(entry, dict)]
        self.modules = [reference for reference in references if isinstance(reference, str)]
        self.classes = [reference.rpartition(".")[2] for reference in self.modules]
        stated = self.config.get("architectures")
        self.architectures = [name for name in stated if isinstance(name, str)] if isinstance(stated, list) else []

    def object(self, path: str) -> dict[str, Any]:
        return _content(self._files, path, dict) or {}


def _kinds(paths: Collection[str], kind_files: _KindFiles, *, has_pooling: bool) -> Iterator[OtherKind]:
    """Yield every kind that fits, the most specific first."""
    yield from _adapter(paths, kind_files)
    yield from _stated(kind_files)
    yield from _by_modules(kind_files)
    yield from _by_files_of_colbert(paths, kind_files)
    yield from _by_media(kind_files)
    if not kind_files.has_modules:
        yield from _by_head(kind_files, has_pooling=has_pooling)
    yield from _quantised(kind_files)
    yield from _converted(paths)
    if not kind_files.has_modules and _CONFIG not in paths:
        yield OtherKind(
            name="unknown",
            found=f"{MODULES_FILE}: expected this file, or {_CONFIG} of a transformer, found neither",
            meaning="nothing that sentence-transformers could load",
            advice="check the name of the repository, or of the directory in it",
        )


def _adapter(paths: Collection[str], kind_files: _KindFiles) -> Iterator[OtherKind]:
    # The library looks in the directory of each transformer, and takes the adapter for its base model from there.
    for directory in dict.fromkeys((*_ADAPTER_PLACES, *kind_files.directories)):
        if (path := path_in(directory, _ADAPTER)) not in paths:
            continue
        adapter = kind_files.object(path)
        # The second is what the library adapter-transformers wrote.
        base = adapter.get("base_model_name_or_path") or adapter.get("model_name")
        named = base if isinstance(base, str) and base.isprintable() and base else "a base model that it does not name"
        method = adapter.get("peft_type") or "PEFT"
        yield OtherKind(
            name="adapter",
            found=f"{path}: expected a whole model, found an adapter ({method}) for {named}",
            meaning="it changes weights of that model, and has no others",
            advice="merge both once with peft (`PeftModel.from_pretrained(base, adapter).merge_and_unload()`), save "
            "the result with its tokenizer and modules.json in a directory, and name that directory as the source",
        )


# Kinds that show in several places; what is left to state is where one shows, ``found``.
_reranker = partial(
    OtherKind,
    name="reranker",
    meaning="a reranker (cross-encoder), which scores a query and a text together and makes no vectors",
    advice="serve it beside the bundle, and choose the embedding model that finds the texts which it sorts",
)
_sparse = partial(
    OtherKind,
    name="sparse",
    meaning="a sparse model (SPLADE), which gives a weight to each word of its vocabulary",
    advice="a bundle has dense vectors: choose a dense model, and serve this one beside the bundle",
)
_late_interaction = partial(
    OtherKind,
    name="late interaction",
    meaning="a late-interaction model (ColBERT), which keeps a vector of every token",
    advice="a bundle has one vector of a text: choose a model that is published for single vectors",
)
_multimodal = partial(
    OtherKind,
    name="media",
    meaning="a model of images or sound (CLIP or another multimodal one)",
    advice="choose a model of text alone, such as the text side of this one if it is published by itself",
)


def _stated(kind_files: _KindFiles) -> Iterator[OtherKind]:
    stated = kind_files.library.get("model_type")
    kinds = {"CrossEncoder": _reranker, "SparseEncoder": _sparse}
    kinds |= {"MultiVectorEncoder": _late_interaction, "ColBERT": _late_interaction}
    if isinstance(stated, str) and stated in kinds:
        found = f"{SENTENCE_TRANSFORMERS_FILE}: model_type: expected SentenceTransformer, found {stated}"
        yield kinds[stated](found=found)


def _by_modules(kind_files: _KindFiles) -> Iterator[OtherKind]:
    def found(reference: str) -> str:
        return f"{MODULES_FILE}: expected modules of a dense model, found {reference}"

    for reference, name in zip(kind_files.modules, kind_files.classes, strict=True):
        if name in _SPARSE_MODULES:
            yield _sparse(found=found(reference))
        elif name in _MULTI_VECTOR_MODULES or reference.startswith("pylate."):
            yield _late_interaction(found=found(reference))
        elif name in _ROUTERS:
            yield OtherKind(
                name="router",
                found=found(reference),
                meaning="a router, which has other modules for queries than for documents",
                advice="a bundle has one pipeline for both: choose a model that has one, with a prompt for queries",
            )
        elif name == "CLIPModel":
            yield _multimodal(found=found(reference))
    if kind_files.classes == ["Transformer", "Dense"]:
        yield _late_interaction(found=f"{MODULES_FILE}: expected a Pooling, found Transformer and Dense alone")


def _by_files_of_colbert(paths: Collection[str], kind_files: _KindFiles) -> Iterator[OtherKind]:
    if "HF_ColBERT" in kind_files.architectures:
        yield _late_interaction(
            found=f"{kind_files.config_path}: architectures: expected an embedding model, found HF_ColBERT"
        )
    if "artifact.metadata" in paths and not kind_files.has_modules:
        yield _late_interaction(found="artifact.metadata: expected an embedding model, found the settings of a ColBERT")


def _by_media(kind_files: _KindFiles) -> Iterator[OtherKind]:
    modalities = kind_files.object(kind_files.sentence_config_path).get("modality_config")
    for name in modalities if isinstance(modalities, dict) else ():
        if any(part in _MEDIA for part in str(name).split("+")):
            yield _multimodal(
                found=f"{kind_files.sentence_config_path}: modality_config: expected text alone, found {name}"
            )
    for key in _MEDIA_CONFIGS:
        if kind_files.config.get(key):
            yield _multimodal(found=f"{kind_files.config_path}: expected a model of text, found `{key}`")
    model_type = kind_files.config.get("model_type")
    if isinstance(model_type, str) and model_type in _MEDIA_TYPES:
        yield _multimodal(found=f"{kind_files.config_path}: model_type: expected a model of text, found {model_type}")


def _by_head(kind_files: _KindFiles, *, has_pooling: bool) -> Iterator[OtherKind]:
    """Look at the class that the checkpoint was saved from, which says more only where there is no modules.json."""
    for name in kind_files.architectures:
        found = f"{kind_files.config_path}: architectures: expected an embedding model, found {name}"
        if name.endswith("ForSequenceClassification"):
            if (labels := _label_count(kind_files.config)) == 1:
                yield _reranker(found=f"{found} with one label")
            else:
                yield OtherKind(
                    name="classifier",
                    found=f"{found} with {labels} labels",
                    meaning="a classifier, which gives a text one of a few labels",
                    advice="choose an embedding model; a classifier cannot be compared by distance",
                )
        elif name.endswith(_WRITES) and not has_pooling:
            yield OtherKind(
                name="generative",
                found=f"{found}, and no {MODULES_FILE}",
                meaning="a language model that writes text, without a rule by which the vectors of tokens become one",
                advice="choose an embedding model made of it; if its card says how to pool, state that as `pooling` in "
                "models.yaml (most often lasttoken)",
            )


def _label_count(config: dict[str, Any]) -> int:
    """Return the number of labels; transformers takes two where neither key is there."""
    labels, count = config.get("id2label"), config.get("num_labels")
    if isinstance(labels, dict) and labels:
        return len(labels)
    return count if isinstance(count, int) else 2


def _quantised(kind_files: _KindFiles) -> Iterator[OtherKind]:
    stated = kind_files.config.get("quantization_config")
    if isinstance(stated, dict) and stated:
        method = stated.get("quant_method")
        if not method:
            method = "bitsandbytes" if any(str(key).startswith(("load_in_", "bnb_")) for key in stated) else "unknown"
        yield _other_weights(
            f"{kind_files.config_path}: quantization_config: expected none, found {method}", "quantised"
        )
    mlx = kind_files.config.get("quantization")
    if isinstance(mlx, dict) and "bits" in mlx:
        yield _other_weights(
            f"{kind_files.config_path}: quantization: expected none, found {mlx['bits']} bits of MLX", "quantised"
        )


_CONVERTED: Final = ((".gguf", "GGUF"), (".onnx", "ONNX"), (".mlpackage", "Core ML"), (".tflite", "TensorFlow Lite"))
_WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth")


def _converted(paths: Collection[str]) -> Iterator[OtherKind]:
    if any(path.endswith(_WEIGHTS) for path in paths):
        return
    for suffix, name in _CONVERTED:
        if found := sorted(path for path in paths if path.endswith(suffix)):
            yield _other_weights(f"{found[0]}: expected weights as safetensors, found {name} alone", "converted")


def _other_weights(found: str, name: str) -> OtherKind:
    return OtherKind(
        name=name,
        found=found,
        meaning="a conversion of another repository, whose weights have lost precision or cannot be compiled again",
        advice="name the repository that it was made from: a build makes `onnx-int8` of that, and measures the loss",
    )
