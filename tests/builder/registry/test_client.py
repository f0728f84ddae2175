"""Pushing to and pulling from a real registry: what travels, what does not, and what is refused."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.hand_layouts import (
    blobs,
    sha256,
    write_image,
    write_two_platforms,
)
from tests.support.registry_server import RegistryServer, needs
from thoth_models_builder.errors import RegistryError
from thoth_models_builder.registry.client import Limits, pull, push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "registry") as server:
        yield server


def test_skopeo_reads_what_was_pushed_byte_for_byte(tmp_path: Path, registry: RegistryServer) -> None:
    skopeo = needs("skopeo")
    digest = write_image(tmp_path / "layout")
    push(tmp_path / "layout", f"{registry.host}/acme/app:1.0")
    name = f"docker://{registry.host}/acme/app:1.0"
    raw = subprocess.run([skopeo, "inspect", "--tls-verify=false", "--raw", name], check=True, capture_output=True)
    assert f"sha256:{sha256(raw.stdout)}" == digest
    seen = subprocess.run([skopeo, "inspect", "--tls-verify=false", name], check=True, capture_output=True)
    assert json.loads(seen.stdout)["Digest"] == digest
    assert json.loads(seen.stdout)["Labels"] == {"made": "by hand"}
    copied = tmp_path / "copied"
    subprocess.run(
        [
            skopeo,
            "copy",
            "--preserve-digests",
            "--src-tls-verify=false",
            "--dest-oci-accept-uncompressed-layers",
            name,
            f"oci:{copied}:x",
        ],
        check=True,
        capture_output=True,
    )
    assert blobs(copied) == blobs(tmp_path / "layout")


def test_no_proxy_comes_between_this_computer_and_itself(
    tmp_path: Path, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "layout")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert push(tmp_path / "layout", f"{registry.host}/acme/app:1").bytes_sent
    # The positive control: for others it is asked, and nobody is there.
    with pytest.raises(RegistryError, match="found ConnectError"):
        push(tmp_path / "layout", "registry.invalid/acme/app:1", plain_http=True, limits=Limits(attempts=1))


def test_an_index_goes_with_all_its_images_and_comes_back_the_same(tmp_path: Path, registry: RegistryServer) -> None:
    digest = write_two_platforms(tmp_path / "layout")
    report = push(tmp_path / "layout", f"{registry.host}/acme/app:1")
    assert f"sha256:{report.digest}" == digest
    assert len(report.manifests) == 3
    # Two configurations, two layers of their own, and the shared one once.
    assert len(report.blobs) == 5
    entry = pull(f"{registry.host}/acme/app:1", tmp_path / "back")
    assert f"sha256:{entry.digest}" == digest
    assert blobs(tmp_path / "back") == blobs(tmp_path / "layout")
    index = json.loads((tmp_path / "back/index.json").read_bytes())
    assert [found["digest"] for found in index["manifests"]] == [digest]
    assert json.loads((tmp_path / "back/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
