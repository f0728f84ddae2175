"""Detect whether this process runs in a container, with the evidence, and the advice that follows for models.

Only the advice depends on the result: models always come from the bundle directory, and are never downloaded.

Evidence is a marker file of the engine; a control group or mount that engines create in each container, named after its
id; variables of Kubernetes; and variables that users set. Neither the group ``/`` nor an overlay as root is evidence,
because some hosts have them; nor is the word ``docker`` in a path, because the engine itself belongs to
``docker.service``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from thoth_models.errors import EnvironmentFault
from thoth_models.process import cgroups
from thoth_models.process.cgroups import ROOT
from thoth_models.process.environment import DEFAULT_ROOT, ROOT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OVERRIDE_VARIABLE: Final = "THOTH_MODELS_CONTAINER"
"""Overrides the detection: ``true`` or ``false``."""

_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off")

_MARKERS = {
    ".dockerenv": "docker makes",
    "run/.containerenv": "podman makes",
    "var/run/secrets/kubernetes.io/serviceaccount": "Kubernetes mounts",
}
_FLAGS = ("DOCKER_CONTAINER", "DOCKER_ENV")
"""ThothAI's compose files set the first to ``true`` and the second to ``development``."""

_MANAGERS = ("docker", "podman", "oci", "lxc", "lxc-libvirt", "systemd-nspawn", "rkt", "crio", "containerd")
"""Values of the variable ``container`` (https://systemd.io/CONTAINER_INTERFACE). Others are ignored, because the name
is a common word."""

_ID = "[0-9a-f]{32,64}"
_GROUP = re.compile(
    rf"[/.:-]kubepods([/.:-]|$)|[/:](docker|ecs|libpod_parent|actions_job)(/[^/]+)*[/:](libpod-)?{_ID}"
    rf"|/(docker|libpod|cri-containerd|crio|nerdctl)-{_ID}|:(docker|cri-containerd):{_ID}"
    r"|/buildkit/[0-9a-z]{25}|/lxc(\.payload[./]|/)[^/]+"
)
"""A control group of a container. Those of helpers (``libpod-conmon-…``, ``lxc.monitor.…``) do not match."""

_ENGINE_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_ENGINE_FILE_SOURCE = re.compile(rf"[/-]containers/{_ID}/|/sandboxes/{_ID}/|/kubelet/pods/|/buildkit/|/nerdctl/")
"""The source of engines' mounts over :data:`_ENGINE_FILES`: a directory of the container, pod or build."""

_ROOT_LAYERS = re.compile(
    r"dir=[^ ]*?(/docker/|/overlay2/l/|/containerd/|/io\.containerd\.|/containers/storage/|/buildkit/)"
)
"""An overlay whose layers are in a directory where an engine stores image layers."""


class CacheStrategy(StrEnum):
    """Where models are read from; they are never written."""

    READ_ONLY_BUNDLE = "read-only-bundle"
    LOCAL_BUNDLE = "local-bundle"


class DownloadStrategy(StrEnum):
    """What to do about a missing model; a running service never downloads."""

    NEVER = "never"
    BUILD_BUNDLE = "build-bundle"

    @property
    def allows_download(self) -> bool:
        """False: nothing is downloaded at run time."""
        return False

    @property
    def hint(self) -> str:
        """What to do about a missing model."""
        if self is DownloadStrategy.NEVER:
            return f"build the image with a bundle that has the model, or mount one at the directory in {ROOT_VARIABLE}"
        return f"run `thoth-bundle build --output DIR` once, and set {ROOT_VARIABLE}=DIR"


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """The results of :class:`EnvironmentDetector`; each field has the result of the corresponding method."""

    is_container: bool
    reasons: tuple[str, ...]
    cpu_quota: float | None
    memory_limit: int | None
    bundle: Path
    cache: CacheStrategy
    download: DownloadStrategy


