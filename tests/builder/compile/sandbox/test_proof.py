"""The proof notices each protection that is left out, and then the code does not run."""

from __future__ import annotations

import pytest

from tests.support.confined_code import Workplace, run_code

RAN = """
from thoth_models_builder.compile.sandbox.proof import is_confined
assert is_confined()
(scratch / "ran").write_text("x")
print("it ran")
"""


def test_the_code_runs_where_all_is_refused(place: Workplace) -> None:
    found = run_code(place, RAN)
    assert found.error is None
    assert found.output.splitlines()[0] == "it ran"


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("filter", "connect to a local socket"),
        ("filter", "start a process"),
        ("filter", "run a program"),
        ("files", "read outside of its directory"),
        ("files", "write outside of its directory"),
    ],
)
def test_what_is_left_open_is_found_and_named(place: Workplace, without: str, message: str) -> None:
    # Root's child may not read or write for its user either, so both are left out to see the rules for files.
    left_out = [without, "user"] if without == "files" else [without]
    found = run_code(place, RAN, without=left_out)
    assert found.error is not None
    assert "nothing was run, because the process could not be confined" in found.error
    assert message in found.output
    assert "it ran" not in found.output
    assert [path.name for path in place.job.iterdir()] == []


@pytest.mark.hostile
def test_capabilities_that_are_left_are_found(place: Workplace) -> None:
    if place.user == "unprivileged":
        pytest.skip("this user has none")
    found = run_code(place, RAN, without=["capabilities"])
    assert "expected a process without capabilities, found 0x" in found.output
    assert "it ran" not in found.output


@pytest.mark.hostile
def test_a_kernel_that_keeps_capabilities_is_named(place: Workplace) -> None:
    found = run_code(place, RAN, without=["capset"])
    message = "expected to give up all capabilities, found that the kernel refuses it"
    assert message in found.output or "expected a directory that every user may read" in found.output
    assert "it ran" not in found.output


@pytest.mark.hostile
def test_a_process_without_the_proof_is_not_taken_for_confined(place: Workplace) -> None:
    found = run_code(place, RAN, without=["proof"])
    assert "AssertionError" in found.output
    assert "it ran" not in found.output


@pytest.mark.hostile
def test_a_kernel_without_landlock_is_named(place: Workplace) -> None:
    # The filter that the sandbox installs refuses Landlock as a kernel without it does.
    code = """
from thoth_models_builder.compile.sandbox.file_access import FileAccess
FileAccess()
"""
    found = run_code(place, code)
    assert "expected a kernel that confines files to directories (Landlock: Linux 5.13" in found.output
