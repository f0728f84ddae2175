"""Names of licences as publishers state them, and what SPDX calls the same licence. Pure.

A publisher states a name, such as ``gpl-3.0`` or ``gemma``, or an expression, such as ``MIT OR Apache-2.0``. Names that
SPDX has (https://spdx.org/licenses/) get its spelling, and ids that it gave up get their successors: ``gpl-3.0`` is
``GPL-3.0-only``. Any other name becomes a ``LicenseRef-``, which is how an expression of SPDX contains a licence that
SPDX does not have. Nothing is guessed: ``GPLv3`` is not an id, so it stays a name.

For a licence that the Hub does not know, a publisher states ``other`` and a name beside it. The two are kept together
as ``other (NAME)``, which is that name, and never an id: the publisher says that it is another licence.
"""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

UNSTATED: Final = frozenset({"", "none", "noassertion", "unknown"})
"""What stands for no licence: ``unknown`` on the Hub, the other two in SPDX. Compared without case."""

MAX_NAME_LENGTH: Final = 200
"""Characters of a name or expression; what is longer is not read as one."""

_HUB_NAMES: Final = {
    "c-uda": "C-UDA-1.0",
    "gfdl": "GFDL-1.1-or-later",
    "lgpl": "LGPL-2.0-or-later",
    "lgpl-lr": "LGPLLR",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "pddl": "PDDL-1.0",
}
"""Ids of the Hub (https://huggingface.co/docs/hub/repositories-licenses) that are written otherwise in SPDX.

Those without a version have one version, or their texts say that without one, any version may be chosen.
"""

_FAMILIES: Final = frozenset({"bsd", "cc"})
"""Ids of the Hub for several licences, of which none is meant, though they look like ids of SPDX."""

OTHER: Final = "other"
"""The Hub's word for every licence that it does not know."""

_NAMED_OTHER: Final = re.compile(rf"{OTHER} \((.+)\)", re.IGNORECASE)
_REFERENCE: Final = "LicenseRef-"
_WRITTEN_REFERENCE: Final = re.compile(r"LicenseRef-(?=.)", re.IGNORECASE)
_NOT_IN_REFERENCE: Final = re.compile(r"[^A-Za-z0-9.-]")
_VERSIONS: Final = re.compile(r"(-only|-or-later|\+)$")
_CLOSE: Final = 0.8
_MAX_SIMILAR: Final = 5


class Term(NamedTuple):
    """One licence of an expression.

    Attributes:
        id: Its SPDX id, or a ``LicenseRef-`` for a name that SPDX does not have.
        exception: SPDX id of an exception that is added with ``WITH``, or None.
        name: The name as published, in lower case, if SPDX does not have it; else None.
        is_other: Whether the name was published beside ``other``.
    """

    id: str
    exception: str | None
    name: str | None
    is_other: bool = False

    def __str__(self) -> str:
        """Return the term as in an expression of SPDX."""
        return self.id if self.exception is None else f"{self.id} WITH {self.exception}"

    def is_covered_by(self, listed: Term, *, any_version: bool) -> bool:
        """Return whether a term of a list stands for this one.

        A term without an exception also stands for the same licence with one, because exceptions only permit more.

        Args:
            listed: The term of the list.
            any_version: Whether ``-only``, ``-or-later`` and ``+`` make no difference. Otherwise the term for one
                version also stands for this and later versions, of which it is a choice, but not the reverse.
        """
        if listed.exception is not None and listed.exception.casefold() != (self.exception or "").casefold():
            return False
        if self.name is not None and listed.name is not None:
            # A list may also have the `LicenseRef-` under which the licence is in a bill of materials.
            return self.name == listed.name or self.id.casefold() == f"{_REFERENCE}{listed.name}".casefold()
        if self.id == listed.id:
            return True
        is_choice = any_version or (_or_later(self.id) and not _or_later(listed.id))
        return is_choice and _VERSIONS.sub("", self.id) == _VERSIONS.sub("", listed.id)


