from __future__ import annotations

import base64
import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from thoth_models_builder.trust.attestations.distributions import distribution_digest

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "ours/__init__.py": b"import os",
    "ours/a b.txt": b"data",
    "ours-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path, data in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    record(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def record(place: Path, *more: str) -> None:
    lines = [f"{path},sha256={recorded(data)},{len(data)}" for path, data in FILES.items()]
    (place / "ours-1.0.dist-info" / "RECORD").write_text("\n".join([*lines, *more]) + "\n", encoding="utf-8")


def recorded(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def test_it_is_what_the_command_of_the_specification_prints(place: Path) -> None:
    """From https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md, with -d for names with spaces."""
    (place / "ours-1.0.dist-info" / "RECORD").rename(place / "RECORD")
    command = "find . -type f | cut -c3- | LC_ALL=C sort | grep -v RECORD | xargs -d '\\n' sha256sum | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=place, check=True, capture_output=True, text=True).stdout  # noqa: S602
    (place / "RECORD").rename(place / "ours-1.0.dist-info" / "RECORD")
    assert distribution_digest("ours", "1.0") == printed.split()[0]


def test_what_an_installer_adds_does_not_count(place: Path) -> None:
    before = distribution_digest("ours", "1.0")
    own = ("ours-1.0.dist-info/INSTALLER", "ours-1.0.dist-info/direct_url.json", "../../bin/ours", "ours/x.pyc")
    record(place, *(f"{path},sha256={recorded(b'x')},1" for path in own), "ours-1.0.dist-info/RECORD,,")
    assert distribution_digest("ours", "1.0") == before
    record(place, f"ours/more.py,sha256={recorded(b'x')},1")
    assert distribution_digest("ours", "1.0") not in (None, before)


@pytest.mark.parametrize(("name", "version"), [("ours", "1.1"), ("no-such-distribution", "1.0")])
@pytest.mark.usefixtures("place")
def test_another_version_has_no_digest(name: str, version: str) -> None:
    assert distribution_digest(name, version) is None


def test_a_distribution_without_a_record_has_no_digest(place: Path) -> None:
    (place / "ours-1.0.dist-info" / "RECORD").unlink()
    assert distribution_digest("ours", "1.0") is None
