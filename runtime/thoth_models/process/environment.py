"""Settings from environment variables, and the resources of the machine: bundle directory, threads, memory."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from thoth_models.errors import EnvironmentFault, InvalidInputError
from thoth_models.info import MAX_RELEASE
from thoth_models.process.cgroups import ROOT, cpu_quota, memory_limit

ROOT_VARIABLE = "THOTH_MODELS_DIR"
DEFAULT_ROOT = "/models"
"""The bundle directory in images; Kubernetes image volumes and KServe expect it there too."""

DIGEST_VARIABLE = "THOTH_MODELS_DIGEST"
"""The bundle digest that is expected at the bundle directory; images set it to that of the bundle they were made of."""

MIN_RELEASE_VARIABLE = "THOTH_MODELS_MIN_RELEASE"
"""The lowest release of a bundle that is accepted at the bundle directory."""

TRUST_VARIABLE = "THOTH_TRUST"
"""A file or directory outside of the bundle, with the public keys and certificates that may have signed it."""

TRUST_POLICY_VARIABLE = "THOTH_TRUST_POLICY"
"""What to do with a bundle that none of them signed: ``require`` a signature (the default), ``warn``, or ``off``."""

SIGNATURE_VARIABLE = "THOTH_MODELS_SIGNATURE"
"""The signature of the bundle; by default it lies beside the bundle directory."""

THREADS_VARIABLE = "THOTH_MODELS_THREADS"
"""Number of threads that a model computes with; by default the number of usable cores."""

MEMORY_VARIABLE = "THOTH_MODELS_MEMORY"
"""Memory budget of the loaded models: bytes, or a number with k, m or g as for container engines and Kubernetes."""

_SHARE = 0.6
"""Share of the memory for models. The rest is for the interpreter, for the batch in progress, and for the service."""

_POLICIES: Final[dict[str, Literal["require", "warn"]]] = {"require": "require", "warn": "warn"}
_RELEASE_FORM = f"a release from 1 to {MAX_RELEASE}"
_DIGEST_FORM = "a bundle digest of 64 lower-case hexadecimal digits"
_MAX_THREADS = 1024  # a larger value is a typing error, not a machine
_NUMBER = re.compile(r"[0-9]{1,9}")
_RELEASE = re.compile(r"[0-9]{1,16}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15})(?:([kmg])i?)?b?", re.IGNORECASE)


def bundle_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the bundle directory to use: ``root`` if given, else ``THOTH_MODELS_DIR``, else ``/models``.

    Raises:
        InvalidInputError: ``root`` is not a path.
    """
    chosen: object = root if root is not None else os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT
    if not isinstance(chosen, (str, os.PathLike)):
        raise InvalidInputError(f"root: expected a path as str or PathLike, found {type(chosen).__name__}")
    return Path(chosen)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """Who must have signed the bundle.

    Attributes:
        path: A file or directory with public keys, certificates, or identities and their trust root.
        policy: ``require`` refuses a bundle that none of them signed; ``warn`` logs that, and uses it.
        signature: The signature; None for the file beside the bundle.
    """

    path: Path
    policy: Literal["require", "warn"] = "require"
    signature: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BundlePlace:
    """Where the bundle is, which bundle it has to be, how old it may be, and who must have signed it.

    Attributes:
        path: Absolute path of the bundle directory.
        expect_digest: The bundle digest as 64 hexadecimal digits; None accepts any bundle.
        min_release: The lowest release that is accepted; None accepts any, and a bundle that states none.
        trust: Who must have signed it; None does not look at signatures.
    """

    path: Path
    expect_digest: str | None
    min_release: int | None
    trust: Trust | None


def bundle_place(
    root: str | os.PathLike[str] | None = None, expect_digest: str | None = None, min_release: int | None = None
) -> BundlePlace:
    """Return the bundle to use.

    Args:
        root: As for :func:`bundle_root`. Made absolute, because the working directory may change.
        expect_digest: The bundle digest; None for ``THOTH_MODELS_DIGEST``. If that is not set or empty either, any
            bundle is accepted. Who must have signed it, only variables say: see :func:`stated_trust`.
        min_release: The lowest release that is accepted; None for ``THOTH_MODELS_MIN_RELEASE``. If that is not set or
            empty either, any is accepted.

    Raises:
        InvalidInputError: ``root`` is not a path, ``expect_digest`` not a sha256, or ``min_release`` not a release.
        EnvironmentFault: The value of a variable is not a sha256, not a release, or not a trust setting.
    """
    return BundlePlace(
        path=bundle_root(root).absolute(),
        expect_digest=_stated_digest() if expect_digest is None else checked_digest(expect_digest),
        min_release=_stated_release() if min_release is None else checked_release(min_release),
        trust=stated_trust(),
    )


def _stated_digest() -> str | None:
    stated = os.environ.get(DIGEST_VARIABLE, "").strip()
    if stated and not _DIGEST.fullmatch(stated):
        raise EnvironmentFault(f"{DIGEST_VARIABLE}: expected {_DIGEST_FORM}, found {stated!r:.80}")
    return stated or None


def _stated_release() -> int | None:
    stated = os.environ.get(MIN_RELEASE_VARIABLE, "").strip()
    if not stated:
        return None
    release = parsed_release(stated)
    if release is None:
        raise EnvironmentFault(f"{MIN_RELEASE_VARIABLE}: expected {_RELEASE_FORM}, found {stated!r:.80}")
    return release


