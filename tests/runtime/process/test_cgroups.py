"""What control groups allow, read from trees laid out as engines and orchestrators lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from thoth_models.process.cgroups import cpu_quota, memory_limit

GIGABYTE = 2**30
V2 = "30 25 0:26 {begins_at} {point} ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate"
V1 = "{number} 29 0:{number} {begins_at} {point}/{name} ro,nosuid shared:9 - cgroup cgroup rw,{name}"
NO_MEMORY_LIMIT = "9223372036854771712"
POD = "/kubepods/burstable/pod4b7e/9f1c"


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content + "\n", encoding="utf-8")
    return root


def v2(
    root: Path, files: dict[str, str], *, group: str = "/", begins_at: str = "/", point: str = "/sys/fs/cgroup"
) -> Path:
    """A process in ``group`` of cgroup v2; ``files`` are by path below where it is mounted."""
    mounts = f"22 1 8:1 / / rw - ext4 /dev/sda rw\n{V2.format(begins_at=begins_at, point=point)}"
    return lay_out(
        root,
        {
            "proc/self/cgroup": f"0::{group}",
            "proc/self/mountinfo": mounts,
            **{f"{point.lstrip('/')}/{path}": content for path, content in files.items()},
        },
    )


def v1(root: Path, files: dict[str, str], *, group: str = "/", begins_at: str = "/", joined: bool = True) -> Path:
    """A process in ``group`` of every hierarchy of cgroup v1, with the empty hierarchy of v2 beside them."""
    cpu = "cpu,cpuacct" if joined else "cpu"
    names = [cpu, "memory", "pids"]
    mounts = [
        V1.format(number=number, name=name, begins_at=begins_at, point="/sys/fs/cgroup")
        for number, name in enumerate(names, start=31)
    ]
    mounts.append(V2.format(begins_at="/", point="/sys/fs/cgroup/unified"))
    groups = [f"{number}:{name}:{group}" for number, name in enumerate(names, start=3)]
    return lay_out(
        root,
        {
            "proc/self/cgroup": "\n".join([*reversed(groups), "1:name=systemd:/x", "0::/system.slice/x.service"]),
            "proc/self/mountinfo": "\n".join(mounts),
            **{f"sys/fs/cgroup/{path.replace('CPU', cpu)}": content for path, content in files.items()},
        },
    )


def quota_v1(microseconds: int, period: int = 100000, at: str = "") -> dict[str, str]:
    return {f"CPU{at}/cpu.cfs_quota_us": str(microseconds), f"CPU{at}/cpu.cfs_period_us": str(period)}


# --- v2 ---


def test_a_container_with_a_namespace_of_its_own(tmp_path: Path) -> None:
    """docker, podman and Kubernetes on v2: the container sees its group as the root."""
    root = v2(tmp_path, {"cpu.max": "150000 100000", "memory.max": str(GIGABYTE)})
    assert (cpu_quota(root), memory_limit(root)) == (1.5, GIGABYTE)


@pytest.mark.parametrize(
    ("high", "limit"), [("max", 2 * GIGABYTE), (str(GIGABYTE), GIGABYTE), (str(4 * GIGABYTE), 2 * GIGABYTE)]
)
def test_memory_is_bounded_where_it_is_taken_back(tmp_path: Path, high: str, limit: int) -> None:
    """Beyond memory.high, all that the group does waits for the kernel."""
    root = v2(tmp_path, {"memory.max": str(2 * GIGABYTE), "memory.high": high})
    assert memory_limit(root) == limit


def test_a_container_that_sees_the_groups_of_its_host(tmp_path: Path) -> None:
    """docker --cgroupns=host on v2, where the whole hierarchy is mounted."""
    group = "/system.slice/docker-1f2e.scope"
    root = v2(tmp_path, {f"{group[1:]}/cpu.max": "50000 100000", f"{group[1:]}/memory.max": "max"}, group=group)
    assert (cpu_quota(root), memory_limit(root)) == (0.5, None)


def test_no_limits(tmp_path: Path) -> None:
    root = v2(tmp_path, {"cpu.max": "max 100000", "memory.max": "max"})
    assert (cpu_quota(root), memory_limit(root)) == (None, None)


@pytest.mark.parametrize("tightest", [0, 1, 2, 3])
def test_the_tightest_of_the_groups_above_counts(tmp_path: Path, tightest: int) -> None:
    """Kubernetes: container, pod, quality of service, all pods."""
    levels = ["kubepods", "kubepods/burstable", "kubepods/burstable/pod4b7e", POD[1:]]
    files = {
        f"{level}/cpu.max": f"{100000 if number == tightest else 400000} 100000" for number, level in enumerate(levels)
    }
    files |= {
        f"{level}/memory.max": str(GIGABYTE * (1 if number == tightest else 8)) for number, level in enumerate(levels)
    }
    root = v2(tmp_path, files, group=POD)
    assert (cpu_quota(root), memory_limit(root)) == (1.0, GIGABYTE)


def test_groups_beside_and_below_do_not_count(tmp_path: Path) -> None:
    tight, wide = "10000 100000", "300000 100000"
    files = {"a/cpu.max": wide, "a/b/cpu.max": tight, "c/cpu.max": tight, "ab/cpu.max": tight}
    assert cpu_quota(v2(tmp_path, files, group="/a")) == 3.0


def test_another_period(tmp_path: Path) -> None:
    assert cpu_quota(v2(tmp_path, {"cpu.max": "5000 20000"})) == 0.25


def test_a_mount_with_spaces_in_its_path(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "0::/",
            "proc/self/mountinfo": r"30 25 0:26 / /run/my\040groups ro - cgroup2 cgroup rw",
            "run/my groups/cpu.max": "200000 100000",
        },
    )
    assert cpu_quota(tmp_path) == 2.0


def test_the_host_mounted_a_second_time(tmp_path: Path) -> None:
    """An agent in a container: its own groups, and those of the host, of which it is in none that it can name."""
    root = v2(tmp_path, {"cpu.max": "200000 100000"})
    with (root / "proc/self/mountinfo").open("a", encoding="utf-8") as file:
        file.write(V2.format(begins_at="/../../..", point="/host/sys/fs/cgroup") + "\n")
    lay_out(root, {"host/sys/fs/cgroup/cpu.max": "1000 100000"})
    assert cpu_quota(root) == 2.0


# --- v1 ---


@pytest.mark.parametrize("joined", [True, False])
def test_a_container_on_v1(tmp_path: Path, *, joined: bool) -> None:
    """docker without a namespace: the group's path is that of the host, and the mount begins there."""
    group = "/docker/e3adbdd64121"
    files = {**quota_v1(150000), "memory/memory.limit_in_bytes": str(GIGABYTE)}
    root = v1(tmp_path, files, group=group, begins_at=group, joined=joined)
    assert (cpu_quota(root), memory_limit(root)) == (1.5, GIGABYTE)


