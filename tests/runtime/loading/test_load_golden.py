"""What loading and `doctor` make of golden vectors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import (
    FakeBackend,
    flip_bit,
    golden_of,
    invented_model,
    make_bundle,
    make_writable,
    measure,
    opened,
    proved,
    put_backend,
    replace_manifest,
)
from thoth_models import BackendUnavailableError, ManifestError, ModelUnavailableError, load_embedding
from thoth_models.bundle.digest import Digest
from thoth_models.cli.doctor import GoldenCheck, check_variants
from thoth_models.cli.main import main
from thoth_models.embedding import Embedding
from thoth_models.process.environment import bundle_place
from thoth_models.verification.verify import open_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from thoth_models.bundle.agreement import Agreement
    from thoth_models.types import Backend, FloatArray
    from thoth_models.verification.verify import VerifiedVariant

GOLDEN = golden_of(["first", "second", "third"], prompts=["", "query: ", ""])


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A model of two variants with golden vectors, and one of another space without."""
    plan = proved(
        invented_model("mini", variants=("onnx-fp32", "torch-fp32"), alternates=(("other", "accept"),)), GOLDEN
    )
    make_bundle(tmp_path / "bundle", [plan, invented_model("other")], default="mini")
    yield tmp_path / "bundle"
    make_writable(tmp_path)


class Drifted(FakeBackend):
    """Gives other vectors than when the bundle was built: for all texts, or for all but some."""

    def __init__(self, dimension: int, *, spared: tuple[str, ...] = (), factor: float | None = None) -> None:
        super().__init__(dimension)
        self.spared = spared
        self.factor = factor

    def vector(self, text: str, prompt: str | None = None) -> FloatArray:
        right = super().vector(text, prompt)
        if text in self.spared:
            return right
        return np.roll(right, 1) if self.factor is None else right * np.float32(self.factor)


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[int], Any]]:
    """What makes the backend of each variant; a test puts others in."""
    makers: dict[str, Callable[[int], Any]] = {"onnx-fp32": FakeBackend, "torch-fp32": FakeBackend}

    def load(verified: VerifiedVariant) -> Backend:
        backend: Backend = makers[verified.variant.name](verified.model.dimension)
        return backend

    put_backend(monkeypatch, load)
    return makers


def not_installed(_dimension: int) -> FakeBackend:
    raise BackendUnavailableError("the onnx backend is not installed")


@pytest.mark.usefixtures("backends")
def test_a_load_encodes_two_golden_texts(root: Path) -> None:
    embedding = load_embedding(root=root)
    assert embedding.info.golden_cosine == pytest.approx(1)
    assert embedding.info.attempts == ()
    assert load_embedding("other", root=root).info.golden_cosine is None


@pytest.mark.hostile
@pytest.mark.parametrize("make", [Drifted, lambda dimension: Drifted(dimension, factor=0.2)])
def test_a_variant_that_gives_other_vectors_is_refused(
    root: Path, backends: dict[str, Callable[[int], Any]], make: Callable[[int], Any]
) -> None:
    """Other numbers, or the same direction with another length."""
    backends["onnx-fp32"] = make
    embedding = load_embedding(root=root)
    assert embedding.info.variant == "torch-fp32"
    (attempt,) = embedding.info.attempts
    assert (attempt.variant, attempt.error) == ("onnx-fp32", "BackendError")
    assert "expected a cosine of at least 0.99000" in attempt.reason


@pytest.mark.hostile
@pytest.mark.usefixtures("backends")
def test_a_variant_that_gives_another_vector_for_another_golden_text_is_refused(
    root: Path, backends: dict[str, Callable[[int], Any]]
) -> None:
    """The bundle digest chooses a text besides the first; this bundle has one without a prompt."""
    backends["onnx-fp32"] = lambda dimension: Drifted(dimension, spared=("first",))
    embedding = load_embedding(root=root)
    (attempt,) = embedding.info.attempts
    assert (embedding.info.variant, attempt.variant) == ("torch-fp32", "onnx-fp32")
    assert attempt.reason.startswith("golden vector of 'third': expected a cosine of at least 0.99000")


