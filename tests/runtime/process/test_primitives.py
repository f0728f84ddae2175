"""Threads, waits and frames are handled in one place each: one primitive to learn, and a fix reaches all its users."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import thoth_models
from thoth_models.process import fork
from thoth_models.process.fork import ForkAware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCES = Path(thoth_models.__file__).parent
TREES = {path.relative_to(SOURCES).as_posix(): ast.parse(path.read_bytes()) for path in SOURCES.rglob("*.py")}


def modules_with(matches: Callable[[ast.AST], bool]) -> set[str]:
    return {module for module, tree in TREES.items() if any(map(matches, ast.walk(tree)))}


def starts_a_thread(node: ast.AST) -> bool:
    bases = node.bases if isinstance(node, ast.ClassDef) else [node.func] if isinstance(node, ast.Call) else []
    return any(ast.unparse(base).endswith(("Thread", "ThreadPoolExecutor")) for base in bases) and not (
        isinstance(node, ast.Call) and ast.unparse(node.func) == "DaemonThread"
    )


def waits_for_a_while(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr in ("get", "acquire", "wait", "join") and any(
        keyword.arg == "timeout" for keyword in node.keywords
    )


def deletes_what_an_error_refers_to(node: ast.AST) -> bool:
    names = (
        {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.Delete)
        else set()
    )
    return bool(names & {"self", "task", "work", "entry", "lease", "future"})


@pytest.mark.parametrize(
    ("matches", "places"),
    [
        (starts_a_thread, {"process/daemon_executor.py"}),
        (waits_for_a_while, {"process/signals.py"}),
        # Where an error is raised again, and where one comes from: each has a frame of its own in the traceback.
        (deletes_what_an_error_refers_to, {"process/task.py", "process/daemon_executor.py"}),
    ],
)
def test_one_place_does_it(matches: Callable[[ast.AST], bool], places: set[str]) -> None:
    assert modules_with(matches) == places


def subclasses(kind: type) -> Iterator[type]:
    children: list[type] = kind.__subclasses__()
    for subclass in children:
        yield subclass
        yield from subclasses(subclass)


def test_what_registers_for_forks_says_what_a_child_does_with_it() -> None:
    """By the method of the ABC, not by attributes that happen to have a name."""
    registering = {
        f"{module}:{node.name}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(call, ast.Call) and ast.unparse(call) == "at_fork(self)" for call in ast.walk(node))
    }
    assert len(registering) >= 8
    for place in registering:
        module = "thoth_models." + place.partition(".py")[0].replace("/", ".")
        kind = getattr(__import__(module, fromlist=["_"]), place.partition(":")[2])
        assert issubclass(kind, ForkAware), place
        assert not inspect.isabstract(kind)
    assert "getattr(thing" not in inspect.getsource(fork)


def test_each_class_puts_all_its_locks_right_in_a_child() -> None:
    """A lock of the parent's may be held for ever: each that a constructor makes is made again after a fork."""
    missing = []
    for kind in subclasses(ForkAware):
        if not kind.__module__.startswith("thoth_models."):
            continue
        tree = ast.parse(inspect.getsource(kind))
        methods = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        made = _locks(methods, "__init__")
        again = _locks(methods, "after_fork_in_child")
        missing += [f"{kind.__name__}.{name}" for name in made - again]
    assert missing == []


def _locks(methods: dict[str, ast.FunctionDef], name: str) -> set[str]:
    """Return the attributes that a method sets to a lock or signal, or another one that it calls does."""
    found: set[str] = set()
    for node in ast.walk(methods[name]):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
            if ast.unparse(node.value.func) in ("threading.Lock", "threading.RLock", "Signal"):
                found.add(ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "self._reset":
            found |= _locks(methods, "_reset")
    return found
