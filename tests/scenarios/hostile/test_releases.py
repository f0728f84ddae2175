"""An older release in the place of a later one: consistent in itself, perhaps signed too; only its number is lower."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import FakeBackend, invented_model, make_bundle, put_backend, replace_manifest
from tests.support.signing import make_key, sign_bundle
from tests.support.ways_in import COMMANDS, LIBRARY
from thoth_models import ManagerConfig, VerificationError, load_embedding, verify
from thoth_models.bundle.canonical_json import canonical_json
from thoth_models.bundle.manifest import Manifest
from thoth_models.cli.doctor import check_quickly
from thoth_models.cli.main import main
from thoth_models.errors import EnvironmentFault, InvalidInputError, ManifestError
from thoth_models.info import MAX_RELEASE
from thoth_models.process.environment import bundle_place
from thoth_models.verification import verify as module
from thoth_models_builder.cli.main import main as builder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VARIABLE = "THOTH_MODELS_MIN_RELEASE"
LOWEST = 7


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    put_backend(monkeypatch, lambda verified: FakeBackend(verified.model.dimension))
    for name in (VARIABLE, "THOTH_MODELS_DIGEST", "THOTH_TRUST", "THOTH_TRUST_POLICY", "THOTH_MODELS_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Bundles of each kind; all but the number of the release is the same."""
    for name, release in {"equal": 7, "later": 8, "older": 6, "without": None}.items():
        make_bundle(tmp_path / name, [invented_model("mini")], default="mini", release=release)
    return tmp_path