def _or_later(spdx_id: str) -> bool:
    return spdx_id.endswith(("-or-later", "+"))


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence as stated.

    Attributes:
        published: What the publisher wrote.
        expression: What it means: a term, or an operator with the expressions that it joins.
    """

    published: str
    expression: Expression

    @property
    def spdx(self) -> str:
        """The licence as an expression of SPDX, such as ``MIT OR LicenseRef-gemma``."""
        return _text(self.expression)

    @property
    def term(self) -> Term | None:
        """The only licence in it; None for several."""
        return self.expression if isinstance(self.expression, Term) else None

    @property
    def is_name(self) -> bool:
        """Whether it is a single name that SPDX does not have."""
        return self.term is not None and self.term.name is not None

    @property
    def name(self) -> str:
        """What was published, without the ``other`` around a name."""
        found = _NAMED_OTHER.fullmatch(self.published)
        return self.published if found is None else found[1]

    def holds(self, accepts: Callable[[Term], bool]) -> bool:
        """Return whether its terms can be accepted: each one that ``AND`` joins, and any one that ``OR`` joins."""
        return _holds(self.expression, accepts)

    def __str__(self) -> str:
        """Return it as published, and what SPDX calls it."""
        return f"{self.published} (no SPDX id)" if self.is_name else f"{self.published} (SPDX: {self.spdx})"


class Joined(NamedTuple):
    """Expressions that ``AND`` or ``OR`` joins."""

    operator: str
    parts: tuple[Expression, ...]


Expression = Term | Joined


def licence_of(published: str | None) -> Licence | None:
    """Return what a publisher states, or None where that is no licence: nothing, or a word for nothing."""
    text = (published or "").strip()
    if text.casefold() in UNSTATED:
        return None
    if (named := _NAMED_OTHER.fullmatch(text)) is not None:
        return Licence(text, _name(named[1])._replace(is_other=True))
    return Licence(text, _parsed(text) or _term(text))


def with_name(published: str, name: str) -> str:
    """Return a licence with the name that is published beside it, which counts if the licence is ``other``."""
    return f"{published} ({name.strip()})" if published.strip().casefold() == OTHER and name.strip() else published


def spdx_of(published: str | None) -> str | None:
    """Return a licence as an expression of SPDX; None where none is stated."""
    licence = licence_of(published)
    return None if licence is None else licence.spdx


def other_spdx(published: str | None) -> str | None:
    """Return a licence as an expression of SPDX, or None if it differs from what was published only in case."""
    licence = licence_of(published)
    return None if licence is None or licence.spdx.casefold() == licence.published.casefold() else licence.spdx


def joined_spdx(published: Iterable[str | None]) -> str | None:
    """Return the expression of SPDX for things under these licences together; None if none of them states one."""
    licences = {licence.spdx: licence for text in published if (licence := licence_of(text)) is not None}
    if not licences:
        return None
    # A single one keeps its form, and one that joins others gets parentheses, to keep its meaning.
    found = [licences[text] for text in sorted(licences)]
    return found[0].spdx if len(found) == 1 else _text(Joined("AND", tuple(licence.expression for licence in found)))


def similar_ids(name: str) -> tuple[str, ...]:
    """Return the SPDX ids of which a name is probably meant to be one; empty if it is an id itself, or like none."""
    term = _term(name.strip())
    if term.name is None or _WRITTEN_REFERENCE.match(name) or term.name in _FAMILIES:
        return ()
    ids = _ids().licences
    if (same := _plain_ids().get(_plain(name))) is not None:
        return (same,)
    if longer := {found for known, found in ids.items() if known.startswith(f"{term.name}-")}:
        return tuple(sorted(longer, key=lambda found: (len(found), found))[:_MAX_SIMILAR])
    return tuple(ids[known] for known in difflib.get_close_matches(term.name, ids, n=1, cutoff=_CLOSE))


def is_exception(name: str) -> bool:
    """Return whether a name is that of an exception, which only adds to a licence."""
    return name.casefold() in _ids().exceptions


# --- expressions ---


def _parsed(text: str) -> Expression | None:
    """Return the expression that a text is, or None if it is none."""
    from license_expression import ExpressionError, Licensing  # noqa: PLC0415 - only commands about licences need it

    if len(text) > MAX_NAME_LENGTH:
        return None
    try:
        # The simple tokenizer takes each word as a name, known or not.
        node = Licensing().parse(text, validate=False, simple=True)
    except (ExpressionError, IndexError):  # the latter for `()`
        return None
    return None if node is None else _converted(node)


def _converted(node: Any) -> Expression:  # noqa: ANN401 - the library has no types
    from license_expression import LicenseWithExceptionSymbol  # noqa: PLC0415 - as above

    if isinstance(node, LicenseWithExceptionSymbol):
        name, exception = node.license_symbol.key, node.exception_symbol.key
        found = _ids().exceptions.get(exception.casefold())
        # What an unknown addition permits or forbids is unknown, so it is another licence.
        return _term(f"{name} WITH {exception}") if found is None else _term(name)._replace(exception=found)
    if getattr(node, "args", ()):
        return Joined(node.operator.strip().upper(), tuple(map(_converted, node.args)))
    return _term(node.key)


def _term(name: str) -> Term:
    ids = _ids().licences
    found = ids.get(name.casefold())
    if found is None and name.endswith("+"):
        base = ids.get(name[:-1].casefold())
        found = None if base is None or _VERSIONS.search(base) else f"{base}+"
    return _name(name) if found is None else Term(found, None, None)


def _name(name: str) -> Term:
    bare = _WRITTEN_REFERENCE.sub("", name, count=1) if _WRITTEN_REFERENCE.match(name) else name
    return Term(f"{_REFERENCE}{_NOT_IN_REFERENCE.sub('-', bare)}", None, bare.casefold())


def _text(expression: Expression) -> str:
    if isinstance(expression, Term):
        return str(expression)
    parts = (f"({_text(part)})" if isinstance(part, Joined) else _text(part) for part in expression.parts)
    return f" {expression.operator} ".join(parts)


def _holds(expression: Expression, accepts: Callable[[Term], bool]) -> bool:
    if isinstance(expression, Term):
        return accepts(expression)
    parts = (_holds(part, accepts) for part in expression.parts)
    return all(parts) if expression.operator == "AND" else any(parts)


class _Ids(NamedTuple):
    licences: Mapping[str, str]
    exceptions: Mapping[str, str]


@functools.cache
def _plain_ids() -> Mapping[str, str]:
    return {_plain(known): found for known, found in _ids().licences.items() if known != "gpl"}  # which has no version


def _plain(name: str) -> str:
    """Return a name without what people add or leave out: ``GPLv3`` and ``gpl-3.0`` are both ``gpl3``."""
    letters = re.sub(r"\blicen[cs]e\b|\bversion\b|\bthe\b|[^a-z0-9.+]", "", name.casefold())
    return re.sub(r"v(?=\d)|\.0$|\.", "", letters)


@functools.cache
def _ids() -> _Ids:
    """Return the ids of SPDX by each of their spellings in lower case, those that SPDX replaced included."""
    from license_expression import get_license_index  # noqa: PLC0415 - a file of 1 MB

    licences, exceptions = dict[str, str](), dict[str, str]()
    for entry in get_license_index():
        spdx_id = entry["spdx_license_key"] or ""
        if not spdx_id or spdx_id.startswith(_REFERENCE):
            continue
        found = exceptions if entry["is_exception"] else licences
        for name in (spdx_id, *entry["other_spdx_license_keys"]):
            # Of the list's own references, some lead to another text with the same terms.
            if not name.startswith(_REFERENCE):
                found[name.casefold()] = spdx_id
    return _Ids({**_HUB_NAMES, **licences}, exceptions)
