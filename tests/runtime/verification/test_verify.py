from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundles import (
    flip_bit,
    make_bundle,
    opened,
)
from tests.support.findings import problems_of, the_problem
from thoth_models import verify as verify_function
from thoth_models.errors import BundleNotFoundError, VerificationError
from thoth_models.verification.verify import open_bundle, verify

MODULES = "mini/source/modules.json"
WEIGHTS = "mini/source/model.safetensors"


def test_a_sound_bundle(bundle: Path) -> None:
    report = verify(bundle, strict=True)
    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert report.root == bundle.resolve()
    assert report.manifest.default == "mini"
    assert report.bundle_digest.hex == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert report.set_digest.hex == hashlib.sha256((bundle / "SHA256SUMS").read_bytes()).hexdigest()
    assert report.files == len(files)
    assert report.bytes == sum(path.stat().st_size for path in files)
    assert report.warnings == ()
    assert report.seconds >= 0
    assert verify_function is verify


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_alone_can_check_a_bundle(bundle: Path) -> None:
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(command, cwd=bundle, check=False).returncode == 0
    flip_bit(bundle, WEIGHTS, offset=1234)
    found = subprocess.run(command, cwd=bundle, check=False, capture_output=True, text=True)
    assert found.returncode != 0
    assert WEIGHTS in found.stdout


def test_a_bundle_without_models(tmp_path: Path) -> None:
    make_bundle(tmp_path / "empty", [])
    assert verify(tmp_path / "empty").files == 2


# --- one test per attack ---


@pytest.mark.hostile
def test_changed_content_of_the_same_size(bundle: Path) -> None:
    before = hashlib.sha256((bundle / WEIGHTS).read_bytes()).hexdigest()
    flip_bit(bundle, WEIGHTS, offset=2999, bit=7)
    after = hashlib.sha256((bundle / WEIGHTS).read_bytes()).hexdigest()
    problem = the_problem(bundle)
    assert (problem.kind, problem.path) == ("changed", WEIGHTS)
    assert (problem.expected, problem.found) == (f"sha256 {before}", f"sha256 {after}")


@pytest.mark.hostile
@pytest.mark.parametrize("size", [0, 2999, 3001])
def test_changed_size(bundle: Path, size: int) -> None:
    with opened(bundle):
        os.truncate(bundle / WEIGHTS, size)
    problem = the_problem(bundle)
    assert (problem.kind, problem.path) == ("changed", WEIGHTS)
    assert (problem.expected, problem.found) == ("3000 bytes", f"{size} bytes")


@pytest.mark.hostile
def test_a_missing_file(bundle: Path) -> None:
    with opened(bundle):
        (bundle / MODULES).unlink()
    assert problems_of(bundle) == [("missing", MODULES)]


@pytest.mark.hostile
def test_a_missing_directory(bundle: Path) -> None:
    with opened(bundle):
        shutil.rmtree(bundle / "mini/source/1_Pooling")
    assert problems_of(bundle) == [("missing", "mini/source/1_Pooling/config.json")]


@pytest.mark.hostile
@pytest.mark.parametrize(
    "path", ["extra", "mini/extra", "mini/source/pytorch_model.bin", "mini/source/1_Pooling/.hidden", "é"]
)
def test_an_extra_file(bundle: Path, path: str) -> None:
    with opened(bundle):
        (bundle / path).write_bytes(b"")
    problem = the_problem(bundle)
    assert (problem.kind, problem.path, problem.found) == ("extra", path, "a file")


@pytest.mark.hostile
@pytest.mark.parametrize("path", ["extra", "mini/source/extra", "other/.git"])
def test_an_extra_empty_directory(bundle: Path, path: str) -> None:
    with opened(bundle):
        (bundle / path).mkdir()
    problem = the_problem(bundle)
    assert (problem.kind, problem.path, problem.found) == ("extra", path, "a directory")


@pytest.mark.hostile
def test_an_extra_name_that_is_not_text(bundle: Path) -> None:
    with opened(bundle):
        try:
            Path(os.fsdecode(os.fsencode(bundle) + b"/\xff")).write_bytes(b"")
        except OSError:
            pytest.skip("this file system takes UTF-8 only")
    assert problems_of(bundle) == [("extra", "\\udcff")]