def stated_trust() -> Trust | None:
    """Return who must have signed the bundle by ``THOTH_TRUST`` and ``THOTH_TRUST_POLICY``; None if signatures are off.

    Empty variables count as not set, as with all settings. Paths are made absolute.

    Raises:
        EnvironmentFault: The policy has another value, or needs keys that are not stated.
    """
    place = os.environ.get(TRUST_VARIABLE, "").strip()
    policy = os.environ.get(TRUST_POLICY_VARIABLE, "").strip() or ("require" if place else "off")
    if policy == "off":
        return None
    chosen = _POLICIES.get(policy)
    if chosen is None:
        raise EnvironmentFault(f"{TRUST_POLICY_VARIABLE}: expected require, warn or off, found {policy!r:.80}")
    if not place:
        raise EnvironmentFault(
            f"{TRUST_POLICY_VARIABLE}: expected {TRUST_VARIABLE} beside {policy!r}, found it not set"
        )
    signature = os.environ.get(SIGNATURE_VARIABLE, "").strip()
    return Trust(
        path=Path(place).absolute(), policy=chosen, signature=Path(signature).absolute() if signature else None
    )


def checked_digest(expect_digest: object) -> str:
    """Return a bundle digest that a caller gave.

    Raises:
        InvalidInputError: It is not a str of 64 lower-case hexadecimal digits.
    """
    if not isinstance(expect_digest, str) or not _DIGEST.fullmatch(expect_digest):
        raise InvalidInputError(f"expect_digest: expected {_DIGEST_FORM}, found {expect_digest!r:.80}")
    return expect_digest


def checked_release(min_release: object) -> int:
    """Return a lowest release that a caller gave.

    Raises:
        InvalidInputError: It is not an int from 1 to 9007199254740991.
    """
    # A bool is an int as well, and no release.
    if type(min_release) is not int or not 1 <= min_release <= MAX_RELEASE:
        # Python refuses to write out an integer of thousands of digits.
        is_long = isinstance(min_release, int) and abs(min_release) > MAX_RELEASE
        found = "one with more digits" if is_long else f"{min_release!r:.80}"
        raise InvalidInputError(f"min_release: expected {_RELEASE_FORM}, found {found}")
    return min_release


def parsed_release(text: str) -> int | None:
    """Return the release that a text of digits states; None for any other text."""
    release = int(text) if _RELEASE.fullmatch(text) else 0
    return release if 1 <= release <= MAX_RELEASE else None


def checked_trust(trust: object) -> Trust | None:
    """Return who must have signed a bundle, given a caller's path to keys and certificates; None for no check.

    Raises:
        InvalidInputError: It is neither a path nor a :class:`Trust`.
    """
    if trust is None or isinstance(trust, Trust):
        return trust
    if not isinstance(trust, (str, os.PathLike)):
        raise InvalidInputError(f"trust: expected a path as str or PathLike, found {type(trust).__name__}")
    return Trust(path=Path(trust).absolute())


def available_cores() -> int:
    """Return the number of cores that this process may run on, regardless of its CPU quota."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def usable_cores(root: Path = ROOT) -> int:
    """Return how many cores this process can keep busy, at least 1: its cores, but at most its CPU quota, rounded up.

    With more threads, the quota of a period is used up early, and all threads stop for the rest of the period: calls
    take longer, on a host with many cores many times as long. The quota is read at each call, because an orchestrator
    may change it while the process runs.
    """
    quota = cpu_quota(root)
    cores = available_cores()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def threads(root: Path = ROOT) -> int:
    """Return the number of threads for a model: ``THOTH_MODELS_THREADS`` if set, else :func:`usable_cores`.

    The variable is read at each call; an empty one counts as not set.

    Raises:
        EnvironmentFault: The variable is not an integer from 1 to 1024.
    """
    return stated_threads() or usable_cores(root)


def stated_threads() -> int | None:
    """Return the value of ``THOTH_MODELS_THREADS``, or None if it is not set or empty.

    Raises:
        EnvironmentFault: The variable is not an integer from 1 to 1024.
    """
    text = os.environ.get(THREADS_VARIABLE, "").strip()
    if not text:
        return None
    count = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= count <= _MAX_THREADS:
        raise EnvironmentFault(f"{THREADS_VARIABLE}: expected an integer from 1 to {_MAX_THREADS}, found {text!r}")
    return count


def available_memory(root: Path = ROOT) -> int | None:
    """Return the memory of the container, or of the machine, in bytes."""
    limits = [limit for limit in (memory_limit(root), _physical_memory()) if limit is not None]
    return min(limits, default=None)


def memory_budget(root: Path = ROOT) -> int | None:
    """Return the memory budget of models in bytes: ``THOTH_MODELS_MEMORY`` if set, else 0.6 of the available memory.

    Raises:
        EnvironmentFault: The variable does not have a valid size.
    """
    text = os.environ.get(MEMORY_VARIABLE, "").strip()
    if text:
        match = _SIZE.fullmatch(text)
        if match is None or int(match[1]) == 0:
            raise EnvironmentFault(
                f"{MEMORY_VARIABLE}: expected a number of bytes, or one with k, m or g such as 512m or 512Mi, "
                f"found {text!r}"
            )
        return int(match[1]) << 10 * " kmg".index((match[2] or " ").lower())
    available = available_memory(root)
    return None if available is None else int(available * _SHARE)


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None
