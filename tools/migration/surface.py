"""The interface and the dependencies of a release, read from the syntax trees of its modules and from its metadata.

Only names are read: of modules, classes, functions, parameters, constants, imports, requirements. Function bodies are
read for three things only: what they import, which environment variables they read, and whether they swallow errors.
"""

from __future__ import annotations

import ast
import email.parser
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Kind = Literal["positional only", "positional", "rest", "keyword only", "keywords"]
_Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter of a function; ``default`` and ``annotation`` are source text, or None."""

    name: str
    kind: Kind
    annotation: str | None
    default: str | None

    def __str__(self) -> str:
        """Return the parameter as source text."""
        stars = {"rest": "*", "keywords": "**"}.get(self.kind, "")
        annotation = "" if self.annotation is None else f": {self.annotation}"
        equals = " = " if annotation else "="
        return f"{stars}{self.name}{annotation}{'' if self.default is None else equals + self.default}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """A function or a method; ``marks`` are those decorators that decide how it is called."""

    name: str
    parameters: tuple[Parameter, ...]
    returns: str | None
    marks: tuple[str, ...]

    def __str__(self) -> str:
        """Return its signature, without ``self`` and ``cls``."""
        listed: list[str] = []
        for index, parameter in enumerate(self.parameters):
            before = self.parameters[index - 1].kind if index else None
            if parameter.kind == "keyword only" and before not in ("keyword only", "rest"):
                listed.append("*")
            if before == "positional only" and parameter.kind != "positional only":
                listed.append("/")
            listed.append(str(parameter))
        returns = "" if self.returns is None else f" -> {self.returns}"
        marks = "".join(f"{mark} " for mark in self.marks)
        return f"{marks}{self.name}({', '.join(listed)}){returns}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Class:
    """A class: names of its bases, its own public methods, and its fields and constants with their literal values."""

    name: str
    bases: tuple[str, ...]
    methods: Mapping[str, Function]
    fields: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """A module of the release.

    Attributes:
        exports: Names from other modules of the release that it exports: its ``__all__``, or what it imports from them.
        imports: Packages outside of the release and of the standard library, with the names imported from them; for
            each whether it is imported with the module (True) or later.
        internal: Modules of the release that it imports.
        environment: Environment variables that it reads; "…" stands for names that are computed at run time.
        swallows: Functions that catch every Exception and raise nothing.
    """

    name: str
    classes: Mapping[str, Class]
    functions: Mapping[str, Function]
    exports: frozenset[str]
    imports: Mapping[str, tuple[bool, frozenset[str]]]
    internal: frozenset[str]
    environment: frozenset[str]
    swallows: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A release: ``requires`` by extra ("" for no extra), each a sorted tuple of requirements."""

    version: str
    python: str
    requires: Mapping[str, tuple[str, ...]]
    modules: Mapping[str, Module] = field(default_factory=dict)

    def bases_of(self, found: Class) -> Iterator[Class]:
        """Yield a class and those of its bases that the release itself defines, nearest first."""
        yield found
        by_name = {name: other for module in self.modules.values() for name, other in module.classes.items()}
        for base in found.bases:
            if base in by_name and base != found.name:
                yield from self.bases_of(by_name[base])

    def methods_of(self, found: Class) -> dict[str, Function]:
        """Return the public methods of a class, those that it inherits within the release included."""
        methods: dict[str, Function] = {}
        for one in self.bases_of(found):
            methods = {**one.methods, **methods}
        return methods


def read_release(version: str, texts: Mapping[str, str], standard: frozenset[str]) -> Release:
    """Return the interface and the dependencies of a release.

    Args:
        version: Its version.
        texts: Its Python files and METADATA, by path.
        standard: Names of the modules of the standard library.

    Raises:
        SyntaxError: A module is not Python that this interpreter can read.
    """
    (metadata,) = (text for path, text in texts.items() if path.endswith(".dist-info/METADATA"))
    python, requires = _requirements(metadata)
    paths = {_module_name(path): path for path in texts if path.endswith(".py")}
    modules = {
        name: _read_module(
            _Place(name, path.endswith("__init__.py"), frozenset(paths), standard), ast.parse(texts[path])
        )
        for name, path in sorted(paths.items())
    }
    return Release(version=version, python=python, requires=requires, modules=modules)