def test_no_variant_is_left_that_gives_the_golden_vector(root: Path, backends: dict[str, Callable[[int], Any]]) -> None:
    backends["onnx-fp32"] = backends["torch-fp32"] = Drifted
    with pytest.raises(ModelUnavailableError, match="golden vector of") as raised:
        load_embedding(root=root, same_space=True)
    assert [attempt.variant for attempt in raised.value.attempts] == [None, "onnx-fp32", "torch-fp32"]


@pytest.mark.hostile
@pytest.mark.usefixtures("backends")
def test_changed_golden_vectors_are_refused_with_every_variant_that_they_prove(root: Path) -> None:
    flip_bit(root, "mini/golden.json")
    with pytest.raises(ModelUnavailableError, match=r"mini/golden\.json: changed: expected sha256"):
        load_embedding(root=root, same_space=True)


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda path: path.unlink(), "missing: expected a regular file, found nothing"),
        (lambda path: path.write_bytes(b"short"), "bytes, found 5 bytes"),
        (
            lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
            "special: expected a regular file, found a symlink",
        ),
    ],
)
def test_golden_vectors_that_are_not_there(root: Path, damage: Callable[[Path], Any], found: str) -> None:
    with opened(root):
        damage(root / "mini/golden.json")
    with pytest.raises(ModelUnavailableError, match=found):
        load_embedding(root=root, same_space=True)


@pytest.mark.usefixtures("backends")
def test_golden_vectors_of_a_later_release_are_no_other_bytes_but_another_form(tmp_path: Path) -> None:
    plan = proved(invented_model("mini"), golden_of(["one"], dimension=4))
    make_bundle(tmp_path / "bundle", [plan], default="mini")
    with pytest.raises(ManifestError, match=r"mini/golden\.json: dimension: expected 8, found 4"):
        load_embedding(root=tmp_path / "bundle")
    make_writable(tmp_path)


def test_a_gate_without_golden_vectors_is_no_manifest(root: Path) -> None:
    document = json.loads((root / "manifest.json").read_bytes())
    document["models"]["mini"]["built"]["record"] = None
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    replace_manifest(root, text.encode(), adjust_checksums=True)
    with pytest.raises(
        ManifestError, match="record: expected the golden vectors that the variants were measured against"
    ):
        open_bundle(root)


@pytest.mark.usefixtures("backends")
def test_every_golden_text_is_encoded_under_its_own_prompt(root: Path) -> None:
    embedding = load_embedding(root=root)
    agreement, gate = embedding.check_golden(), embedding.gate
    assert agreement is not None
    assert gate is not None
    assert agreement.largest_difference == 0
    assert agreement.reaches(gate.required_cosine)
    other = load_embedding("other", root=root)
    assert (other.check_golden(), other.gate) == (None, None)


def test_the_longest_golden_text_is_padded_beside_the_shortest(
    tmp_path: Path, backends: dict[str, Callable[[int], Any]]
) -> None:
    """Otherwise batches of similar lengths would be measured, and no wrong mask would be noticed."""
    asked: list[list[str]] = []

    class Asked(FakeBackend):
        def encode(self, texts: list[str], **options: Any) -> FloatArray:
            asked.append(texts)
            assert options["batch_size"] is None or options["batch_size"] <= 8
            return super().encode(texts, **options)

    backends["onnx-fp32"] = Asked
    texts = [*(f"of some length {number}" for number in range(20)), "", "long " * 300, "a", "?"]
    make_bundle(tmp_path / "bundle", [proved(invented_model("mini", variants=("onnx-fp32",)), golden_of(texts))])
    agreement = load_embedding("mini", root=tmp_path / "bundle").check_golden()
    make_writable(tmp_path)
    assert agreement is not None
    assert agreement.largest_difference == 0
    assert agreement.worst < len(texts)
    assert ["", "a", "?", "long " * 300] in asked
    assert sorted(text for call in asked[2:] for text in call) == sorted(texts)


# --- doctor ---


