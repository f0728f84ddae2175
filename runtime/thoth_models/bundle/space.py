"""The identity of an embedding space: everything that must be equal for two vectors to be comparable.

Pure, except for the function that it is given to read a file. The builder computes it, the manifest records it, and the
runtime compares it. All variants of a model share it: a compiled or quantised graph approximates the same space, and
the accuracy gates ensure how closely. Where a variant consists of the published files, the runtime computes the space
again from them (:func:`possible_spaces`), so that a manifest cannot give them that of other files.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.digest import Digest
from thoth_models.bundle.unsafe_references import MODULES_FILE, module_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from thoth_models.bundle.model import BuiltModel

_SCHEME = "thoth-space-1"
"""Part of the hashed document, so that a later scheme cannot collide with this one."""

_SPACE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)

SENTENCE_TRANSFORMERS_FILE: Final = "config_sentence_transformers.json"
"""The settings of a whole pipeline, which the manifest states as well, except for the truncation."""

# Keys about the origin of a file, not about its effect; they must not make equal spaces differ.
_PROVENANCE: Final = frozenset(
    {"_name_or_path", "name_or_path", "transformers_version", "torch_dtype", "dtype", "special_tokens_map_file",
     "tokenizer_file", "architectures", "use_cache", "gradient_checkpointing"}
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceInputs:
    """Everything that decides which vector a text gets.

    Attributes:
        weights: sha256 of each weight file, by path.
        architecture: sha256 of the configuration that says how the weights are used (layer sizes, activation, …), by
            path.
        tokenizer: sha256 of the files that turn text into token ids, by path.
        pooling: How token vectors become one.
        normalize: Whether vectors have unit length.
        max_seq_length: Longest input in tokens, or None for no limit.
        prompts: Prompts by name; a prompt is a string that is added before a text.
        default_prompt_name: Name of the prompt that is used if the caller names none, or None.
        truncate_dim: How many components of a vector are kept, or None for all of them.
    """

    weights: Mapping[str, str]
    architecture: Mapping[str, str]
    tokenizer: Mapping[str, str]
    pooling: str
    normalize: bool
    max_seq_length: int | None
    prompts: Mapping[str, str]
    default_prompt_name: str | None
    truncate_dim: int | None = None


def space_id(inputs: SpaceInputs) -> Digest:
    """Return the identity of the space: the sha256 of the canonical JSON of ``inputs``."""
    document = asdict(inputs)
    if inputs.truncate_dim is None:
        # The key is younger than the scheme; without it, models that keep all components keep their space.
        del document["truncate_dim"]
    return Digest.of(canonical_json({"scheme": _SCHEME, **document}))


class FileInputs(NamedTuple):
    """The files among the inputs of a space, with the meaning that they have in :class:`SpaceInputs`."""

    weights: dict[str, str]
    architecture: dict[str, str]
    tokenizer: dict[str, str]


def file_inputs(digests: Mapping[str, Digest], read: Callable[[str, type[Any]], Any]) -> FileInputs:
    """Return the files of a model as inputs of its space.

    Args:
        digests: sha256 of each file, by path in the model's directory.
        read: Returns the content of a JSON file, which has a root of the given type.

    Raises:
        ValueError: A configuration has a value without a canonical form: NaN, or a lone surrogate.
    """
    found = FileInputs({}, {}, {})
    for path, digest in digests.items():
        name = path.rpartition("/")[2]
        if name.endswith(".safetensors"):
            found.weights[path] = digest.hex
        elif name.endswith(".safetensors.index.json"):
            continue  # only says which file has which weight; the weights are included
        elif name == SENTENCE_TRANSFORMERS_FILE:
            continue  # prompts, similarity and truncation are read separately
        elif name.endswith(".py"):
            found.architecture[path] = digest.hex
        elif name == "tokenizer_config.json":
            found.tokenizer[path] = _meaning(read(path, dict))
        elif name.endswith("config.json") or path == MODULES_FILE:
            found.architecture[path] = _meaning(read(path, dict)) if name == "config.json" else digest.hex
        else:
            found.tokenizer[path] = digest.hex
    return found


def _meaning(values: Mapping[str, Any]) -> str:
    """Return the digest of a configuration, without the keys that are only about its origin."""
    return Digest.of(canonical_json({key: value for key, value in values.items() if key not in _PROVENANCE})).hex


def possible_spaces(
    digests: Mapping[str, Digest], read: Callable[[str, type[Any]], Any], built: BuiltModel, dimension: int
) -> Iterator[Digest]:
    """Yield each space that a model of these published files can have, with what its manifest says of them.

    There are two for a model that keeps as many components of a vector as the manifest says: whether there are more is
    in its modules and weights.

    Args:
        digests: sha256 of each published file, by path in the model's directory.
        read: Returns the content of a JSON file, which has a root of the given type.
        built: The model's settings in the manifest.
        dimension: Length of its vectors.

    Raises:
        ValueError: A configuration has a value without a canonical form.
    """
    files = file_inputs(digests, read)
    inputs = SpaceInputs(
        **files._asdict(),
        pooling=built.pooling,
        normalize=True,
        max_seq_length=built.max_seq_length,
        prompts=built.prompts,
        default_prompt_name=built.default_prompt_name,
    )
    ends_normalized = (
        has_normalize(_modules(read(MODULES_FILE, list)), digests, read) if MODULES_FILE in digests else False
    )
    kept = read(SENTENCE_TRANSFORMERS_FILE, dict).get("truncate_dim") if SENTENCE_TRANSFORMERS_FILE in digests else None
    for truncate_dim in (None, kept) if kept == dimension else (None,):
        normalize = built.normalize or (ends_normalized and truncate_dim is None)
        yield space_id(replace(inputs, normalize=normalize, truncate_dim=truncate_dim))


def _modules(entries: Iterable[Any]) -> list[tuple[str | None, str]]:
    """Return kind and directory of each entry of modules.json; those that no library loads have no kind."""
    found = ((entry.get("type"), entry.get("path")) for entry in entries if isinstance(entry, dict))
    return [(module_kind(kind) if isinstance(kind, str) else None, str(path or "")) for kind, path in found]


def has_normalize(
    modules: Sequence[tuple[str | None, str]], paths: Collection[str], read: Callable[[str, type[Any]], Any]
) -> bool:
    """Return whether a pipeline gives vectors of unit length; a Normalize that is followed by a Dense does not count.

    Args:
        modules: Kind and directory of each module.
        paths: Paths of all files of the model.
        read: Returns the content of a JSON file, which has a root of the given type.
    """
    kept = [(kind, directory) for kind, directory in modules if kind != "Dropout"]
    if not kept or kept[-1][0] != "Normalize":
        return False
    path = f"{kept[-1][1]}/config.json" if kept[-1][1] else "config.json"
    config = read(path, dict) if path in paths else {}
    return all(config.get(key) in (None, "sentence_embedding") for key in ("module_input_name", "module_output_name"))


def is_space(identity: str) -> bool:
    """Return whether an identity is that of a space of a bundle, and not of a hosted provider."""
    return _SPACE.fullmatch(identity) is not None
