"""Settings of an :class:`~thoth_models.manager.manager.EmbeddingManager`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from thoth_models.errors import InvalidInputError
from thoth_models.process.environment import bundle_place, checked_digest, checked_release, memory_budget
from thoth_models.process.task import checked_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models.process.environment import BundlePlace

_MAX_THREADS = 1024


@dataclass(frozen=True, kw_only=True, repr=False)
class ManagerConfig:
    """Settings of a manager; two that are equal are the same manager for ``EmbeddingManager.get_instance``.

    Attributes:
        root: The bundle directory, made absolute; None for ``THOTH_MODELS_DIR``, by default ``/models``.
        variants: Names of the variants to accept, in order of preference; None for the order in models.yaml.
        same_space: Refuse a fallback of another embedding space, even if models.yaml accepts it.
        expect_spaces: The space that an index was built with, by name of the model. It applies to all names of that
            model, except those that are listed here themselves. A name that the bundle does not have is an error.
        expect_digest: The bundle digest; another bundle is refused before its manifest is parsed. None for
            ``THOTH_MODELS_DIGEST``; if that is not set either, any bundle is accepted.
        min_release: The lowest release of the bundle that is accepted; an older one, or one that states no release, is
            refused before anything of it is used. None for ``THOTH_MODELS_MIN_RELEASE``, by default any.
        timeout: Seconds until a call that has to load a model fails, including the wait for memory.
        memory_budget: Bytes that loaded models may take together; the least recently used model is evicted for another
            one. None for ``THOTH_MODELS_MEMORY``, by default 0.6 of the memory of the container or machine.
        gather: Join small calls that arrive while another one runs into one batch.
        async_threads: Maximum number of concurrent calls of ``aencode``; others wait for their turn.
        common_models: Models that ``preload_common_models`` loads; None for every model of the bundle.

    Raises:
        InvalidInputError: A value is not valid; the message names it.
    """

    root: str | os.PathLike[str] | None = None
    variants: Sequence[str] | None = None
    same_space: bool = False
    expect_spaces: Mapping[str, str] = field(default_factory=dict)
    expect_digest: str | None = None
    min_release: int | None = None
    timeout: float = 60.0
    memory_budget: int | None = None
    gather: bool = True
    async_threads: int = 64
    common_models: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Validate the values, and copy those that are mutable."""
        if self.root is not None and not isinstance(self.root, (str, os.PathLike)):
            raise InvalidInputError(f"root: expected a path as str or PathLike, found {type(self.root).__name__}")
        if self.root is not None:
            # Absolute, so that it means the same after a chdir, and in a process that the settings are sent to. As a
            # str, because a Path with the same text is not equal to it, and would get another manager.
            object.__setattr__(self, "root", str(Path(self.root).absolute()))
        if self.expect_digest is not None:
            checked_digest(self.expect_digest)
        if self.min_release is not None:
            checked_release(self.min_release)
        checked_seconds(self.timeout)
        for name in ("variants", "common_models"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        if not isinstance(self.expect_spaces, Mapping):
            raise InvalidInputError(
                f"expect_spaces: expected a space by name of a model, found {type(self.expect_spaces).__name__}"
            )
        object.__setattr__(self, "expect_spaces", MappingProxyType(dict(self.expect_spaces)))
        for name, highest in (("memory_budget", None), ("async_threads", _MAX_THREADS)):
            value = getattr(self, name)
            if value is None and name == "memory_budget":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (highest and value > highest):
                bound = f"an integer from 1 to {highest}" if highest else "an integer of at least 1"
                raise InvalidInputError(f"{name}: expected {bound}, found {value!r}")

    def __repr__(self) -> str:
        """Return the settings that differ from the defaults, as source code."""
        given = [f"{name}={value!r}" for name, value in self.changed().items()]
        return f"ManagerConfig({', '.join(given)})"

    def changed(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults, as plain values: those of JSON, tuples and paths."""
        found: dict[str, Any] = {}
        for setting in fields(self):
            default = setting.default if setting.default_factory is MISSING else setting.default_factory()
            value = getattr(self, setting.name)
            if value != default:
                found[setting.name] = dict(value) if isinstance(value, Mapping) else value
        return found

    def __hash__(self) -> int:
        """Return a hash of all settings."""
        values = (getattr(self, setting.name) for setting in fields(self) if setting.name != "expect_spaces")
        return hash((*values, tuple(sorted(self.expect_spaces.items()))))

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickling and copying, because settings are passed to other processes."""
        return {**vars(self), "expect_spaces": dict(self.expect_spaces)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore pickled state."""
        for name, value in state.items():
            object.__setattr__(self, name, MappingProxyType(value) if name == "expect_spaces" else value)

    def place(self) -> BundlePlace:
        """Return the bundle of a manager that is made now."""
        return bundle_place(self.root, self.expect_digest, self.min_release)

    def budget(self) -> int | None:
        """Return the present memory budget in bytes; None for no limit."""
        return memory_budget() if self.memory_budget is None else self.memory_budget


def _names(name: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise InvalidInputError(f"{name}: expected a sequence of names or None, found {value!r}")
    if wrong := [item for item in value if not isinstance(item, str)]:
        raise InvalidInputError(f"{name}: expected names, found {wrong[0]!r}")
    return tuple(value)