@pytest.mark.usefixtures("backends")
def test_doctor_compares_with_what_was_measured_when_the_bundle_was_built(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor", "--root", str(root)]) == 0
    assert "not measured here when it was built" in capsys.readouterr().out
    measure(root, open_bundle(root).manifest, minimum_cosine=1.0)
    assert main(["doctor", "--root", str(root)]) == 0
    assert "when it was built 1.00000" in capsys.readouterr().out
    # Low enough for the gate; but another processor does not explain the difference to what was measured.
    good = Embedding.check_golden

    def drifted(embedding: Embedding) -> Agreement:
        agreement = good(embedding)
        assert agreement is not None
        return replace(agreement, minimum_cosine=0.9949)

    monkeypatch.setattr(Embedding, "check_golden", drifted)
    for arguments in ([], ["--all", "--model", "mini"]):
        assert main(["doctor", "--root", str(root), *arguments]) == 4
        assert "wrong: cosine at least 0.994900" in capsys.readouterr().out
    measure(root, open_bundle(root).manifest, minimum_cosine=0.995)
    assert main(["doctor", "--root", str(root)]) == 0


@pytest.mark.usefixtures("backends")
def test_doctor_ignores_the_report_of_another_bundle(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measure(root, open_bundle(root).manifest, minimum_cosine=0.5, bundle_digest=Digest.of(b"other"))
    assert main(["doctor", "--root", str(root)]) == 0
    captured = capsys.readouterr()
    assert "not measured here when it was built" in captured.out
    assert "note: " in captured.err


@pytest.mark.usefixtures("backends")
def test_doctor_says_that_the_golden_vectors_come_out_right(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--root", str(root)]) == 0
    assert "golden: mini/onnx-fp32: right: cosine at least 1.000000" in capsys.readouterr().out
    assert main(["doctor", "--root", str(root), "--model", "other"]) == 0
    assert "golden: other/torch-fp32: unproved: the model has no golden vectors" in capsys.readouterr().out


def test_doctor_finds_a_drift_that_the_two_vectors_of_loading_do_not_show(
    root: Path, backends: dict[str, Callable[[int], Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    backends["onnx-fp32"] = lambda dimension: Drifted(dimension, spared=("first", "third"))
    assert load_embedding(root=root).info.variant == "onnx-fp32"
    assert main(["doctor", "--root", str(root)]) == 4
    captured = capsys.readouterr()
    assert "golden: mini/onnx-fp32: wrong: cosine at least" in captured.out
    assert "does not give the golden vectors on this machine" in captured.err
    assert main(["doctor", "--root", str(root), "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert [check["state"] for check in document["golden"]] == ["wrong"]


def test_doctor_checks_every_variant_where_it_is_asked_to(
    root: Path, backends: dict[str, Callable[[int], Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    def states() -> list[tuple[str | None, str]]:
        checks = check_variants(bundle_place(root), open_bundle(root).manifest, "mini", report=None, timeout=60)
        return [(check.variant, check.state) for check in checks]

    assert states() == [("onnx-fp32", "right"), ("torch-fp32", "right")]
    backends["onnx-fp32"] = not_installed
    assert states() == [("onnx-fp32", "unavailable"), ("torch-fp32", "right")]
    assert main(["doctor", "--all", "--root", str(root)]) == 0
    assert "mini/onnx-fp32: unavailable: the onnx backend is not installed" in capsys.readouterr().out
    backends["onnx-fp32"] = Drifted
    assert states() == [("onnx-fp32", "wrong"), ("torch-fp32", "right")]
    assert main(["doctor", "--all", "--root", str(root)]) == 4
    # Also where another variant answers in its place, and nobody asked for all.
    capsys.readouterr()
    assert main(["doctor", "--root", str(root)]) == 4
    assert "mini/onnx-fp32: wrong: golden vector" in capsys.readouterr().out


def test_a_stand_in_tells_nothing_of_a_variant(tmp_path: Path, backends: dict[str, Callable[[int], Any]]) -> None:
    """The alternate has the same space and a variant of the same name, so loading would take it."""
    mini = proved(invented_model("mini", space="one", alternates=(("twin", "refuse"),)), GOLDEN)
    make_bundle(tmp_path / "bundle", [mini, invented_model("twin", space="one")], default="mini")
    broken: Iterator[Callable[[int], FakeBackend]] = iter([Drifted, FakeBackend])

    def first_drifted(dimension: int) -> FakeBackend:
        return next(broken)(dimension)

    backends["torch-fp32"] = first_drifted
    root = tmp_path / "bundle"
    (check,) = check_variants(bundle_place(root), open_bundle(root).manifest, "mini", report=None, timeout=60)
    assert isinstance(check, GoldenCheck)
    assert (check.model, check.variant, check.state) == ("mini", "torch-fp32", "wrong")
    make_writable(tmp_path)
