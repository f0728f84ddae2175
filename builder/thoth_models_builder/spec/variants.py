"""The variants, and the files of a model that they need: an explicit include list, with a reason for every refusal.

Pure: paths in, decisions out. Files that are not on the list are never downloaded, so a bundle cannot contain pickled
weights, code, or the same weights for another framework.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from thoth_models.bundle.unsafe_references import SENTENCE_CONFIG, reads

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantKind:
    """One runnable form that this release can ship.

    Attributes:
        backend: Backend of the runtime that loads it.
        precision: Number format of the weights while they run.
        directory: Directory below the model's own that it is loaded from.
    """

    backend: str
    precision: str
    directory: str

    @property
    def is_compiled(self) -> bool:
        """Whether the variant is compiled from the source files, instead of being those files."""
        return self.directory != SOURCE_DIRECTORY


SOURCE_DIRECTORY: Final = "source"
GRAPH_NAME: Final = "model.onnx"

VARIANTS: Final = {
    "onnx-fp32": VariantKind(backend="onnx", precision="fp32", directory="onnx-fp32"),
    "onnx-int8": VariantKind(backend="onnx", precision="int8", directory="onnx-int8"),
    "torch-fp32": VariantKind(backend="torch", precision="fp32", directory=SOURCE_DIRECTORY),
}

MODULES_FILE: Final = "modules.json"
SENTENCE_TRANSFORMERS_FILE: Final = "config_sentence_transformers.json"

BUILT_IN_PROMPTS: Final = ("query", "document")
"""Prompts that sentence-transformers always has, empty unless the model defines them."""


def path_in(directory: str, name: str) -> str:
    """Return the path of a file of a model, from its name and the directory of a module, empty for the top."""
    return f"{directory}/{name}" if directory else name


# Names at the top of a repository only.
_TOP: Final = re.compile(r"modules\.json|config\.json|config_sentence_transformers\.json")
_TOKENIZER: Final = re.compile(
    r"tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.txt|bpe\.codes"
)
# Needed only without a tokenizer.json beside them, which has the same content in the form that is loaded first.
_TOKENIZER_SLOW: Final = re.compile(
    r"vocab\.json|merges\.txt|sentencepiece\.bpe\.model|spiece\.model|spm\.model|tokenizer\.model"
)
_WEIGHTS: Final = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
_MODULE: Final = re.compile(r"config\.json|model\.safetensors")

_REFUSALS: Final = (
    (re.compile(r"\.(bin|pt|pth|pkl|pickle|ckpt|joblib)$"), "pickled weights can run code when they are loaded"),
    (re.compile(r"\.py$"), "a bundle carries no code"),
    (
        re.compile(r"\.(h5|msgpack|onnx|ot|gguf|tflite|mlmodel)$|(^|/)(onnx|openvino|coreml)/"),
        "another framework's weights",
    ),
    (
        re.compile(r"(^|/)(chat_template\.(jinja|json)|additional_chat_templates/.*|generation_config\.json)$"),
        "for writing and conversations",
    ),
    (re.compile(r"(^|/)(README|LICENSE|\.git)|\.(md|png|jpe?g|gif|svg|webp)$", re.IGNORECASE), "documentation"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A file that is left out.

    Attributes:
        path: Path in the source.
        reason: Reason for leaving it out.
    """

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FileChoice:
    """The files of a source that the variants need.

    Attributes:
        included: Sorted paths.
        refused: All other files, sorted, each with the reason.
    """

    included: tuple[str, ...]
    refused: tuple[Refusal, ...]


def choose_files(paths: Iterable[str], module_directories: Collection[str], variants: Collection[str]) -> FileChoice:
    """Decide which of ``paths`` the ``variants`` need.

    Args:
        paths: Every file of the source, relative to the model's directory.
        module_directories: The ``path`` of each entry of modules.json; an empty string is the top directory.
        variants: Names of variants. All existing ones need the same source files.

    Returns:
        The files to lock, and the reason for leaving out each of the others.
    """
    known = sorted(set(paths))
    # In each directory by itself: a module reads its own, and another tokenizer.json, at the top or beside the graph of
    # another framework, is none of it.
    with_fast = {path.rpartition("/")[0] for path in known if path.rpartition("/")[2] == "tokenizer.json"}
    included = {path for path in known if _is_needed(path, module_directories, with_fast)}
    names = ", ".join(sorted(variants))
    refused = [Refusal(path=path, reason=_reason(path, names)) for path in known if path not in included]
    return FileChoice(included=tuple(sorted(included)), refused=tuple(refused))


def is_configuration(path: str) -> bool:
    """Return whether a file describes the model, so that a build reads it."""
    return path in (MODULES_FILE, SENTENCE_TRANSFORMERS_FILE) or reads(path)


def _is_needed(path: str, module_directories: Collection[str], with_fast: Collection[str]) -> bool:
    directory, _, name = path.rpartition("/")
    if directory and directory not in module_directories:
        return False
    # The first module may be in its own directory, with all files of a transformer.
    patterns = [_TOKENIZER, _WEIGHTS, _MODULE, SENTENCE_CONFIG]
    if not directory:
        patterns.append(_TOP)
    if directory not in with_fast:
        patterns.append(_TOKENIZER_SLOW)
    return any(pattern.fullmatch(name) for pattern in patterns)


def _reason(path: str, variants: str) -> str:
    return next(
        (reason for pattern, reason in _REFUSALS if pattern.search(path)), f"not among the files that {variants} needs"
    )
