"""What changed between two releases, and which changes break a caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tools.migration.surface import Class, Function, Parameter, Release


_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One difference.

    Attributes:
        place: The module that it is in.
        name: What changed in it; empty for the module itself.
        kind: Such as ``removed``, ``added``, ``signature``.
        before: The old form; empty for an addition.
        after: The new form; empty for a removal.
        breaks: Why a caller of the old form fails with the new one; empty if no caller does.
    """

    place: str
    name: str
    kind: str
    before: str = ""
    after: str = ""
    breaks: str = ""


def compare(old: Release, new: Release) -> list[Change]:
    """Return the differences of the interfaces of two releases, module by module."""
    found: list[Change] = []
    found += _packages(old, new)
    for place in sorted({*old.modules, *new.modules}):
        before, after = old.modules.get(place), new.modules.get(place)
        if before is None:
            found.append(Change(place=place, name="", kind="module added"))
        elif after is None:
            offered = ", ".join(sorted([*before.classes, *before.functions])) or "nothing"
            found.append(Change(place=place, name="", kind="module removed", before=offered, breaks="removed"))
        else:
            found += _renamed(place, before.functions, after.functions, "", _function_change)
            found += _renamed(place, before.classes, after.classes, "", _class_change(old, new))
    return found


def python_change(old: Release, new: Release) -> str:
    """Return a sentence if the required Python differs; otherwise the empty string."""
    return "" if old.python == new.python else f"Python {old.python} became {new.python}"


def _packages(old: Release, new: Release) -> Iterator[Change]:
    for place in sorted(old.modules.keys() & new.modules.keys()):
        before, after = old.modules[place].exports, new.modules[place].exports
        for name in sorted(before - after):
            yield Change(place=place, name=name, kind="export removed", before=name, breaks="removed")
        for name in sorted(after - before):
            yield Change(place=place, name=name, kind="export added", after=name)


def _renamed(
    place: str,
    before: Mapping[str, _T],
    after: Mapping[str, _T],
    prefix: str,
    differ: Callable[[str, str, _T, _T], list[Change]],
) -> Iterator[Change]:
    """Yield the changes of named things. A removal and an addition whose names differ in one word are a rename."""
    gone, new = [name for name in before if name not in after], [name for name in after if name not in before]
    for name in sorted(before.keys() & after.keys()):
        yield from differ(place, prefix + name, before[name], after[name])
    for name in sorted(gone):
        twin = next((other for other in new if _is_renamed(name, str(before[name]), other, str(after[other]))), None)
        if twin is None:
            yield Change(
                place=place, name=prefix + name, kind="removed", before=_shown(before[name], name), breaks="removed"
            )
        else:
            new.remove(twin)
            yield Change(
                place=place,
                name=prefix + name,
                kind="renamed",
                before=_shown(before[name], name),
                after=_shown(after[twin], twin),
                breaks="renamed",
            )
    for name in sorted(new):
        yield Change(place=place, name=prefix + name, kind="added", after=_shown(after[name], name))


def _is_renamed(old: str, old_text: str, new: str, new_text: str) -> bool:
    """Return whether two things are equal except for one word of their names, wherever it occurs in them."""
    left, right = old.lower(), new.lower()
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    end = 0
    while end < min(len(left), len(right)) - start and left[-1 - end] == right[-1 - end]:
        end += 1
    was, became = left[start : len(left) - end], right[start : len(right) - end]
    return bool(was and became) and old_text.lower().replace(was, became) == new_text.lower()


def _shown(thing: object, name: str) -> str:
    """Return how a thing is shown in a table: a signature for what can be called, else its name."""
    return str(thing) if type(thing).__name__ == "Function" else name


def _class_change(old: Release, new: Release) -> Callable[[str, str, Class, Class], list[Change]]:
    def differ(place: str, name: str, before: Class, after: Class) -> list[Change]:
        found: list[Change] = []
        if before.bases != after.bases:
            found.append(
                Change(
                    place=place,
                    name=name,
                    kind="bases",
                    before=", ".join(before.bases),
                    after=", ".join(after.bases),
                    breaks="isinstance" if set(before.bases) - set(after.bases) else "",
                )
            )
        # Inherited members are reported at the class that defines them; a member that a class lost may still be
        # inherited.
        own = {*before.methods, *after.methods}
        left, right = (
            {name: method for name, method in release.methods_of(one).items() if name in own}
            for release, one in ((old, before), (new, after))
        )
        found += _renamed(place, left, right, f"{name}.", _function_change)
        found += _renamed(place, before.fields, after.fields, f"{name}.", _field_change)
        return found

    return differ


def _field_change(place: str, name: str, before: str, after: str) -> list[Change]:
    if before == after:
        return []
    return [Change(place=place, name=name, kind="value", before=before, after=after, breaks="")]


def _function_change(place: str, name: str, before: Function, after: Function) -> list[Change]:
    if before == after:
        return []
    reasons = list(breaks_of(before, after))
    kind = "signature" if reasons or _without_types(before) != _without_types(after) else "annotations"
    return [Change(place=place, name=name, kind=kind, before=str(before), after=str(after), breaks="; ".join(reasons))]


def _without_types(function: Function) -> tuple[object, ...]:
    return function.marks, tuple((one.name, one.kind, one.default) for one in function.parameters)


def breaks_of(before: Function, after: Function) -> Iterator[str]:
    """Yield the reasons why calls of one function fail with the other."""
    if before.marks != after.marks and {*before.marks} ^ {*after.marks} != {"abstractmethod"}:
        yield f"was {' '.join(before.marks) or 'plain'}"
    if "abstractmethod" in after.marks and "abstractmethod" not in before.marks:
        yield "abstract now"
    yield from _gone(before, after)
    yield from _needed(before, after)
    yield from _moved(before, after)


def _gone(before: Function, after: Function) -> Iterator[str]:
    left = {one.name for one in after.parameters}
    takes_any = any(one.kind == "keywords" for one in after.parameters)
    for parameter in before.parameters:
        if parameter.name in left:
            continue
        if parameter.kind in ("rest", "keywords"):
            yield f"`{parameter}` is gone"
        else:
            yield f"`{parameter.name}` {'goes to **' if takes_any else 'is gone'}"


def _needed(before: Function, after: Function) -> Iterator[str]:
    defaults = {one.name: one.default for one in before.parameters}
    for parameter in after.parameters:
        was, became = defaults.get(parameter.name), parameter.default
        if parameter.kind in ("rest", "keywords") or was == became is not None:
            continue
        if became is None and (was is not None or parameter.name not in defaults):
            yield f"`{parameter.name}` must be given"
        elif was is not None:
            yield f"`{parameter.name}` defaults to {became}"


def _moved(before: Function, after: Function) -> Iterator[str]:
    def by_position(parameters: tuple[Parameter, ...]) -> list[str]:
        return [one.name for one in parameters if one.kind in ("positional only", "positional")]

    old, new = by_position(before.parameters), by_position(after.parameters)
    for index, name in enumerate(old):
        if name in new and new.index(name) != index:
            yield f"`{name}` has another position"
        elif name not in new and any(one.name == name for one in after.parameters):
            yield f"`{name}` must be given by name"
