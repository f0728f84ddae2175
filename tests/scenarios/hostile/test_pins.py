"""Another bundle in the place of the expected one: consistent in itself, so that only its digest gives it away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import FakeBackend, invented_model, make_bundle, put_backend, replace_manifest
from tests.support.ways_in import COMMANDS, LIBRARY
from thoth_models import ManagerConfig, VerificationError, load_embedding, verify
from thoth_models.bundle import manifest as manifests
from thoth_models.cli.main import main
from thoth_models.errors import EnvironmentFault, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VARIABLE = "THOTH_MODELS_DIGEST"


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    put_backend(monkeypatch, lambda verified: FakeBackend(verified.model.dimension))
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """The bundle that is expected."""
    root = tmp_path / "deployed"
    make_bundle(root, [invented_model("mini")], default="mini")
    return root


@pytest.fixture
def expected(deployed: Path) -> str:
    """Its digest."""
    return verify(deployed).bundle_digest.hex


@pytest.fixture(params=["argument", "variable"])
def argument(request: pytest.FixtureRequest, expected: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The digest as an argument; None where the variable has it."""
    if request.param == "argument":
        return expected
    monkeypatch.setenv(VARIABLE, expected)
    return None


@pytest.fixture
def another(tmp_path: Path) -> Path:
    """The bundle that is found: the same names, and other weights."""
    root = tmp_path / "found"
    make_bundle(root, [invented_model("mini", more={"model.safetensors": b"others"})], default="mini")
    return root


@pytest.mark.hostile
@pytest.mark.parametrize("call", LIBRARY.values(), ids=list(LIBRARY))
def test_no_call_uses_another_bundle(
    argument: str | None, deployed: Path, another: Path, call: Callable[..., object]
) -> None:
    expected = verify(deployed).bundle_digest
    with pytest.raises(VerificationError, match=f"pin: expected the bundle {expected}, found the bundle") as caught:
        call(another, expect_digest=argument)
    assert [(problem.kind, problem.path) for problem in caught.value.problems] == [("pin", "manifest.json")]
    call(deployed, expect_digest=argument)


@pytest.mark.parametrize("call", LIBRARY.values(), ids=list(LIBRARY))
def test_without_a_pin_any_bundle_is_used(another: Path, call: Callable[..., object]) -> None:
    call(another)


@pytest.mark.hostile
@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_no_command_uses_another_bundle(
    argument: str | None, deployed: Path, another: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    given = [] if argument is None else ["--expect", argument]
    assert main([*command, "--root", str(another), *given]) == 1
    said = capsys.readouterr().err
    assert f"expected the bundle {verify(deployed).bundle_digest}" in said
    assert "hint: mount the bundle that is expected" in said
    assert main([*command, "--root", str(deployed), *given]) == 0


def test_an_argument_counts_before_the_variable(expected: str, another: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, expected)
    load_embedding(root=another, expect_digest=verify(another).bundle_digest.hex)


@pytest.mark.hostile
def test_the_manifest_of_another_bundle_is_not_parsed(
    expected: str, another: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a parser does with bytes of a stranger is then no matter."""
    replace_manifest(another, b"{" * 1000, adjust_checksums=True)

    def parse(_data: bytes) -> None:
        pytest.fail("the manifest was parsed")

    monkeypatch.setattr(manifests.Manifest, "from_bytes", parse)
    for call in (
        lambda: load_embedding(root=another, expect_digest=expected),
        lambda: verify(another, expect_digest=expected),
    ):
        with pytest.raises(VerificationError, match="pin"):
            call()


@pytest.mark.hostile
@pytest.mark.parametrize("value", ["sha256:" + "0" * 64, "0" * 63, "A" * 64, "0" * 64 + "\n", 5])
def test_a_pin_of_another_form_is_refused(another: Path, monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    """It would otherwise refuse every bundle, and look like an attack."""
    calls: list[Callable[[], object]] = [
        lambda: load_embedding(root=another, expect_digest=value),  # type: ignore[arg-type]
        lambda: ManagerConfig(root=another, expect_digest=value),  # type: ignore[arg-type]
        lambda: verify(another, expect_digest=value),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(InvalidInputError, match="expect_digest: expected a bundle digest of 64"):
            call()
    if isinstance(value, str) and value.strip() == value:
        monkeypatch.setenv(VARIABLE, value)
        with pytest.raises(EnvironmentFault, match=f"{VARIABLE}: expected a bundle digest of 64"):
            load_embedding(root=another)


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_is_none(another: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    load_embedding(root=another)


def test_doctor_says_which_bundle_is_expected(
    expected: str, deployed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given, said in (([], "any"), (["--expect-digest", expected], expected)):
        assert main(["doctor", "--json", "--root", str(deployed), *given]) == 0
        assert json.loads(capsys.readouterr().out)["expected_digest"] == said