class EnvironmentDetector:
    """Detects where this process runs. Nothing is cached; all methods are static.

    ``root`` is the root of the file system, ``environ`` the environment; None for that of this process. A file that
    cannot be read is not evidence. All methods except the two limits raise :class:`EnvironmentFault` if
    ``THOTH_MODELS_CONTAINER`` is neither true nor false.
    """

    cpu_quota = staticmethod(cgroups.cpu_quota)
    memory_limit = staticmethod(cgroups.memory_limit)

    @staticmethod
    def is_docker(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> bool:
        """Return whether this is a container of any engine or orchestrator."""
        return EnvironmentDetector.describe(root, environ).is_container

    @staticmethod
    def reasons(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Return the evidence, the strongest first."""
        return EnvironmentDetector.describe(root, environ).reasons

    @staticmethod
    def get_cache_strategy(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> CacheStrategy:
        """Return where models are read from."""
        return EnvironmentDetector.describe(root, environ).cache

    @staticmethod
    def get_download_strategy(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> DownloadStrategy:
        """Return what to do about a missing model; its ``hint`` says it in words."""
        return EnvironmentDetector.describe(root, environ).download

    @staticmethod
    def describe(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> Surroundings:
        """Return all results."""
        variables = os.environ if environ is None else environ
        stated = variables.get(OVERRIDE_VARIABLE, "").strip()
        if stated and stated.lower() not in (*_YES, *_NO):
            raise EnvironmentFault(f"{OVERRIDE_VARIABLE}: expected true or false, found {stated!r}")
        found = (f"{OVERRIDE_VARIABLE}={stated}",) if stated else tuple(_evidence(root, variables))
        is_container = stated.lower() in _YES if stated else bool(found)
        return Surroundings(
            is_container=is_container,
            reasons=found or ("no marker file, control group, mount or variable of a container",),
            cpu_quota=cgroups.cpu_quota(root),
            memory_limit=cgroups.memory_limit(root),
            bundle=Path(variables.get(ROOT_VARIABLE) or DEFAULT_ROOT),
            cache=CacheStrategy.READ_ONLY_BUNDLE if is_container else CacheStrategy.LOCAL_BUNDLE,
            download=DownloadStrategy.NEVER if is_container else DownloadStrategy.BUILD_BUNDLE,
        )


def _evidence(root: Path, environ: Mapping[str, str]) -> Iterator[str]:
    for path, maker in _MARKERS.items():
        if _exists(root / path):
            yield f"/{path}, which {maker}"
    if host := environ.get("KUBERNETES_SERVICE_HOST", "").strip():
        yield f"KUBERNETES_SERVICE_HOST={host}"
    if environ.get("container", "") in _MANAGERS:
        yield f"container={environ['container']}"
    groups = (line.split(":", 2)[2] for line in _lines(root / "proc/self/cgroup") if line.count(":") > 1)
    if group := next(filter(_GROUP.search, groups), None):
        yield f"the control group {group}"
    if mount := next(filter(None, map(_mount, _lines(root / "proc/self/mountinfo"))), None):
        yield mount
    for name in _FLAGS:
        value = environ.get(name, "").strip()
        if value and value.lower() not in _NO:
            yield f"{name}={value}"


def _mount(line: str) -> str | None:
    """Return what a line of mountinfo says of this container; a host sees what it mounts for others."""
    left, separator, right = line.partition(" - ")
    fields = left.split(" ")
    if not separator or len(fields) < 6:  # noqa: PLR2004 - see proc(5)
        return None
    source, point, kind = fields[3], fields[4], right.partition(" ")[0]
    if point in _ENGINE_FILES and _ENGINE_FILE_SOURCE.search(source):
        return f"{point}, mounted from {source}"
    if point == "/" and kind == "overlay" and (layers := _ROOT_LAYERS.search(right)):
        return f"/, an overlay of layers in …{layers[1]}…"
    if kind in ("cgroup", "cgroup2") and _GROUP.search(source):
        return f"{point}, mounted from the control group {source}"
    return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # ValueError: a name with a null character
        return False


def _lines(path: Path) -> list[str]:
    return cgroups.read(path).split("\n")
