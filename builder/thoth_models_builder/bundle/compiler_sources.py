"""Find the source files that decide the result of a compilation: the compiler process, and everything it imports.

They are found by following the imports, so there is no list to maintain: a module that the compiler starts to use
becomes part of the cache key.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Final

import thoth_models
from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.digest import Digest
from thoth_models_builder.errors import CompilerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ENTRIES: Final = (
    "thoth_models_builder.compile.server",
    # Modules that the compiler imports by name.
    "thoth_models.backends.onnx",
    "thoth_models.backends.torch",
    # Run in the builder, and decide the content of jobs and the identity of the space, which is kept with them.
    "thoth_models_builder.bundle.compile_job",
    "thoth_models_builder.bundle.configure",
    "thoth_models_builder.bundle.describe",
    "thoth_models_builder.bundle.space_of",
    "thoth_models_builder.bundle.code.references",
)


def compiler_sources(packages: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """Return the source files that decide the result, by name of the module.

    Args:
        packages: Directory of each of our packages; None for the imported ones.
    """
    places = packages or {"thoth_models": Path(thoth_models.__file__).parent, __package__.partition(".")[0]: _OWN}
    found: dict[str, Path] = {}
    wanted = list(_ENTRIES)
    while wanted:
        name = wanted.pop()
        if name in found or (path := _file_of(name, places)) is None:
            continue
        found[name] = path
        wanted += _imports(ast.parse(path.read_bytes()))
        # Importing a module imports the packages that it is in.
        wanted += [name.rpartition(".")[0]]
    if missing := [name for name in _ENTRIES if name not in found]:
        # As in an image with bytecode only: a cache key without them would be the same for every release.
        raise CompilerUnavailableError(f"expected the source files of the compiler, found none of {missing[0]}")
    return found


@functools.cache
def sources_digest() -> Digest:
    """Return the digest of the sources that decide the result; a change of them may change the compiled files."""
    return digest_of(compiler_sources())


def digest_of(sources: Mapping[str, Path]) -> Digest:
    """Return the digest of source files by name of the module."""
    return Digest.of(canonical_json({name: Digest.of(path.read_bytes()).hex for name, path in sources.items()}))


_OWN: Final = Path(__file__).parents[1]


def _file_of(name: str, places: Mapping[str, Path]) -> Path | None:
    """Return the file of one of our modules; None if the name is not a module, but for example a function."""
    package, *parts = name.split(".")
    if package not in places:
        return None
    place = places[package].joinpath(*parts)
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a piece of source may import; a name imported from a module may be a module too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            # Expressions cannot import.
            yield from () if isinstance(node, ast.expr) else _imports(node)
