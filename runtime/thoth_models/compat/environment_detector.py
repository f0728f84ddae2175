"""Where this process runs: in a container or not, why that is believed, and what follows for models.

Nothing is decided by it that could lose data: models come from the bundle directory in a container and outside of one,
and nothing is downloaded in either. It says which advice fits, and tells whoever reads a log what was found.

Like :mod:`thoth_models.cgroups`, everything takes the root of the file system, and the environment, so that tests can
lay one out; and nothing raises for what it finds there, but for an override that cannot be read.

What counts as evidence, and what does not: a marker file that the engine makes; a control group, or a mount that
engines make in every container, with the id of the container in its path; what Kubernetes sets; and what people set.
That the process belongs to the group ``/``, or has an overlay as its root, is no evidence: so it is on some hosts. And
the word ``docker`` in a path is none either: the engine's own processes on the host belong to ``docker.service``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from thoth_models import cgroups
from thoth_models.cgroups import ROOT
from thoth_models.errors import EnvironmentFault
from thoth_models.loading import DEFAULT_ROOT, ROOT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OVERRIDE_VARIABLE: Final = "THOTH_MODELS_CONTAINER"
"""Says whether this is a container, whatever there is to be seen: ``true`` or ``false``."""

_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off")

_MARKERS = {".dockerenv": "docker", "run/.containerenv": "podman"}
_SERVICE_ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"
_SERVICE_HOST = "KUBERNETES_SERVICE_HOST"

_FLAGS = ("DOCKER_CONTAINER", "DOCKER_ENV")
"""What ThothAI's compose files set, the one to ``true`` and the other to ``development``."""

_MANAGER_VARIABLE = "container"
_MANAGERS = ("docker", "podman", "oci", "lxc", "lxc-libvirt", "systemd-nspawn", "rkt", "crio", "containerd")
"""What container managers set ``container`` to (https://systemd.io/CONTAINER_INTERFACE). Other values mean nothing: it
is a common word."""

_ID = "[0-9a-f]{32,64}"
_GROUP = re.compile(
    rf"[/.:-]kubepods([/.:-]|$)|[/:](docker|ecs|libpod_parent|actions_job)(/[^/]+)*[/:](libpod-)?{_ID}"
    rf"|/(docker|libpod|cri-containerd|crio|nerdctl)-{_ID}|:(docker|cri-containerd):{_ID}"
    r"|/buildkit/[0-9a-z]{25}|/lxc(\.payload[./]|/)[^/]+"
)
"""A control group that an engine made for a container, on cgroup v1 or v2, named by systemd or by the engine. Those of
its helpers on the host (``libpod-conmon-…``, ``docker.service``, ``lxc.monitor.…``) do not match."""

_FILES_OF_ENGINE = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_FILE_SOURCE = re.compile(
    rf"[/-]containers/{_ID}/|/sandboxes/{_ID}/|/kubelet/pods/|/buildkit/|/nerdctl/"  # containerd's CRI has sandboxes
)
"""Where engines keep what they mount over :data:`_FILES_OF_ENGINE`: in a directory of the container, pod or build."""

_ROOT_LAYERS = re.compile(
    r"dir=[^ ]*?(/docker/|/overlay2/l/|/containerd/|/io\.containerd\.|/containers/storage/|/buildkit/)"
)
"""In the options of an overlay: its layers lie where an engine keeps those of images."""

_LONGEST = 16 * 1024 * 1024


class CacheStrategy(StrEnum):
    """Where models are read from. They are never written, nor is anything else."""

    READ_ONLY_BUNDLE = "read-only-bundle"
    """A container: the bundle that the image carries, or a volume mounts."""

    LOCAL_BUNDLE = "local-bundle"
    """A machine: the bundle directory that its user built, which is read as strictly."""