@pytest.mark.hostile
def test_a_symlink_in_place_of_a_file(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes((bundle / MODULES).read_bytes())
    with opened(bundle):
        (bundle / MODULES).unlink()
        (bundle / MODULES).symlink_to(tmp_path / "same")
    problem = the_problem(bundle)
    assert (problem.kind, problem.path, problem.found) == ("special", MODULES, "a symlink")


@pytest.mark.hostile
def test_a_symlink_in_place_of_a_directory(bundle: Path, tmp_path: Path) -> None:
    with opened(bundle):
        (bundle / "mini/source/1_Pooling").rename(tmp_path / "elsewhere")
        (bundle / "mini/source/1_Pooling").symlink_to(tmp_path / "elsewhere")
    assert problems_of(bundle) == [
        ("special", "mini/source/1_Pooling"),
        ("missing", "mini/source/1_Pooling/config.json"),
    ]


@pytest.mark.hostile
def test_an_extra_name_with_control_characters_cannot_command_a_terminal(bundle: Path) -> None:
    with opened(bundle):
        (bundle / "mini" / "a\x1b[2Jb\nc").write_bytes(b"")
    found = the_problem(bundle)
    assert found.path == "mini/a\\x1b[2Jb\\nc"


@pytest.mark.hostile
def test_an_extra_symlink(bundle: Path) -> None:
    with opened(bundle):
        (bundle / "mini/latest").symlink_to("source")
    assert problems_of(bundle) == [("extra", "mini/latest")]


@pytest.mark.hostile
@pytest.mark.parametrize("path", [MODULES, "extra", "manifest.json", "SHA256SUMS"])
def test_a_fifo_is_named_and_never_waited_for(bundle: Path, path: str) -> None:
    with opened(bundle):
        (bundle / path).unlink(missing_ok=True)
        os.mkfifo(bundle / path)
    problem = the_problem(bundle)
    kind = "extra" if path == "extra" else "special"
    assert (problem.kind, problem.path, problem.found) == (kind, path, "a FIFO")


@pytest.mark.hostile
@pytest.mark.parametrize("path", [MODULES, "extra", "manifest.json"])
def test_a_socket(bundle: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(bundle), socket.socket(socket.AF_UNIX) as server:
        (bundle / path).unlink(missing_ok=True)
        monkeypatch.chdir((bundle / path).parent)  # the address of a Unix socket has room for about 100 characters
        server.bind(Path(path).name)
    problem = the_problem(bundle)
    kind = "extra" if path == "extra" else "special"
    assert (problem.kind, problem.path, problem.found) == (kind, path, "a socket")


@pytest.mark.hostile
def test_a_special_file_is_not_even_opened(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a device can do something."""
    modules: list[Any] = [import_module(f"thoth_models.verification.{name}") for name in ("verify", "contents")]
    plain_file, paths = modules[0].RegularFile, []

    def record(root: Path, path: str) -> Any:
        paths.append(path)
        return plain_file(root, path)

    for module in modules:
        monkeypatch.setattr(module, "RegularFile", record)
    with opened(bundle):
        (bundle / MODULES).unlink()
        os.mkfifo(bundle / MODULES)
        os.mkfifo(bundle / "extra")
    assert problems_of(bundle) == [("extra", "extra"), ("special", MODULES)]
    assert WEIGHTS in paths
    assert not {MODULES, "extra"} & set(paths)


@pytest.mark.hostile
def test_a_directory_in_place_of_a_file(bundle: Path) -> None:
    with opened(bundle):
        (bundle / MODULES).unlink()
        (bundle / MODULES).mkdir()
    problem = the_problem(bundle)
    assert (problem.kind, problem.path, problem.found) == ("special", MODULES, "a directory")


@pytest.mark.hostile
def test_a_file_in_place_of_a_directory(bundle: Path) -> None:
    with opened(bundle):
        shutil.rmtree(bundle / "other")
        (bundle / "other").write_bytes(b"")
    found = problems_of(bundle)
    assert found[0] == ("special", "other")
    assert {kind for kind, _ in found[1:]} == {"missing"}
    assert len(found) == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read(bundle: Path) -> None:
    (bundle / MODULES).chmod(0)
    (bundle / "other").chmod(0)
    found = problems_of(bundle)
    assert ("unreadable", MODULES) in found
    assert ("unreadable", "other") in found
    (bundle / "manifest.json").chmod(0)
    problem = the_problem(bundle)
    assert (problem.kind, problem.path, problem.found) == ("unreadable", "manifest.json", "Permission denied")


@pytest.mark.hostile
def test_a_read_that_fails_is_a_finding(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(import_module("thoth_models.verification.contents"), "hash_range", fail)
    with pytest.raises(VerificationError) as caught:
        verify(bundle)
    found = {(problem.kind, problem.found) for problem in caught.value.problems}
    assert found == {("unreadable", "Input/output error")}


@pytest.mark.hostile
@pytest.mark.parametrize("path", [".", MODULES, "mini/source", "manifest.json", "SHA256SUMS"])
@pytest.mark.parametrize("bit", [0o020, 0o002])
def test_a_bundle_that_others_may_write(bundle: Path, path: str, bit: int) -> None:
    (bundle / path).chmod((bundle / path).stat().st_mode | bit)
    [warning] = verify(bundle).warnings
    assert (warning.kind, warning.path) == ("writable", path)
    assert warning.found.startswith("mode 0")
    assert problems_of(bundle, strict=True) == [("writable", path)]


def test_everything_is_reported_together(bundle: Path) -> None:
    flip_bit(bundle, WEIGHTS)
    with opened(bundle):
        (bundle / MODULES).unlink()
        (bundle / "extra").mkdir()
        (bundle / "other/source/empty.txt").unlink()
        (bundle / "other/source/empty.txt").symlink_to("modules.json")
    (bundle / "other").chmod(0o757)
    expected = [
        ("extra", "extra"), ("changed", WEIGHTS), ("missing", MODULES), ("special", "other/source/empty.txt"),
    ]  # fmt: skip
    assert problems_of(bundle) == expected
    assert set(problems_of(bundle, strict=True)) == {*expected, ("writable", "other")}
    with pytest.raises(VerificationError, match="verification failed, 4 problems"):
        verify(bundle)


# --- the root ---


def test_the_root_may_be_a_symlink_and_relative(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(bundle)
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path / "link", "link", Path("bundle"), str(bundle), "../" + tmp_path.name + "/bundle"):
        assert verify(root).root == bundle.resolve()
        assert open_bundle(root).root == bundle.resolve()


def test_no_bundle_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty").mkdir()
    cases = {
        "nothing": "expected a bundle directory at .*nothing, found none",
        "file": "expected a bundle directory at .*file, found a file",
        "loop": "expected a bundle directory at .*loop, found none",
        "null\0": "expected a bundle directory at .*, found none",
        "empty": "expected manifest.json in the bundle at .*empty, found none",
    }
    for name, message in cases.items():
        with pytest.raises(BundleNotFoundError, match=message):
            verify(tmp_path / name)
        with pytest.raises(BundleNotFoundError, match=message):
            open_bundle(tmp_path / name)
