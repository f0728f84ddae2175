"""Find the Python files that a model's configuration refers to, and write the configuration for a build with them.

Pure, except for the functions of the model's files. Nothing is imported: files are found by the names that transformers
follows (``auto_map``, and the types of ``modules.json``), and by the relative imports in their syntax trees.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from thoth_models_builder.errors import UnsupportedKeyError, UnsupportedModelError
from thoth_models_builder.spec.variants import MODULES_FILE, path_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from thoth_models.bundle.digest import ContentDigest
    from thoth_models_builder.bundle.model_files import ModelFiles

_OWN_TYPES: Final = "sentence_transformers."
_LOADED: Final = ("AutoConfig", "AutoModel", "AutoTokenizer")
"""Classes of ``auto_map`` that loading an encoder looks up; those for other tasks are not loaded."""
_REFERENCE: Final = re.compile(r"(?:(?P<repository>[\w.-]+/[\w.-]+)--)?(?P<module>\w+)\.\w+", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeReference:
    """A reference of a configuration file to a class in a Python file.

    Attributes:
        place: The file and the key, for messages.
        directory: Directory of the model that the file belongs to; empty for the top.
        repository: Another repository that has the file, or None.
        module: Name of the file without its ending.
    """

    place: str
    directory: str
    repository: str | None
    module: str

    @property
    def path(self) -> str:
        """Where the model expects the file."""
        return path_in(self.directory, f"{self.module}.py")


def code_references(files: ModelFiles) -> list[CodeReference]:
    """Return the references to code in the configuration of a model.

    Raises:
        UnsupportedModelError: A reference does not have a form that transformers reads.
    """
    return [_parsed(place, directory, value) for place, directory, value in _references(files)]


def _references(files: ModelFiles) -> Iterator[tuple[str, str, str]]:
    if MODULES_FILE in files.digests:
        for index, entry in enumerate(files.json(MODULES_FILE, list)):
            kind = entry.get("type") if isinstance(entry, dict) else None
            if isinstance(kind, str) and not kind.startswith(_OWN_TYPES):
                yield f"{MODULES_FILE}: [{index}].type", "", kind
    for path in sorted(files.digests):
        directory, _, name = path.rpartition("/")
        if name in ("config.json", "tokenizer_config.json"):
            mapping = files.json(path, dict).get("auto_map")
            for key, value in sorted(mapping.items()) if isinstance(mapping, dict) else ():
                if key in _LOADED:
                    # A tokenizer has two classes, of which the second is the fast one, or null.
                    for one in value if isinstance(value, list) else [value]:
                        if one is not None:
                            yield f"{path}: auto_map.{key}", directory, one


def _parsed(place: str, directory: str, value: object) -> CodeReference:
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise UnsupportedModelError(f"{place}: expected a file and a class, such as modeling.Model, found {value!r}")
    return CodeReference(place=place, directory=directory, repository=match["repository"], module=match["module"])


def relative_imports(source: bytes, path: str) -> list[str]:
    """Return the names of the files beside a Python file that it imports, without their ending.

    Raises:
        UnsupportedModelError: The file cannot be parsed.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnsupportedModelError(f"{path}: expected Python source, found something else ({error})") from error
    return sorted(
        {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module and "." not in node.module
        }
    )


def without_code(files: ModelFiles, code: Mapping[str, ContentDigest]) -> ModelFiles:
    """Return a model's files as they would be if its classes were those of the libraries, to be configured.

    Args:
        files: The files of the model.
        code: Content of each reviewed Python file, by its path; they are among the files that are returned, because
            they decide what vectors mean.
    """
    plain = files
    for path in _configured(files):
        plain = plain.changed(path, _as_bytes(_plain(path, files)))
    for path, content in code.items():
        plain = plain.changed(path, content)
    return plain


def with_local_code(files: ModelFiles, effective: ModelFiles) -> dict[str, bytes]:
    """Return the configuration files that have to change for a build, by path: each class is in a file beside them.

    Args:
        files: The files of the model.
        effective: The same without references to code, as a bundle would have them.
    """
    changed: dict[str, bytes] = {}
    for path in _configured(files):
        if path == MODULES_FILE:
            value = effective.json(path, list)
            for entry, published in zip(value, files.json(path, list), strict=True):
                if not published["type"].startswith(_OWN_TYPES):
                    entry["type"] = _local(published["type"])
        else:
            mapping = files.json(path, dict)["auto_map"]
            kept = mapping.items() if isinstance(mapping, dict) else ()
            local = {key: _local(entry) for key, entry in kept if key in _LOADED}
            value = {**effective.json(path, dict), "auto_map": local}
        changed[path] = _as_bytes(value)
    return changed


def _configured(files: ModelFiles) -> list[str]:
    """Return the paths of the files that refer to code."""
    names = ("config.json", "tokenizer_config.json")
    found = [path for path in files.digests if path.rpartition("/")[2] in names]
    return [path for path in found if "auto_map" in files.json(path, dict)] + [
        path for path in files.digests if path == MODULES_FILE
    ]


def _plain(path: str, files: ModelFiles) -> Any:  # noqa: ANN401 - JSON
    if path != MODULES_FILE:
        return {key: value for key, value in files.json(path, dict).items() if key != "auto_map"}
    entries = files.json(path, list)
    for entry in entries:
        kind = entry.get("type") if isinstance(entry, dict) else None
        if isinstance(kind, str) and not kind.startswith(_OWN_TYPES):
            entry["type"] = f"{_OWN_TYPES}models.{kind.rpartition('.')[2]}"
    return entries


def _local(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [_local(one) for one in value]
    return value.rpartition("--")[2] if isinstance(value, str) else value


def _as_bytes(value: object) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def advice(names: Mapping[str, str]) -> str:
    """Return the block of models.yaml that lists files with their sha256, and what to do with it."""
    lines = "\n".join(f"      {name}: {sha256}" for name, sha256 in sorted(names.items()))
    return (
        "read these files as you would a new dependency; to have the build run them, in a sandbox, list them under the "
        f"model in models.yaml, with compiled variants only:\n    code:\n{lines}"
    )


def review(specified: Mapping[str, str], needed: Mapping[str, str], found: Collection[str]) -> None:
    """Compare the files that a team has reviewed with those that a model needs.

    Args:
        specified: sha256 by key of ``code`` in models.yaml.
        needed: sha256 of each file that the model needs, by the same keys.
        found: Keys among those specified whose files exist, whether the model needs them or not.

    Raises:
        UnsupportedKeyError: A file is not listed, has other bytes, or does not exist; names both digests.
    """
    problems = [
        f"code: {name}: expected the reviewed sha256 {specified[name]}, found {sha256}"
        for name, sha256 in sorted(needed.items())
        if name in specified and specified[name] != sha256
    ]
    problems += [
        f"code: {name}: expected it to be listed, found it needed" for name in sorted(needed.keys() - specified)
    ]
    problems += [f"code: {name}: expected this file, found none" for name in sorted(specified.keys() - set(found))]
    if problems:
        raise UnsupportedKeyError(f"{'; '.join(problems)}\n{advice(needed)}")
