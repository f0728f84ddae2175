"""Check the values of a models.yaml against each other: unique names, existing alternates, no loops.

Pure. Works on the plain data, so that one wrong key does not hide that, say, an alternate does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thoth_models_builder.errors import Finding
from thoth_models_builder.spec.licences.lists import check_lists
from thoth_models_builder.spec.variants import BUILT_IN_PROMPTS, VARIANTS
from thoth_models_builder.spec.yaml_document import KeyPath, YamlDocument, key_path_text

if TYPE_CHECKING:
    from collections.abc import Iterator


def cross_checks(document: YamlDocument) -> Iterator[Finding]:
    """Yield a finding for each contradiction between values that are valid by themselves."""
    models = _mapping(document.value, "models")
    yield from _check_version(document)
    yield from _check_default(document, models)
    yield from check_lists(document)
    yield from _check_names(document, models)
    for name, model in models.items():
        yield from _check_variants(document, name, model)
        yield from _check_default_prompt(document, name, model)
        yield from _check_code(document, name, model)
        yield from _check_alternates(document, name, model, models)
    yield from _check_loops(document, models)


def _mapping(value: object, *keys: str) -> dict[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _strings(model: object, key: str) -> list[tuple[int, str]]:
    values = model.get(key) if isinstance(model, dict) else None
    return [(i, value) for i, value in enumerate(values if isinstance(values, list) else []) if isinstance(value, str)]


def _alternates(model: object) -> list[tuple[int, str]]:
    values = model.get("alternates") if isinstance(model, dict) else None
    return [
        (index, value["model"])
        for index, value in enumerate(values if isinstance(values, list) else [])
        if isinstance(value, dict) and isinstance(value.get("model"), str)
    ]


def _at(document: YamlDocument, path: KeyPath, message: str) -> Finding:
    return Finding(line=document.line(path), path=key_path_text(path), message=message)


def _check_version(document: YamlDocument) -> Iterator[Finding]:
    version = document.value.get("version") if isinstance(document.value, dict) else None
    if isinstance(version, (bool, float)) and version == 1:
        # Equal to 1 for Python, and so for pydantic.
        yield _at(document, ("version",), f"expected 1, found {version!r}")


def _check_default(document: YamlDocument, models: dict[str, Any]) -> Iterator[Finding]:
    default = _mapping(document.value, "bundle").get("default")
    if isinstance(default, str) and models and default not in models:
        known = ", ".join(models)
        yield _at(document, ("bundle", "default"), f"expected a model of this file ({known}), found {default!r}")


def _check_names(document: YamlDocument, models: dict[str, Any]) -> Iterator[Finding]:
    owners = {name: name for name in models}
    for name, model in models.items():
        for index, alias in _strings(model, "aliases"):
            if alias in owners:
                what = "the name of a model" if alias in models else f"an alias of {owners[alias]!r}"
                path = ("models", name, "aliases", index)
                yield _at(document, path, f"expected a name that is used once, found {alias!r}, which is {what}")
            owners.setdefault(alias, name)


def _check_variants(document: YamlDocument, name: str, model: object) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, variant in _strings(model, "variants"):
        path = ("models", name, "variants", index)
        if variant not in VARIANTS:
            yield _at(document, path, f"expected one of {', '.join(sorted(VARIANTS))}, found {variant!r}")
        elif variant in seen:
            yield _at(document, path, f"expected each variant once, found {variant!r} again")
        seen.add(variant)
    compiled = [variant for variant in sorted(seen) if variant in VARIANTS and VARIANTS[variant].is_compiled]
    if _mapping(model).get("golden") is False and compiled:
        place = ("models", name, "golden")
        yield _at(document, place, f"expected true, because {', '.join(compiled)} is checked against them, found false")


def _check_default_prompt(document: YamlDocument, name: str, model: object) -> Iterator[Finding]:
    """Check the default prompt against the prompts beside it; published prompts are known only to ``lock``."""
    values = _mapping(model)
    default, prompts = values.get("default_prompt_name"), values.get("prompts")
    if isinstance(default, str) and isinstance(prompts, dict):
        known = list(dict.fromkeys((*BUILT_IN_PROMPTS, *prompts)))
        if default not in known:
            path = ("models", name, "default_prompt_name")
            yield _at(document, path, f"expected one of {', '.join(known)}, found {default!r}")


def _check_code(document: YamlDocument, name: str, model: object) -> Iterator[Finding]:
    if not _mapping(model, "code"):
        return
    for index, variant in _strings(model, "variants"):
        if variant in VARIANTS and not VARIANTS[variant].is_compiled:
            expected = "expected compiled variants only, because the model has `code`, and a bundle carries no code"
            yield _at(document, ("models", name, "variants", index), f"{expected}, found {variant!r}")


def _check_alternates(document: YamlDocument, name: str, model: object, models: dict[str, Any]) -> Iterator[Finding]:
    seen: set[str] = set()
    alternates = model.get("alternates") if isinstance(model, dict) else None
    alternates = alternates if isinstance(alternates, list) else []
    for index, alternate in _alternates(model):
        path = ("models", name, "alternates", index, "model")
        if alternate not in models:
            yield _at(document, path, f"expected a model of this file ({', '.join(models)}), found {alternate!r}")
        elif alternate in seen:
            yield _at(document, path, f"expected each alternate once, found {alternate!r} again")
        seen.add(alternate)
    accepted = [item for item in alternates if isinstance(item, dict) and item.get("other_space") == "accept"]
    if _mapping(model).get("when_unavailable") == "use-alternates" and not accepted:
        place = ("models", name, "when_unavailable")
        yield _at(document, place, "expected an alternate with `other_space: accept` to use, found none")


def _check_loops(document: YamlDocument, models: dict[str, Any]) -> Iterator[Finding]:
    finished: set[str] = set()
    for start, first in models.items():
        # The path from the start to the current model, with the alternates left to visit at each step. Not recursive,
        # because a file may chain more models than Python has frames.
        trail: dict[str, Iterator[tuple[int, str]]] = {}
        if start not in finished:
            trail[start] = iter(_alternates(first))
        while trail:
            name, rest = next(reversed(trail.items()))
            for index, alternate in rest:
                if alternate in trail:
                    names = list(trail)
                    loop = " → ".join([*names[names.index(alternate) :], alternate])
                    place = ("models", name, "alternates", index, "model")
                    yield _at(document, place, f"expected alternates that do not lead back, found the loop {loop}")
                elif alternate in models and alternate not in finished:
                    trail[alternate] = iter(_alternates(models[alternate]))
                    break
            else:
                finished.add(name)
                del trail[name]