class DownloadStrategy(StrEnum):
    """What is done about a model that is not there: nothing is ever downloaded when a service runs."""

    NEVER = "never"
    """A container: the image has to be built with the model."""

    BUILD_BUNDLE = "build-bundle"
    """A machine: nothing either; its user can build the bundle."""

    @property
    def allows_download(self) -> bool:
        """False: nothing is downloaded at run time, anywhere."""
        return False

    @property
    def hint(self) -> str:
        """What to do about a model that is not there."""
        if self is DownloadStrategy.NEVER:
            return f"build the image with a bundle that has the model, or mount one at the directory in {ROOT_VARIABLE}"
        return f"run `thoth-bundle build --output DIR` once, and set {ROOT_VARIABLE}=DIR"


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What was found out about where this process runs.

    Attributes:
        is_container: Whether it is a container.
        reasons: Each piece of evidence, the strongest first; where it is none, what was looked for in vain.
        cpu_quota: CPU seconds per second that the container may use; None for no quota.
        memory_limit: Bytes of memory that the container may use; None for no limit.
        bundle: The bundle directory.
        cache: Where models are read from.
        download: What is done about a model that is not there.
    """

    is_container: bool
    reasons: tuple[str, ...]
    cpu_quota: float | None
    memory_limit: int | None
    bundle: Path
    cache: CacheStrategy
    download: DownloadStrategy


class EnvironmentDetector:
    """What there is to know of the surroundings of a process; everything is read when it is asked for.

    Each function may be called on the class or on an instance. ``root`` is the root of the file system and ``environ``
    the environment; None for that of this process.
    """

    @staticmethod
    def is_docker(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> bool:
        """Return whether this is a container: Docker's, or that of any other engine or orchestrator.

        Raises:
            EnvironmentFault: ``THOTH_MODELS_CONTAINER`` is neither true nor false.
        """
        return _detect(root, _environment(environ))[0]

    @staticmethod
    def reasons(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Return why :meth:`is_docker` says what it says, the strongest reason first.

        Raises:
            EnvironmentFault: ``THOTH_MODELS_CONTAINER`` is neither true nor false.
        """
        return _detect(root, _environment(environ))[1]

    @staticmethod
    def cpu_quota(root: Path = ROOT) -> float | None:
        """Return how many CPU seconds per second the container may use, such as 1.5; None for no quota."""
        return cgroups.cpu_quota(root)

    @staticmethod
    def memory_limit(root: Path = ROOT) -> int | None:
        """Return how many bytes of memory the container may use; None for no limit."""
        return cgroups.memory_limit(root)

    @staticmethod
    def get_cache_strategy(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> CacheStrategy:
        """Return where models are read from.

        Raises:
            EnvironmentFault: ``THOTH_MODELS_CONTAINER`` is neither true nor false.
        """
        return _cache(is_container=_detect(root, _environment(environ))[0])

    @staticmethod
    def get_download_strategy(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> DownloadStrategy:
        """Return what is done about a model that is not there; its ``hint`` says what to do.

        Raises:
            EnvironmentFault: ``THOTH_MODELS_CONTAINER`` is neither true nor false.
        """
        return _download(is_container=_detect(root, _environment(environ))[0])

    @staticmethod
    def describe(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> Surroundings:
        """Return all of it.

        Raises:
            EnvironmentFault: ``THOTH_MODELS_CONTAINER`` is neither true nor false.
        """
        variables = _environment(environ)
        is_container, reasons = _detect(root, variables)
        return Surroundings(
            is_container=is_container,
            reasons=reasons,
            cpu_quota=cgroups.cpu_quota(root),
            memory_limit=cgroups.memory_limit(root),
            bundle=Path(variables.get(ROOT_VARIABLE) or DEFAULT_ROOT),
            cache=_cache(is_container=is_container),
            download=_download(is_container=is_container),
        )


def _cache(*, is_container: bool) -> CacheStrategy:
    return CacheStrategy.READ_ONLY_BUNDLE if is_container else CacheStrategy.LOCAL_BUNDLE


def _download(*, is_container: bool) -> DownloadStrategy:
    return DownloadStrategy.NEVER if is_container else DownloadStrategy.BUILD_BUNDLE


def _environment(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    return os.environ if environ is None else environ


def _detect(root: Path, environ: Mapping[str, str]) -> tuple[bool, tuple[str, ...]]:
    stated = environ.get(OVERRIDE_VARIABLE, "").strip()
    if stated:
        if stated.lower() not in (*_YES, *_NO):
            raise EnvironmentFault(f"{OVERRIDE_VARIABLE}: expected true or false, found {stated!r}")
        return stated.lower() in _YES, (f"{OVERRIDE_VARIABLE}={stated}",)
    found = tuple(_evidence(root, environ))
    if found:
        return True, found
    return False, ("no marker file, control group, mount or variable of a container",)


def _evidence(root: Path, environ: Mapping[str, str]) -> Iterator[str]:
    for path, engine in _MARKERS.items():
        if _exists(root / path):
            yield f"/{path}, which {engine} makes"
    yield from _kubernetes(root, environ)
    manager = environ.get(_MANAGER_VARIABLE, "")
    if manager in _MANAGERS:
        yield f"{_MANAGER_VARIABLE}={manager}"
    if group := next(_groups(_read(root / "proc/self/cgroup")), None):
        yield f"the control group {group}"
    if mount := next(_mounts(_read(root / "proc/self/mountinfo")), None):
        yield mount
    for name in _FLAGS:
        value = environ.get(name, "").strip()
        if value and value.lower() not in _NO:
            yield f"{name}={value}"


def _kubernetes(root: Path, environ: Mapping[str, str]) -> Iterator[str]:
    if host := environ.get(_SERVICE_HOST, "").strip():
        yield f"{_SERVICE_HOST}={host}"
    if _exists(root / _SERVICE_ACCOUNT):
        yield f"/{_SERVICE_ACCOUNT}, which Kubernetes mounts"


def _groups(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        group = line.split(":", 2)[-1]
        if line.count(":") > 1 and _GROUP.search(group):
            yield group


def _mounts(text: str) -> Iterator[str]:
    """Yield the mounts that give a container away: its own, since a host sees what it mounts for others."""
    for line in text.split("\n"):
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if not separator or len(fields) < 6:  # noqa: PLR2004 - see proc(5)
            continue
        source, point, kind = fields[3], fields[4], right.partition(" ")[0]
        if point in _FILES_OF_ENGINE and _FILE_SOURCE.search(source):
            yield f"{point}, mounted from {source}"
        elif point == "/" and kind == "overlay" and (layers := _ROOT_LAYERS.search(right)):
            yield f"/, an overlay of layers in …{layers[1]}…"
        elif kind in ("cgroup", "cgroup2") and _GROUP.search(source):
            yield f"{point}, mounted from the control group {source}"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # ValueError: a name with a null character
        return False


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            return file.read(_LONGEST)
    except (OSError, ValueError):
        return ""
