"""Compare licences, as publishers state them, with what models.yaml permits. Pure.

``deny`` comes before ``allow``. Of licences that ``OR`` joins, one has to be permitted, because the choice is that of
who uses the model; of those that ``AND`` joins, all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from thoth_models_builder.errors import LicenceError, LicenceViolation
from thoth_models_builder.spec.licences.lists import listed
from thoth_models_builder.spec.licences.names import OTHER, licence_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models_builder.spec.licences.names import Licence, Term
    from thoth_models_builder.spec.models_yaml import LicencePolicy

_SHOWN: Final = 10
"""Entries of a list that a message names."""


def refuse_licences(policy: LicencePolicy, licences: Mapping[str, str | None]) -> None:
    """Refuse models by their licences as published, by name of the model.

    Raises:
        LicenceError: A licence is not permitted; has every such model.
    """
    if policy.allow is None and not policy.deny and policy.unstated == "accept":
        return  # without the list of all licences, which takes time to read
    violations: list[LicenceViolation] = []
    for model, published in licences.items():
        licence = licence_of(published)
        reason = _reason(policy, published, licence)
        if reason is not None:
            spdx = None if licence is None else licence.spdx
            violations.append(LicenceViolation(model=model, published=published, spdx=spdx, reason=reason))
    if violations:
        raise LicenceError(violations)


def _reason(policy: LicencePolicy, published: str | None, licence: Licence | None) -> str | None:
    """Return what was expected of a licence, and what was found, or None if it is permitted."""
    if licence is None:
        if policy.unstated == "accept":
            return None
        stated = "none" if published is None else repr(published)
        return f"expected a licence, because `licences.unstated` is refuse, found {stated}"
    allow = None if policy.allow is None else _terms(policy.allow)
    deny = _terms(policy.deny)

    def is_denied(term: Term) -> bool:
        if any(term.is_covered_by(other, any_version=True) for other in deny):
            return True
        # To the safe side: `other` also with a name, and a name that is an id, though neither permits anything.
        readings = map(licence_of, (OTHER, term.name)) if term.is_other else ()
        return any(reading is not None and not reading.holds(lambda one: not is_denied(one)) for reading in readings)

    def is_allowed(term: Term) -> bool:
        return allow is None or any(term.is_covered_by(other, any_version=False) for other in allow)

    if licence.holds(lambda term: is_allowed(term) and not is_denied(term)):
        return None
    expected = []
    if not licence.holds(lambda term: not is_denied(term)):
        expected.append(f"none of `licences.deny` ({_shown(policy.deny)})")
    elif allow is not None:
        expected.append(f"one of `licences.allow` ({_shown(policy.allow or ())})")
        if licence.holds(is_allowed):  # one choice is not allowed, and the other is denied
            expected.append(f"none of `licences.deny` ({_shown(policy.deny)})")
    return f"expected {' and '.join(expected)}, found {licence}"


def _terms(entries: Sequence[str]) -> list[Term]:
    return [term for entry in entries if (term := listed(entry)) is not None]


def _shown(entries: Sequence[str]) -> str:
    left = len(entries) - _SHOWN
    return ", ".join(entries[:_SHOWN]) + (f", and {left} more" if left > 0 else "")
