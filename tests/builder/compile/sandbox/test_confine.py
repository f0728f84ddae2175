"""What the confined process no longer has: its user, descriptors, environment and limits."""

from __future__ import annotations

import pytest

from tests.support.confined_code import SOMETHING_OPEN, Workplace, run_code
from thoth_models_builder.compile.sandbox.confine import memory_limit


@pytest.mark.hostile
def test_the_code_of_a_model_is_a_user_without_capabilities_that_write(place: Workplace) -> None:
    code = """
import os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
assert 0 not in os.getresuid() and 0 not in os.getresgid(), os.getresuid()
assert int(status["CapEff"], 16) in (0, 4), status["CapEff"]
assert int(status["CapPrm"], 16) in (0, 4), status["CapPrm"]
assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
"""
    found = run_code(place, code)
    assert found.error is None, found.output


@pytest.mark.hostile
def test_each_run_has_a_user_of_its_own_whose_processes_are_limited(place: Workplace) -> None:
    code = "import os, resource; print(os.getuid(), os.getgid(), *resource.getrlimit(resource.RLIMIT_NPROC))"
    lines = [run_code(place, code).output.splitlines()[0].split() for _ in range(2)]
    if place.user == "unprivileged":
        assert lines[0] == lines[1]
    else:
        assert len({line[0] for line in lines}) == 2
        assert all(61184 <= int(line[0]) <= 65519 and line[1:] == [line[0], "1024", "1024"] for line in lines)


@pytest.mark.hostile
def test_what_is_private_to_root_is_read_with_one_capability_or_named(place: Workplace) -> None:
    if place.user == "unprivileged":
        pytest.skip("this user has no directories of root")
    private = place.root / "private"
    private.mkdir(mode=0o700)
    (private / "weights").write_text("x")
    code = f"assert open({str(private / 'weights')!r}).read() == 'x'; open({str(private / 'left')!r}, 'x')"
    found = run_code(place, code, readable=[str(private)])
    assert sorted(path.name for path in private.iterdir()) == ["weights"]
    if place.user == "root":
        assert "Permission denied" in found.output
    else:
        assert f"{private}: expected a directory that every user may read" in found.output


@pytest.mark.hostile
def test_the_code_of_a_model_has_neither_secrets_nor_descriptors_of_the_builder(place: Workplace) -> None:
    code = """
import os
print({name for name in os.environ if name == "SECRET"}, {int(name) for name in os.listdir("/proc/self/fd")})
"""
    assert run_code(place, code).output.splitlines()[0] == "set() {0, 1, 2, 3}"
    # The control; the filter and the rules for files are not asked when a descriptor is there already.
    control = run_code(place, code, without=["environment", "descriptors"]).output
    assert "{'SECRET'}" in control
    assert str(SOMETHING_OPEN) in control


@pytest.mark.hostile
def test_where_the_kernel_allows_it_there_is_no_network_at_all(place: Workplace) -> None:
    if place.user != "root":
        pytest.skip("whether the kernel allows it to this user is a setting")
    found = run_code(place, "print([line.split(':')[0].strip() for line in list(open('/proc/self/net/dev'))[2:]])")
    assert found.output.splitlines()[0] == "['lo']"


def test_memory_is_a_share_of_what_there_is_or_is_assumed() -> None:
    assert (memory_limit(10**9), memory_limit(None)) == (8 * 10**8, int(0.8 * 2**34))


@pytest.mark.hostile
def test_the_memory_of_the_code_is_limited(place: Workplace) -> None:
    code = """
import mmap
for kind in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
    try:
        mmap.mmap(-1, 2**32, flags=kind | mmap.MAP_ANONYMOUS)
    except OSError as error:
        print("refused", error.errno)
held = bytearray(2**32)
"""
    found = run_code(place, code)
    assert found.error == "the confined process failed; its error is above"
    assert found.output.count("refused 12") == 2
    assert "MemoryError" in found.output
    assert run_code(place, code, without=["limits"]).error is None


@pytest.mark.hostile
def test_a_file_of_the_code_that_is_too_long_is_an_error(place: Workplace) -> None:
    found = run_code(place, "(scratch / 'long').write_bytes(bytes(2**20 + 1))", without=["watch"])
    assert "File too large" in found.output
    control = run_code(place, "(scratch / 'long').write_bytes(bytes(2**20 + 1))", without=["watch", "limits"])
    assert control.error is None
