"""Where a process runs, read from trees laid out as engines and orchestrators lay them out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from thoth_models import EnvironmentFault
from thoth_models.compat.environment_detector import CacheStrategy, DownloadStrategy, EnvironmentDetector

if TYPE_CHECKING:
    from collections.abc import Callable

ID = "9b98bb265ea4c149d9a786380dd07716d341c3e925f2616040c6cd9ac8c4b75c"
POD = "kubepods-burstable-pod7260904bbd08e72e4dff95d9fccd2ee8.slice"
HOST_MOUNTS = (
    "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw",
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate",
)
CONTAINER_ROOT = (
    "473 387 0:143 / / rw,relatime master:181 - overlay overlay rw,lowerdir=/layers/1:/layers/2,upperdir=/u"
)


def machine(
    root: Path, *, group: str = "0::/user.slice/user-1000.slice", mounts: tuple[str, ...] = HOST_MOUNTS
) -> Path:
    """Lay out a computer; what is not said is as on a host."""
    for path, content in {"proc/self/cgroup": group, "proc/self/mountinfo": "\n".join(mounts)}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content + "\n", encoding="utf-8")
    return root


def touch(root: Path, path: str) -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()
    return root


# --- what is no container ---


def test_a_host(tmp_path: Path) -> None:
    root = machine(tmp_path)
    assert EnvironmentDetector.is_docker(root, {}) is False
    assert EnvironmentDetector.reasons(root, {}) == ("no marker file, control group, mount or variable of a container",)


def test_a_system_without_anything_to_read(tmp_path: Path) -> None:
    """macOS and Windows have no /proc."""
    assert EnvironmentDetector.is_docker(tmp_path, {}) is False


@pytest.mark.parametrize(
    "group",
    [
        "0::/",
        "0::/init.scope",
        "0::/system.slice/docker.service",
        "0::/system.slice/containerd.service",
        f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-{ID}.scope",
        "0::/lxc.monitor.web",
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-docker-desktop-1234.scope",
        "11:cpuset:/\n1:name=systemd:/user.slice\n0::/user.slice",
        "not a control group",
        "",
    ],
)
def test_groups_of_a_host(tmp_path: Path, group: str) -> None:
    assert EnvironmentDetector.reasons(machine(tmp_path, group=group), {})[0].startswith("no marker file")


@pytest.mark.parametrize(
    "mount",
    [
        # What a host mounts for its containers.
        "109 30 0:50 / /var/lib/docker/overlay2/05d0/merged rw - overlay overlay rw,lowerdir=/var/lib/docker/a",
        f"110 30 0:51 / /run/containerd/io.containerd.runtime.v2.task/{ID}/rootfs rw - overlay overlay rw",
        f"111 30 0:52 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw,size=65536k",
        f"112 30 0:53 / /var/lib/kubelet/pods/{ID}/volumes/x rw - tmpfs tmpfs rw",
        # A live system, or a read-only one.
        "22 1 0:20 / / rw - overlay overlay rw,lowerdir=/run/rootfsbase,upperdir=/run/overlayfs",
        "23 22 8:1 /etc/resolv.conf.d/static /etc/resolv.conf rw - ext4 /dev/sda1 rw",
        "too short",
        "",
    ],
)
def test_mounts_of_a_host(tmp_path: Path, mount: str) -> None:
    root = machine(tmp_path, mounts=(*HOST_MOUNTS, mount))
    assert EnvironmentDetector.reasons(root, {})[0].startswith("no marker file")


@pytest.mark.parametrize(
    "environ",
    [
        {"DOCKER_CONTAINER": "false"},
        {"DOCKER_CONTAINER": ""},
        {"DOCKER_ENV": "0"},
        {"DOCKER_ENV": " "},
        {"KUBERNETES_SERVICE_HOST": ""},
        {"container": "box"},
        {"DOCKER_HOST": "unix:///var/run/docker.sock"},
    ],
)
def test_variables_that_say_nothing_of_a_container(tmp_path: Path, environ: dict[str, str]) -> None:
    assert EnvironmentDetector.is_docker(machine(tmp_path), environ) is False


# --- what is one ---


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".dockerenv", "/.dockerenv, which docker makes"),
        ("run/.containerenv", "/run/.containerenv, which podman makes"),
        (
            "var/run/secrets/kubernetes.io/serviceaccount/token",
            "/var/run/secrets/kubernetes.io/serviceaccount, which Kubernetes mounts",
        ),
    ],
)
def test_marker_files(tmp_path: Path, path: str, reason: str) -> None:
    root = touch(machine(tmp_path), path)
    assert EnvironmentDetector.is_docker(root, {}) is True
    assert EnvironmentDetector.reasons(root, {}) == (reason,)


@pytest.mark.parametrize(
    "group",
    [
        f"/docker/{ID}",
        f"/system.slice/docker-{ID}.scope",
        "/docker/buildkit/t4967jvf8rbufklrhkicskyes",
        f"/kubepods/burstable/pod4a163a05-439d-484b-8e53-2968bc15824f/{ID}",
        f"/kubepods.slice/kubepods-burstable.slice/{POD}/cri-containerd-{ID}.scope",
        f"/kubepods.slice/kubepods-burstable.slice/{POD}/crio-{ID}.scope",
        f"/kubelet.slice/kubelet-kubepods.slice/kubelet-{POD}/cri-containerd-{ID}.scope",
        f"/system.slice/containerd.service/{POD}:cri-containerd:{ID}",
        f"/ecs/0123456789abcdef0123456789abcdef/{ID}",
        "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-1234567890",
        f"/machine.slice/libpod-{ID}.scope/container",
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
        f"/libpod_parent/libpod-{ID}",
        f"/actions_job/{ID}",
        "/lxc/web",
        "/lxc.payload.web/system.slice",
    ],
)
@pytest.mark.parametrize(
    "line", ["0::{}", "3:cpu,cpuacct:{}\n1:name=systemd:/\n0::/system.slice/containerd.service"], ids=["v2", "v1"]
)
def test_control_groups(tmp_path: Path, line: str, group: str) -> None:
    root = machine(tmp_path, group=line.format(group))
    assert EnvironmentDetector.reasons(root, {}) == (f"the control group {group}",)


@pytest.mark.parametrize(
    ("mount", "reason"),
    [
        (
            f"506 496 254:1 /docker/containers/{ID}/hosts /etc/hosts rw,relatime - ext4 /dev/vda1 rw",
            f"/etc/hosts, mounted from /docker/containers/{ID}/hosts",
        ),
        (
            f"506 496 8:9 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda9 rw",
            f"/etc/resolv.conf, mounted from /var/lib/docker/containers/{ID}/resolv.conf",
        ),
        (
            f"9 8 0:23 /containers/storage/overlay-containers/{ID}/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw",
            f"/etc/hostname, mounted from /containers/storage/overlay-containers/{ID}/userdata/hostname",
        ),
        (
            f"9 8 259:1 /run/io.containerd.grpc.v1.cri/sandboxes/{ID}/hostname /etc/hostname rw - xfs /dev/n rw",
            f"/etc/hostname, mounted from /run/io.containerd.grpc.v1.cri/sandboxes/{ID}/hostname",
        ),
        (
            "9 8 8:9 /var/lib/kubelet/pods/ee9951df-fb87/etc-hosts /etc/hosts rw - ext4 /dev/sda9 rw",
            "/etc/hosts, mounted from /var/lib/kubelet/pods/ee9951df-fb87/etc-hosts",
        ),
        (
            "473 387 0:143 / / rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/HO:/b",
            "/, an overlay of layers in …/docker/…",
        ),
        (
            "473 387 0:143 / / rw,relatime - overlay overlay rw,lowerdir=/data/engine/overlay2/l/HO",
            "/, an overlay of layers in …/overlay2/l/…",
        ),
        (
            "1320 1357 0:377 / / rw - overlay overlay rw,lowerdir=/k3s/io.containerd.snapshotter.v1.overlayfs/1/fs",
            "/, an overlay of layers in …/io.containerd.…",
        ),
        (
            "1 2 0:3 / / rw - overlay overlay rw,lowerdir=/home/me/.local/share/containers/storage/overlay/l/X",
            "/, an overlay of layers in …/containers/storage/…",
        ),
        (
            f"741 740 0:29 /docker/{ID} /sys/fs/cgroup/systemd ro master:11 - cgroup cgroup rw,name=systemd",
            f"/sys/fs/cgroup/systemd, mounted from the control group /docker/{ID}",
        ),
    ],
)
def test_mounts_where_the_group_is_hidden(tmp_path: Path, mount: str, reason: str) -> None:
    """Docker gives containers on cgroup v2 a namespace of their own, which shows their group as ``/``."""
    root = machine(tmp_path, group="0::/", mounts=(CONTAINER_ROOT, mount))
    assert EnvironmentDetector.reasons(root, {}) == (reason,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOCKER_CONTAINER", "true"),
        ("DOCKER_CONTAINER", "1"),
        ("DOCKER_ENV", "development"),
        ("DOCKER_ENV", "1"),
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        ("container", "podman"),
        ("container", "oci"),
    ],
)
def test_variables(tmp_path: Path, name: str, value: str) -> None:
    root = machine(tmp_path)
    assert EnvironmentDetector.is_docker(root, {name: value}) is True
    assert EnvironmentDetector.reasons(root, {name: value}) == (f"{name}={value}",)


def test_all_reasons_are_given_the_strongest_first(tmp_path: Path) -> None:
    root = touch(machine(tmp_path, group=f"0::/docker/{ID}"), ".dockerenv")
    assert EnvironmentDetector.reasons(root, {"DOCKER_ENV": "development", "KUBERNETES_SERVICE_HOST": "::1"}) == (
        "/.dockerenv, which docker makes",
        "KUBERNETES_SERVICE_HOST=::1",
        f"the control group /docker/{ID}",
        "DOCKER_ENV=development",
    )


# --- the override ---


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("ON", True), ("1", True), ("false", False), ("No", False)]
)
def test_the_override_wins_both_ways(tmp_path: Path, value: str, *, expected: bool) -> None:
    environ = {"THOTH_MODELS_CONTAINER": value}
    host = machine(tmp_path / "host")
    container = touch(machine(tmp_path / "container"), ".dockerenv")
    for root in (host, container):
        assert EnvironmentDetector.is_docker(root, environ) is expected
        assert EnvironmentDetector.reasons(root, environ) == (f"THOTH_MODELS_CONTAINER={value}",)


def test_an_override_that_is_empty_says_nothing(tmp_path: Path) -> None:
    root = touch(machine(tmp_path), ".dockerenv")
    assert EnvironmentDetector.is_docker(root, {"THOTH_MODELS_CONTAINER": " "}) is True


@pytest.mark.parametrize(
    "ask",
    [
        EnvironmentDetector.is_docker,
        EnvironmentDetector.reasons,
        EnvironmentDetector.get_cache_strategy,
        EnvironmentDetector.get_download_strategy,
        EnvironmentDetector.describe,
    ],
)
def test_an_override_that_cannot_be_read_is_refused(tmp_path: Path, ask: Callable[..., object]) -> None:
    with pytest.raises(EnvironmentFault, match="THOTH_MODELS_CONTAINER: expected true or false, found 'perhaps'"):
        ask(tmp_path, {"THOTH_MODELS_CONTAINER": "perhaps"})


# --- what follows ---


def test_a_container_reads_the_bundle_and_downloads_nothing(tmp_path: Path) -> None:
    root = touch(tmp_path, ".dockerenv")
    assert EnvironmentDetector.get_cache_strategy(root, {}) is CacheStrategy.READ_ONLY_BUNDLE
    download = EnvironmentDetector.get_download_strategy(root, {})
    assert download is DownloadStrategy.NEVER
    assert not download.allows_download
    assert "build the image" in download.hint


def test_a_machine_reads_the_same_directory_and_is_told_how_to_build_it(tmp_path: Path) -> None:
    assert EnvironmentDetector.get_cache_strategy(tmp_path, {}) is CacheStrategy.LOCAL_BUNDLE
    download = EnvironmentDetector.get_download_strategy(tmp_path, {})
    assert download is DownloadStrategy.BUILD_BUNDLE
    assert not download.allows_download
    assert "thoth-bundle build --output DIR" in download.hint
    assert "THOTH_MODELS_DIR=DIR" in download.hint


def test_strategies_compare_and_print_as_strings() -> None:
    cache: str = CacheStrategy.READ_ONLY_BUNDLE
    assert cache == "read-only-bundle"
    assert f"{DownloadStrategy.NEVER}" == "never"


def test_everything_in_one(tmp_path: Path) -> None:
    root = touch(machine(tmp_path, group="0::/", mounts=HOST_MOUNTS), ".dockerenv")
    for name, content in {"cpu.max": "150000 100000", "memory.max": str(2**30)}.items():
        (root / "sys/fs/cgroup").mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup" / name).write_text(content + "\n", encoding="utf-8")
    assert dataclasses.asdict(EnvironmentDetector.describe(root, {"THOTH_MODELS_DIR": "/srv/bundle"})) == {
        "is_container": True,
        "reasons": ("/.dockerenv, which docker makes",),
        "cpu_quota": 1.5,
        "memory_limit": 2**30,
        "bundle": Path("/srv/bundle"),
        "cache": "read-only-bundle",
        "download": "never",
    }
    assert EnvironmentDetector.cpu_quota(root) == 1.5
    assert EnvironmentDetector.memory_limit(root) == 2**30
    assert EnvironmentDetector.describe(root, {}).bundle == Path("/models")


def test_this_process_is_asked_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("true", True), ("false", False)):
        monkeypatch.setenv("THOTH_MODELS_CONTAINER", value)
        assert EnvironmentDetector.is_docker() is EnvironmentDetector().is_docker() is expected


def test_what_cannot_be_read_is_no_evidence(tmp_path: Path) -> None:
    (tmp_path / "proc/self/cgroup").mkdir(parents=True)
    assert EnvironmentDetector.is_docker(tmp_path, {}) is False
    assert EnvironmentDetector.is_docker(Path("/nowhere\0"), {}) is False