def _module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _requirements(metadata: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    fields = email.parser.HeaderParser().parsestr(metadata)
    found: dict[str, set[str]] = {"": set()}
    for line in fields.get_all("Requires-Dist") or []:
        requirement, _, marker = line.partition(";")
        extra = _EXTRA.search(marker)
        found.setdefault(extra[1] if extra else "", set()).add(_canonical(requirement.strip()))
    return fields["Requires-Python"] or "any", {extra: tuple(sorted(listed)) for extra, listed in found.items()}


def _canonical(requirement: str) -> str:
    """Return a requirement with its canonical name, and its bounds in a fixed order."""
    match = _NAME.match(requirement)
    if match is None:
        raise ValueError(f"expected a requirement, found {requirement!r}")
    bounds = ",".join(sorted(filter(None, (part.strip() for part in requirement[match.end() :].split(",")))))
    return re.sub(r"[-_.]+", "-", match[0]).lower() + bounds


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a module is: its name, whether it is a package, and the names of what is around it."""

    name: str
    is_package: bool
    ours: frozenset[str]
    standard: frozenset[str]

    def absolute(self, node: ast.ImportFrom) -> str:
        """Return the module that ``from … import`` names."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        above = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*above, *filter(None, [node.module])])


def _read_module(place: _Place, tree: ast.Module) -> Module:
    imports, internal, names = _imports(place, tree)
    stated = _stated_exports(tree)
    return Module(
        name=place.name,
        classes={
            node.name: _class(node) for node in tree.body if isinstance(node, ast.ClassDef) and _public(node.name)
        },
        functions={
            node.name: _function(node) for node in tree.body if isinstance(node, _Definition) and _public(node.name)
        },
        exports=frozenset(stated if stated is not None else (names if place.is_package else ())),
        imports=imports,
        internal=internal,
        environment=frozenset(_environment(tree)),
        swallows=tuple(sorted(_swallows(tree))),
    )


def _public(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__call__")


def _class(node: ast.ClassDef) -> Class:
    fields: dict[str, str] = {}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            fields[statement.target.id] = _type(statement.annotation) or ""
        elif isinstance(statement, ast.Assign):
            fields |= {name.id: _literal(statement.value) for name in statement.targets if isinstance(name, ast.Name)}
    return Class(
        name=node.name,
        bases=tuple(ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases),
        methods={
            item.name: _function(item, method=True)
            for item in node.body
            if isinstance(item, _Definition) and _public(item.name)
        },
        fields={name: value for name, value in fields.items() if _public(name)},
    )


def _literal(node: ast.expr) -> str:
    try:
        return repr(ast.literal_eval(node))
    except ValueError:
        return "…"  # the name is computed at run time


def _function(node: _Definition, *, method: bool = False) -> Function:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    found = [
        _parameter(argument, "positional only" if index < len(arguments.posonlyargs) else "positional", default)
        for index, (argument, default) in enumerate(zip(positional, defaults, strict=True))
    ]
    if arguments.vararg:
        found.append(_parameter(arguments.vararg, "rest", None))
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    found += [_parameter(argument, "keyword only", default) for argument, default in pairs]
    if arguments.kwarg:
        found.append(_parameter(arguments.kwarg, "keywords", None))
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    marks: list[str] = [
        mark for mark in ("abstractmethod", "classmethod", "staticmethod", "property", "setter") if mark in decorators
    ]
    if isinstance(node, ast.AsyncFunctionDef):
        marks.append("async")
    if method and "staticmethod" not in marks:
        found = found[1:]
    return Function(name=node.name, parameters=tuple(found), returns=_type(node.returns), marks=tuple(marks))


def _parameter(argument: ast.arg, kind: Kind, default: ast.expr | None) -> Parameter:
    return Parameter(
        name=argument.arg,
        kind=kind,
        annotation=_type(argument.annotation),
        default=None if default is None else ast.unparse(default),
    )


def _type(node: ast.expr | None) -> str | None:
    """Return a type as source text, in one spelling: ``list[str] | None`` for ``Optional[List[str]]``."""
    return None if node is None else ast.unparse(_OneSpelling().visit(node))


class _OneSpelling(ast.NodeTransformer):
    """Turns the names that typing has for the types of the language into these."""

    _BUILT_IN = frozenset({"Dict", "FrozenSet", "List", "Set", "Tuple", "Type"})

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name(id=node.id.lower()) if node.id in self._BUILT_IN else node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, str):
            return node
        quoted: ast.expr = self.visit(ast.parse(node.value, mode="eval").body)
        return quoted

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.value, ast.Name) or node.value.id not in ("Optional", "Union"):
            return node
        parts = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        if node.value.id == "Optional":
            parts.append(ast.Constant(value=None))
        joined = parts[0]
        for part in parts[1:]:
            joined = ast.BinOp(left=joined, op=ast.BitOr(), right=part)
        return joined


def _imports(
    place: _Place, tree: ast.Module
) -> tuple[dict[str, tuple[bool, frozenset[str]]], frozenset[str], set[str]]:
    """Return imports of other packages, modules of the release that are imported, and the names taken from these."""
    outside: dict[str, tuple[bool, frozenset[str]]] = {}
    inside: set[str] = set()
    names: set[str] = set()
    at_start = {id(node) for node in _run_at_import(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            taken = [(alias.name, frozenset[str]()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            taken = [(place.absolute(node), frozenset(alias.name for alias in node.names))]
        else:
            continue
        for module, listed in taken:
            if module in place.ours:
                modules = {f"{module}.{item}" for item in listed} & place.ours
                inside |= {module, *modules} - {place.name}
                names |= {item for item in listed if _public(item)}
            elif module.partition(".")[0] not in place.standard:
                early, before = outside.get(module, (False, frozenset()))
                outside[module] = (early or id(node) in at_start, before | listed)
    return outside, frozenset(inside), names


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when a module is imported: not in functions, nor where only type checkers look."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _run_at_import(node)


def _stated_exports(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(name, ast.Name) and name.id == "__all__" for name in node.targets
        ):
            return list(ast.literal_eval(node.value))
    return None


def _environment(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        key: ast.expr | None = None
        if isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func)
            if called in ("os.getenv", "os.environ.get", "os.environ.setdefault", "os.environ.pop"):
                key = node.args[0]
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            key = node.slice
        if key is not None:
            yield key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else "…"


def _swallows(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _swallows(node, f"{prefix}{node.name}.")
        elif isinstance(node, _Definition):
            handlers = [inner for inner in ast.walk(node) if isinstance(inner, ast.ExceptHandler)]
            if any(_catches_all(handler) and not _raises(handler) for handler in handlers):
                yield f"{prefix}{node.name}"


def _catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")


def _raises(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for node in ast.walk(handler))