@pytest.fixture(params=["argument", "variable"])
def argument(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """The lowest release as an argument; None where the variable has it."""
    if request.param == "argument":
        return LOWEST
    monkeypatch.setenv(VARIABLE, str(LOWEST))
    return None


REFUSED = {"older": "release 6", "without": "a bundle without a release"}


@pytest.mark.hostile
@pytest.mark.parametrize("call", LIBRARY.values(), ids=list(LIBRARY))
def test_no_call_uses_an_older_release_or_none(argument: int | None, place: Path, call: Callable[..., object]) -> None:
    for name, found in REFUSED.items():
        with pytest.raises(VerificationError) as caught:
            call(place / name, min_release=argument)
        assert [(problem.kind, problem.path) for problem in caught.value.problems] == [("release", "manifest.json")]
        assert f"manifest.json: release: expected release 7 or a later one, found {found}" in str(caught.value)
    for name in ("equal", "later"):
        call(place / name, min_release=argument)


@pytest.mark.hostile
@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_no_command_uses_an_older_release_or_none(
    argument: int | None, place: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    given = [] if argument is None else ["--min-release", str(argument)]
    for name, found in REFUSED.items():
        assert main([*command, "--root", str(place / name), *given]) == 1
        said = capsys.readouterr().err
        assert f"expected release 7 or a later one, found {found}" in said
        assert "hint: mount a later release of the bundle" in said
    assert main([*command, "--root", str(place / "equal"), *given]) == 0


@pytest.mark.hostile
def test_the_builder_verifies_no_older_release_or_none(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, found in REFUSED.items():
        assert builder(["verify", str(place / name), "--min-release", "7"]) == 1
        said = capsys.readouterr().err
        assert f"expected release 7 or a later one, found {found}" in said
        assert "hint: state `bundle.release` in models.yaml" in said
    assert builder(["verify", str(place / "equal"), "--min-release", "7"]) == 0
    assert "\nrelease       7\n" in capsys.readouterr().out


@pytest.mark.hostile
def test_a_health_check_does_not_pass_an_older_release(place: Path) -> None:
    """The function of ``doctor --quick``, which the command calls after another one that opens the bundle."""
    with pytest.raises(VerificationError, match="release"):
        check_quickly(bundle_place(place / "older", min_release=LOWEST))
    assert check_quickly(bundle_place(place / "later", min_release=LOWEST)).model == "mini"


@pytest.mark.parametrize("call", LIBRARY.values(), ids=list(LIBRARY))
def test_without_a_minimum_any_release_is_used(place: Path, call: Callable[..., object]) -> None:
    for name in REFUSED:
        call(place / name)


@pytest.mark.hostile
def test_an_older_release_does_not_pass_the_pin_of_a_newer_one(
    place: Path, argument: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said is that it is another bundle: the pin is compared before anything in the manifest is known."""
    monkeypatch.setenv("THOTH_MODELS_DIGEST", verify(place / "later").bundle_digest.hex)
    with pytest.raises(VerificationError) as caught:
        load_embedding(root=place / "older", min_release=argument)
    assert [problem.kind for problem in caught.value.problems] == ["pin"]
    load_embedding(root=place / "later", min_release=argument)


@pytest.mark.hostile
@pytest.mark.signing
def test_an_older_release_that_was_signed_too(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key(tmp_path)
    monkeypatch.setenv("THOTH_TRUST", str(key.public_file))
    for name in ("older", "later"):
        sign_bundle(place / name, key)
        load_embedding(root=place / name)
    for call in (
        lambda: load_embedding(root=place / "older", min_release=LOWEST),
        lambda: verify(place / "older", min_release=LOWEST, trust=key.public_file),
    ):
        with pytest.raises(VerificationError, match="expected release 7 or a later one, found release 6"):
            call()
    load_embedding(root=place / "later", min_release=LOWEST)


@pytest.mark.hostile
@pytest.mark.signing
def test_a_later_release_without_a_signature_is_refused_for_that(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number in an unsigned bundle is not believed: it is not even read."""
    monkeypatch.setenv("THOTH_TRUST", str(make_key(tmp_path).public_file))
    with pytest.raises(VerificationError) as caught:
        load_embedding(root=place / "later", min_release=LOWEST)
    assert [problem.kind for problem in caught.value.problems] == ["signature"]


@pytest.mark.hostile
def test_nothing_of_an_older_release_is_used(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def use(*_: object, **_more: object) -> None:
        pytest.fail("something else was looked at")

    for name in ("_check_checksums", "check_tree", "check_contents", "map_contents", "check_permissions"):
        monkeypatch.setattr(module, name, use)
    for call in (
        lambda: load_embedding(root=place / "older", min_release=LOWEST),
        lambda: verify(place / "older", min_release=LOWEST),
    ):
        with pytest.raises(VerificationError, match="release"):
            call()


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (0, "0"),
        (-1, "-1"),
        ("7", "'7'"),
        (True, "True"),
        (7.0, "7.0"),
        (MAX_RELEASE + 1, "one with more digits"),
        (10**5000, "one with more digits"),
        (-(10**5000), "one with more digits"),
    ],
    ids=["zero", "negative", "text", "truth", "fraction", "large", "huge", "huge and negative"],
)
def test_a_minimum_of_another_form_is_refused(place: Path, value: object, found: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: load_embedding(root=place / "later", min_release=value),  # type: ignore[arg-type]
        lambda: ManagerConfig(root=place / "later", min_release=value),  # type: ignore[arg-type]
        lambda: verify(place / "later", min_release=value),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(InvalidInputError, match=f"min_release: expected a release from 1 to .*, found {found}"):
            call()


@pytest.mark.hostile
@pytest.mark.parametrize("value", ["0", "-1", "+7", "7.0", "seven", "1e3", "9" * 16, "9" * 5000, "\u0667", "1_0"])
def test_a_text_of_another_form_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(EnvironmentFault, match=f"{VARIABLE}: expected a release from 1 to"):
        load_embedding(root=place / "later")
    for command in (["verify", "--root", str(place / "later")], ["list", "--root", str(place / "later")]):
        with pytest.raises(SystemExit) as caught:
            main([*command, f"--min-release={value}"])
        assert caught.value.code == 2
        assert "expected a release such as 5" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_is_none(place: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    load_embedding(root=place / "without")


def test_an_argument_counts_before_the_variable(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "8")
    load_embedding(root=place / "equal", min_release=7)


@pytest.mark.hostile
@pytest.mark.parametrize("value", [0, -1, "7", True, None, MAX_RELEASE + 1, 10**18], ids=repr)
def test_a_manifest_whose_release_is_none_is_refused(place: Path, value: object) -> None:
    document = json.loads((place / "equal" / "manifest.json").read_bytes())
    document["bundle"]["release"] = value
    replace_manifest(place / "equal", canonical_json(document), adjust_checksums=True)
    with pytest.raises(ManifestError, match=r"bundle\.release: expected an integer"):
        load_embedding(root=place / "equal")


def test_a_bundle_without_a_release_has_the_bytes_that_it_had_before(place: Path) -> None:
    data = (place / "without" / "manifest.json").read_bytes()
    assert b'"bundle":{"default":"mini","name":"test-bundle"}' in data
    assert Manifest.from_bytes(data).release is None


def test_the_release_is_shown(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_embedding(root=place / "equal").info.release == 7
    assert load_embedding(root=place / "without").info.release is None
    for command in ("verify", "list", "doctor"):
        for name, release in {"equal": 7, "without": "not stated" if command == "doctor" else None}.items():
            assert main([command, "--json", "--root", str(place / name)]) == 0
            assert json.loads(capsys.readouterr().out)["release"] == release
    assert main(["doctor", "--root", str(place / "equal"), "--min-release", "6"]) == 0
    assert {"min_release: 6", "release: 7"} <= set(capsys.readouterr().out.splitlines())
    assert main(["list", "--root", str(place / "equal")]) == 0
    assert "release 7" in capsys.readouterr().out.splitlines()