def test_a_pod_on_v1(tmp_path: Path) -> None:
    root = v1(tmp_path, {**quota_v1(200000), "memory/memory.limit_in_bytes": str(GIGABYTE)}, group=POD, begins_at=POD)
    assert (cpu_quota(root), memory_limit(root)) == (2.0, GIGABYTE)


def test_podman_with_a_group_inside_of_the_mount(tmp_path: Path) -> None:
    group = "/machine.slice/libpod-77.scope"
    files = {**quota_v1(400000), **quota_v1(100000, at="/container"), **quota_v1(-1, at="/container/deeper")}
    root = v1(tmp_path, files, group=f"{group}/container/deeper", begins_at=group)
    assert cpu_quota(root) == 1.0


def test_no_limits_on_v1(tmp_path: Path) -> None:
    root = v1(tmp_path, {**quota_v1(-1), "memory/memory.limit_in_bytes": NO_MEMORY_LIMIT})
    assert (cpu_quota(root), memory_limit(root)) == (None, None)


def test_the_limit_of_groups_that_cannot_be_seen(tmp_path: Path) -> None:
    """v1 counts the groups above into a figure of each group; v2 has none."""
    statistics = f"cache 5\nhierarchical_memory_limit {GIGABYTE}\nhierarchical_memsw_limit {NO_MEMORY_LIMIT}"
    files = {"memory/memory.limit_in_bytes": NO_MEMORY_LIMIT, "memory/memory.stat": statistics}
    assert memory_limit(v1(tmp_path, files, group=POD, begins_at=POD)) == GIGABYTE


def test_both_at_once(tmp_path: Path) -> None:
    """Hybrid: v1 controls, and v2 is there without controllers; or v2 controls what v1 does not."""
    root = v1(tmp_path, {**quota_v1(300000), "unified/system.slice/x.service/memory.max": str(GIGABYTE)})
    assert (cpu_quota(root), memory_limit(root)) == (3.0, GIGABYTE)


def test_a_process_that_was_moved_to_a_group_that_is_not_mounted(tmp_path: Path) -> None:
    for place, group in (("a", "/elsewhere"), ("b", "/../elsewhere")):
        root = v1(tmp_path / place, quota_v1(200000), group=group, begins_at="/docker/e3adbdd64121")
        assert cpu_quota(root) == 2.0


# --- what cannot be understood ---


@pytest.mark.parametrize(
    "text",
    [
        "",
        "max",
        "100000",
        "-1 100000",
        "0 100000",
        "100000 0",
        "1e5 100000",
        "\N{ARABIC-INDIC DIGIT THREE} 100000",
        "a b",
    ],
)
def test_a_quota_that_is_none(tmp_path: Path, text: str) -> None:
    assert cpu_quota(v2(tmp_path, {"cpu.max": text})) is None


@pytest.mark.parametrize("text", ["", "-1", "0", "1.5", "9" * 40, "\N{ARABIC-INDIC DIGIT THREE}"])
def test_a_memory_limit_that_is_none(tmp_path: Path, text: str) -> None:
    assert memory_limit(v2(tmp_path / "v2", {"memory.max": text})) is None
    assert memory_limit(v1(tmp_path / "v1", {"memory/memory.limit_in_bytes": text})) is None


def test_systems_without_control_groups(tmp_path: Path) -> None:
    assert (cpu_quota(tmp_path), memory_limit(tmp_path)) == (None, None)
    assert cpu_quota(tmp_path / "not\0there") is None


def test_a_directory_where_a_file_should_be(tmp_path: Path) -> None:
    root = v2(tmp_path, {"cpu.max/x": ""})
    assert cpu_quota(root) is None


def test_this_machine() -> None:
    """Whatever it is: a quota or none, and never an error."""
    for value in (cpu_quota(), memory_limit(), cpu_quota(Path("/"))):
        assert value is None or value > 0
