"""Loops that a signal handler's exception leaves without the end of the `with` or `try` that they stand in.

CPython 3.13 has the jump from a condition back to the beginning of a loop outside of the handlers around it, where an
exception of a signal handler may be raised (python/cpython#130279): a lock that is held there stays locked for ever.
"""

from __future__ import annotations

import dis
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import thoth_models

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(thoth_models.__file__).parent
MODULES = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob("*.py")
    if "Lock(" in path.read_text(encoding="utf-8") or path.name == "fork.py"
)

CONTROL = """
def held(lock, things, wanted):
    with lock:
        return [thing for thing in things if thing in wanted]

def released(lock, things, wanted):
    with lock:
        return chosen(things, wanted)

def chosen(things, wanted):
    return [thing for thing in things if thing in wanted]
"""

pytestmark = pytest.mark.skipif(sys.version_info < (3, 13), reason="earlier ones look up the jump by what is before it")


def functions(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from functions(constant)


def handler(code: types.CodeType, offset: int) -> int | None:
    """Return where an exception that is raised at an offset is handled by a statement, not by a comprehension."""
    table: list[Any] = dis._parse_exception_table(code)  # type: ignore[attr-defined]
    operations = {instruction.offset: instruction.opname for instruction in dis.get_instructions(code)}
    found: int | None = offset
    while found is not None:
        targets: Iterator[int] = (entry.target for entry in table if entry.start <= found < entry.end)
        found = next(targets, None)
        if found is not None and operations[found] == "PUSH_EXC_INFO":
            return found
    return None


def left_without_their_end(source: str) -> list[str]:
    found = []
    for code in functions(compile(source, "source", "exec")):
        for instruction in dis.get_instructions(code):
            if instruction.opname == "JUMP_BACKWARD":
                target = int(instruction.argval)
                if handler(code, target) not in (None, handler(code, instruction.offset)):
                    assert instruction.positions is not None
                    found.append(f"{instruction.positions.lineno} in {code.co_qualname}")
    return found


def test_control() -> None:
    found = left_without_their_end(CONTROL)
    if not found:
        pytest.skip("this interpreter has them within")
    assert found == ["4 in held"]


@pytest.mark.parametrize("module", MODULES)
def test_no_loop_with_a_condition_keeps_a_lock(module: str) -> None:
    """Move it into a function that is called from there."""
    assert left_without_their_end((ROOT / module).read_text(encoding="utf-8")) == []
