"""Resolving a name to a model, for the manager, for ``compat`` and for ``switching``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thoth_models.bundle.selection import DEFAULT, expected_space, select
from thoth_models.errors import InvalidInputError, ModelUnavailableError
from thoth_models.loading.fallback import fallback_reason

if TYPE_CHECKING:
    from thoth_models.bundle.manifest import Manifest
    from thoth_models.bundle.selection import Candidate, Selection
    from thoth_models.manager.config import ManagerConfig


def name_in_bundle(manifest: Manifest, name: object) -> str | None:
    """Return the name to look up; None for the default model, which ``default`` means if nothing has that name.

    Raises:
        InvalidInputError: ``name`` is not a str.
    """
    if name is not None and not isinstance(name, str):
        raise InvalidInputError(f"model: expected a name, found {type(name).__name__}")
    return None if name == DEFAULT and DEFAULT not in manifest.names() else name


def resolve(
    manifest: Manifest, name: str | None, config: ManagerConfig, *, expect_space: str | None = None
) -> Selection:
    """Return the variants that may answer for a name under these settings, in order.

    Args:
        manifest: The manifest of the bundle.
        name: Name or alias; ``default`` and None as in :func:`name_in_bundle`.
        config: The settings; a space that they expect takes precedence over ``expect_space``.
        expect_space: The space that the model must have; None for any.

    Raises:
        InvalidInputError: ``name`` is not a str, or the settings expect a space of an unknown model.
        UnknownModelError: No model or alias has that name.
        SpaceMismatchError: Only a model of another space could answer, and that is not accepted.
    """
    requested = name_in_bundle(manifest, name)
    return select(
        manifest,
        requested,
        variants=config.variants,
        same_space=config.same_space,
        expect_space=expected_space(manifest, requested, config.expect_spaces) or expect_space,
    )


def would_answer(
    manifest: Manifest, name: str | None, config: ManagerConfig, *, expect_space: str | None = None
) -> tuple[Candidate, str | None]:
    """Return the variant that should answer for a name, and why it has another space; None if it has the same space.

    Raises:
        ModelUnavailableError: No variant can answer.
        ThothModelsError: See :func:`resolve`.
    """
    selection = resolve(manifest, name, config, expect_space=expect_space)
    if not selection.candidates:
        raise ModelUnavailableError(selection.requested, selection.passed_over)
    best = selection.candidates[0]
    if best.same_space:
        return best, None
    return best, fallback_reason(selection.requested, best, selection.passed_over)
