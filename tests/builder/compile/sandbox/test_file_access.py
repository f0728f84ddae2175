"""Files that the confined process can read and write, and those that it cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import thoth_models
import thoth_models_builder
from tests.support.confined_code import Workplace, run_code
from tests.support.projects import REPOSITORY
from thoth_models_builder.compile.sandbox.file_access import library_paths

OUTSIDE = (
    "(home / 'left').write_text('x')",
    "(job / 'left').write_text('x')",
    "open('/tmp/left-by-confined-code', 'x')",
    "(home / 'kept').unlink()",
    "(scratch / 'made').rename(home / 'moved')",
    "os.open(home / 'kept', os.O_RDONLY | os.O_TRUNC)",
    "os.truncate(home / 'kept', 0)",
    "(home / 'kept').read_text()",
    "open('/etc/passwd').read()",
    "open(f'/proc/{parent}/environ').read()",
    "os.listdir('/dev/shm')",
    "os.listdir('/')",
    "os.utime(home / 'kept', (0, 0))",
)

TRY_EACH = """
import errno, os
(scratch / "made").touch()
for attempt in attempts:
    try:
        eval(attempt)
    except OSError as error:
        assert error.errno in (errno.EPERM, errno.EACCES, errno.EXDEV), (attempt, error)
    else:
        print("done:", attempt)
"""


@pytest.mark.hostile
def test_files_outside_are_out_of_reach(place: Workplace) -> None:
    kept = place.home / "kept"
    kept.write_text("secret")
    kept.chmod(0o666)  # what the permissions allow, the sandbox does not
    place.home.chmod(0o777)
    found = run_code(place, f"attempts = {OUTSIDE!r}{TRY_EACH}")
    assert (found.error, found.output) == (None, "taken []")
    assert [path.name for path in place.home.iterdir()] == ["kept"]
    assert kept.read_text() == "secret"


@pytest.mark.hostile
def test_permissions_of_files_outside_do_not_change(place: Workplace) -> None:
    """A copy of permissions must not fail, as libraries copy them; so the call does nothing."""
    kept = place.home / "kept"
    kept.write_text("secret")
    before = kept.stat()
    assert run_code(place, "import os; os.chmod(home / 'kept', 0)").error is None
    assert kept.stat().st_mode == before.st_mode


def test_the_same_code_can_write_without_the_sandbox(place: Workplace) -> None:
    assert run_code(place, "(home / 'left').write_text('x')", confined=False).error is None
    assert (place.home / "left").read_text() == "x"


def test_its_own_directory_and_libraries_are_within_reach(place: Workplace) -> None:
    code = """
import json, os, shutil, tempfile, wave, xml.dom.minidom
(scratch / "below").mkdir()
(scratch / "below" / "a").write_text("x")
shutil.copy(scratch / "below" / "a", scratch / "b")
(scratch / "b").rename(scratch / "below" / "c")
assert os.getcwd() == os.path.expanduser("~") == tempfile.gettempdir()
open("/dev/null", "w").write("x")
assert open("/proc/self/statm").read() and open("/proc/cpuinfo").read()
"""
    found = run_code(place, code, patterns={"below/c": 1})
    assert (found.error, found.output) == (None, "taken ['below/c']")
    assert (place.job / "results" / "below" / "c").read_text() == "x"


@pytest.mark.hostile
def test_a_checkout_among_the_paths_of_modules_is_not_readable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = tmp_path / "site-packages"
    library.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, "", str(tmp_path), str(library), "/"])
    found = library_paths()
    assert {library, Path(thoth_models_builder.__file__).parent, Path(thoth_models.__file__).parent} <= set(found)
    assert not {tmp_path, Path("/"), Path.cwd(), REPOSITORY} & set(found)
    # Even a directory of libraries, if it contains the home directory.
    monkeypatch.setenv("HOME", str(library / "home"))
    assert library not in library_paths()
