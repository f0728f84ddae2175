"""Whatever the kernel's files say, reading them gives a positive limit or none, and the tightest that is visible."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thoth_models.process.cgroups import cpu_quota, memory_limit
from thoth_models.process.environment import available_cores, usable_cores

MOUNT = "30 25 0:26 {begins_at} {point} ro - cgroup2 cgroup rw"
LIMITS = ("cpu.max", "memory.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "memory.limit_in_bytes", "memory.stat")

noise = st.one_of(
    st.binary(max_size=60),
    st.text(alphabet="0123456789:/,. -\n\\maxcpuryeg", max_size=60).map(str.encode),
    st.sampled_from([b"0::/a/b", b"4:memory:/", b"3:cpu,cpuacct:/../x", MOUNT.encode(), b"9" * 30 + b" " + b"9" * 30]),
)
names = st.text(alphabet="abc.-_ \\", min_size=1, max_size=6).filter(lambda name: name.strip(".") and "\\" not in name)


def put(root: Path, path: str, content: bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


@pytest.mark.hostile
@given(membership=noise, mounts=noise, content=noise, valid_mounts=st.booleans())
@example(membership=b"0::/" + b"abc/" * 1100, mounts=b"", content=b"1 1", valid_mounts=True)
@example(membership=b"0::/\0", mounts=b"", content=b"1 1", valid_mounts=True)
def test_nonsense_in_files_of_control_groups_is_no_limit_and_no_error(
    membership: bytes, mounts: bytes, content: bytes, *, valid_mounts: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        put(root, "proc/self/cgroup", membership)
        line = MOUNT.format(begins_at="/", point="/sys/fs/cgroup").encode() + b"\n"
        put(root, "proc/self/mountinfo", line + mounts if valid_mounts else mounts)
        for name in LIMITS:
            put(root, f"sys/fs/cgroup/{name}", content)
        for value in (cpu_quota(root), memory_limit(root)):
            assert value is None or value > 0
        assert 1 <= usable_cores(root) <= available_cores()


@given(
    levels=st.lists(
        st.tuples(names, st.one_of(st.none(), st.integers(1, 10**7)), st.one_of(st.none(), st.integers(1, 2**61))),
        max_size=5,
    ),
    hidden=st.integers(0, 5),
)
def test_the_tightest_visible_limit_counts(levels: list[tuple[str, int | None, int | None]], hidden: int) -> None:
    """The mount begins at one of the groups above the process, and what lies above that cannot be seen."""
    hidden = min(hidden, len(levels))
    parts = [name for name, _quota, _memory in levels]
    begins_at, group = "/" + "/".join(parts[:hidden]), "/" + "/".join(parts)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        put(root, "proc/self/cgroup", f"0::{group}\n".encode())
        escaped = begins_at.replace(" ", r"\040")
        put(root, "proc/self/mountinfo", (MOUNT.format(begins_at=escaped, point="/sys/fs/cgroup") + "\n").encode())
        for depth, (_name, quota, memory) in enumerate(levels, start=1):
            if depth < hidden:
                continue
            place = "/".join(["sys/fs/cgroup", *parts[hidden:depth]])
            put(root, f"{place}/cpu.max", f"{quota or 'max'} 100000\n".encode())
            put(root, f"{place}/memory.max", f"{memory or 'max'}\n".encode())
        visible = levels[max(hidden - 1, 0) :]
        quotas = [quota / 100000 for _name, quota, _memory in visible if quota is not None]
        assert cpu_quota(root) == min(quotas, default=None)
        assert memory_limit(root) == min((memory for *_rest, memory in visible if memory is not None), default=None)
