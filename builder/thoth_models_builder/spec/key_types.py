"""Types of keys of models.yaml whose values pydantic alone would report in other words than authors use. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from thoth_models.info import MAX_RELEASE
from thoth_models.inputs import MAX_CHARACTERS
from thoth_models_builder.spec.licences.lists import MAX_LICENCES
from thoth_models_builder.spec.licences.names import MAX_NAME_LENGTH
from thoth_models_builder.spec.reviewed.records import CODE_MEANING, CODE_PATTERN

POOLING_MODES: Final = ("cls", "lasttoken", "max", "mean", "mean_sqrt_len_tokens", "weightedmean")
"""Modes of the Pooling of sentence-transformers."""


MAX_TOKENS: Final = 4 * MAX_CHARACTERS
"""No text of a call has more tokens, because a token has at least one byte, and a character at most four."""

SHA256_PATTERN: Final = r"^[0-9a-f]{64}$"


class WrongValueError(ValueError):
    """What was expected in place of a value; pydantic turns it into a finding with key path and line."""


def _pooling(value: object) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    values = values if isinstance(values, (list, tuple)) else []
    modes = tuple(mode for mode in values if isinstance(mode, str) and mode in POOLING_MODES)
    if not modes or len(modes) != len(values):
        raise WrongValueError(f"one of {', '.join(POOLING_MODES)}, or a list of them")
    if len(set(modes)) != len(modes):
        raise WrongValueError("each mode once")
    return modes


def _normalize(value: object) -> object:
    if not isinstance(value, bool) and value != "auto":
        raise WrongValueError("true, false or auto")
    return value


def _positive(value: object) -> object:
    if type(value) is not int or value < 1:
        raise WrongValueError("a positive integer")
    return value


def _length(value: object) -> object:
    if type(value) is not int or not 1 <= value <= MAX_TOKENS:
        raise WrongValueError(f"an integer from 1 to {MAX_TOKENS}")
    return value


def _release(value: object) -> object:
    if type(value) is not int or not 1 <= value <= MAX_RELEASE:
        raise WrongValueError(f"an integer from 1 to {MAX_RELEASE}")
    return value


def _prompts(value: object) -> object:
    if not isinstance(value, dict):
        raise WrongValueError("a mapping")
    for text in (*value, *value.values()):
        _text(text)
    return value


def _text(value: object) -> object:
    """Refuse what YAML can say by an escape, and no file can contain: half of a surrogate pair."""
    try:
        if isinstance(value, str):
            value.encode()
    except UnicodeEncodeError:
        raise WrongValueError("text without surrogates") from None
    return value


def _positive_integer(description: str, **more: int) -> Any:  # noqa: ANN401 - a part of an annotation
    return WithJsonSchema({"type": "integer", "minimum": 1, **more, "description": description})


_MODES_SCHEMA: Final = {"enum": list(POOLING_MODES)}

Pooling = Annotated[
    tuple[str, ...] | None,
    BeforeValidator(_pooling),
    WithJsonSchema(
        {
            "description": "how token vectors become one, for a repository without modules.json",
            "anyOf": [
                _MODES_SCHEMA,
                {"type": "array", "items": _MODES_SCHEMA, "minItems": 1, "uniqueItems": True},
            ],
        }
    ),
]
Prompts = Annotated[
    dict[str, str] | None,
    BeforeValidator(_prompts),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "prompts by name, in place of the published ones",
        }
    ),
]
DefaultPromptName = Annotated[
    str | None,
    BeforeValidator(_text),
    Field(description="prompt for calls that name none, in place of the published one; null for none"),
]
Task = Annotated[
    Annotated[str, StringConstraints(min_length=1)] | None,
    BeforeValidator(_text),
    Field(
        description="task of a model whose own code computes something else for each, such as with an adapter; null "
        "for what the code does without one"
    ),
]
MaxSeqLength = Annotated[
    int | None,
    BeforeValidator(_length),
    _positive_integer("longest input in tokens, in place of the published one", maximum=MAX_TOKENS),
]
TruncateDim = Annotated[
    int | None, BeforeValidator(_positive), _positive_integer("keep only so many of the first components of a vector")
]
Release = Annotated[
    int | None,
    BeforeValidator(_release),
    _positive_integer(
        "number of the release, larger than that of the one before; a service can refuse lower ones",
        maximum=MAX_RELEASE,
    ),
]
Normalize = Annotated[
    bool | Literal["auto"],
    BeforeValidator(_normalize),
    WithJsonSchema(
        {
            "enum": [True, False, "auto"],
            "default": True,
            "description": "make vectors unit length unless the caller says otherwise; auto: not those of a model that "
            "was published for another similarity than cosine and does not do so itself",
        }
    ),
]


def _licences(value: object) -> object:
    if not isinstance(value, list) or len(value) > MAX_LICENCES:
        raise WrongValueError(f"a list of at most {MAX_LICENCES} licences")
    if not all(isinstance(one, str) for one in value):
        raise WrongValueError("a list of strings")
    return value


def _allowed(value: object) -> object:
    if value == []:
        raise WrongValueError("at least one licence; leave the key out to allow any")
    return _licences(value)


def _licence_list(description: str, **more: int) -> Any:  # noqa: ANN401 - a part of an annotation
    items = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_LENGTH}
    length = {**more, "maxItems": MAX_LICENCES}
    return WithJsonSchema({"type": "array", "items": items, **length, "uniqueItems": True, "description": description})


AllowedLicences = Annotated[
    list[str] | None,
    BeforeValidator(_allowed),
    _licence_list("SPDX ids, or published names without one, that models may have; any without this key", minItems=1),
]
DeniedLicences = Annotated[
    list[str],
    BeforeValidator(_licences),
    _licence_list("SPDX ids, or published names without one, that no model may have, whatever `allow` has"),
]
Unstated = Annotated[
    Literal["refuse", "accept"], Field(description="what to do with a model whose publisher states no licence")
]
Code = Annotated[
    dict[
        Annotated[str, StringConstraints(pattern=CODE_PATTERN), Field(description=CODE_MEANING)],
        Annotated[str, StringConstraints(pattern=SHA256_PATTERN), Field(description="its sha256")],
    ],
    Field(description="Python files that the model brings, as they were reviewed; the build runs them in a sandbox"),
]
Pickle = Annotated[
    Literal["refuse", "convert"],
    Field(description="what to do with pickled weights: convert them to safetensors when the model is locked"),
]
