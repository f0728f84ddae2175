from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import (
    FakeBackend,
    VariantPlan,
    flip_bit,
    invented_model,
    make_bundle,
    opened,
    put_backend,
    replace_manifest,
)
from thoth_models import (
    BackendError,
    BackendUnavailableError,
    BundleNotFoundError,
    FallbackWarning,
    InvalidInputError,
    LoadTimeout,
    ManifestError,
    ModelUnavailableError,
    OfflineViolation,
    SpaceMismatchError,
    UnknownModelError,
    VerificationError,
    backends,
    load_embedding,
)
from thoth_models.loading import tasks
from thoth_models.verification.verify import VerifiedVariant, open_place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from thoth_models.process.environment import BundlePlace
    from thoth_models.types import Backend
    from thoth_models.verification.verify import OpenBundle

WEIGHTS = "mini/source/model.safetensors"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[VerifiedVariant]:
    """Backends are fakes here; the list says which variants were given to one."""
    seen: list[VerifiedVariant] = []

    def load(verified: VerifiedVariant) -> Backend:
        seen.append(verified)
        return FakeBackend(verified.model.dimension)

    put_backend(monkeypatch, load)
    return seen


@pytest.mark.parametrize("name", ["mini", "legacy", None])
def test_a_model_is_loaded_and_says_where_it_comes_from(
    bundle: Path, loaded: list[VerifiedVariant], name: str | None
) -> None:
    embedding = load_embedding(name, root=bundle)
    [verified] = loaded
    assert isinstance(verified, VerifiedVariant)
    assert verified.directory == bundle.resolve() / "mini/source"
    info = embedding.info
    assert (info.requested, info.model, info.variant) == (name or "mini", "mini", "torch-fp32")
    assert info.revision == verified.built.origin.revision
    assert info.space == verified.built.space.hex
    assert info.bundle_digest == import_module("thoth_models.verification.verify").verify(bundle).bundle_digest.hex
    assert (info.fallback, info.attempts) == (None, ())
    assert info.verify_seconds > 0
    assert info.load_seconds > 0
    assert embedding.encode("text").shape == (8,)


@pytest.mark.usefixtures("loaded")
def test_the_variable_tells_the_root(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_MODELS_DIR", str(bundle))
    assert load_embedding().info.model == "mini"


def test_a_relative_root_is_made_absolute(
    bundle: Path, loaded: list[VerifiedVariant], monkeypatch: pytest.MonkeyPatch
) -> None:
    roots: list[Path] = []

    def record(place: BundlePlace) -> OpenBundle:
        roots.append(place.path)
        return open_place(place)

    monkeypatch.setattr(tasks, "open_place", record)
    monkeypatch.chdir(bundle)
    load_embedding(root=".")
    monkeypatch.chdir(bundle.parent)
    load_embedding(root="bundle")
    assert {verified.directory for verified in loaded} == {bundle.resolve() / "mini/source"}
    # Before the loading thread begins: the working directory may change while it runs.
    assert all(root.is_absolute() for root in roots)


def test_an_absolute_root_needs_no_working_directory(
    bundle: Path, loaded: list[VerifiedVariant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    load_embedding(root=bundle)
    assert len(loaded) == 1


# --- falling back ---


@pytest.mark.hostile
def test_a_changed_file_is_never_given_to_a_backend(bundle: Path, loaded: list[VerifiedVariant]) -> None:
    flip_bit(bundle, WEIGHTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # another variant of the same space is no fallback
        embedding = load_embedding("mini", root=bundle)
    assert [verified.variant.name for verified in loaded] == ["onnx-fp32"]
    assert (embedding.info.variant, embedding.info.fallback) == ("onnx-fp32", None)
    [attempt] = embedding.info.attempts
    assert (attempt.model, attempt.variant) == ("mini", "torch-fp32")
    assert f"{WEIGHTS}: changed: expected sha256" in attempt.reason


def test_the_alternate_answers_loudly(
    bundle: Path, loaded: list[VerifiedVariant], caplog: pytest.LogCaptureFixture
) -> None:
    flip_bit(bundle, WEIGHTS)
    with opened(bundle):
        (bundle / "mini/onnx-fp32/extra").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "thoth_models"), pytest.warns(FallbackWarning) as caught:
        embedding = load_embedding("legacy", root=bundle)
    assert [verified.model.name for verified in loaded] == ["other"]
    info = embedding.info
    assert (info.requested, info.model) == ("legacy", "other")
    assert [str(attempt).partition(":")[0] for attempt in info.attempts] == ["mini/torch-fp32", "mini/onnx-fp32"]
    assert info.fallback is not None
    assert info.fallback.startswith("other/torch-fp32 stands in for 'legacy'; its vectors belong to another embedding")
    assert WEIGHTS in info.fallback
    assert str(caught[0].message) == info.fallback
    assert caught[0].filename == __file__  # the warning points at the caller
    told = [record for record in caplog.records if record.name == "thoth_models.events"]
    assert [record.event for record in told] == ["refusal", "refusal", "fallback"]  # type: ignore[attr-defined]
    first, _, last = (record.message for record in told)
    assert first.startswith("refusal model=mini variant=torch-fp32 error=VerificationError reason=")
    assert last.startswith("fallback requested=legacy model=other variant=torch-fp32 space=")


def test_the_same_space_is_insisted_on(bundle: Path, loaded: list[VerifiedVariant]) -> None:
    load_embedding("mini", root=bundle, same_space=True)
    for variant in ("source", "onnx-fp32"):
        flip_bit(bundle, f"mini/{variant}/modules.json")
    with pytest.raises(ModelUnavailableError) as caught:
        load_embedding("mini", root=bundle, same_space=True)
    assert len(loaded) == 1
    assert [attempt.model for attempt in caught.value.attempts] == ["other", "mini", "mini"]
    assert "the call asked for the same space" in str(caught.value)


def test_an_absent_model(tmp_path: Path, loaded: list[VerifiedVariant]) -> None:
    root = tmp_path / "absent"
    make_bundle(root, [invented_model("gone", variants=(), alternates=(("mini", "accept"),)), invented_model("mini")])
    with pytest.warns(FallbackWarning, match="mini/torch-fp32 stands in for 'gone'"):
        embedding = load_embedding("gone", root=root)
    assert [str(attempt) for attempt in embedding.info.attempts] == [
        "gone: absent: the bundle was built without it, because no source delivered it"
    ]
    with pytest.raises(SpaceMismatchError, match="no model of the embedding space of 'gone' can answer"):
        load_embedding("gone", root=root, same_space=True)
    assert len(loaded) == 1


def test_an_alternate_of_the_same_space_is_no_fallback(tmp_path: Path, loaded: list[VerifiedVariant]) -> None:
    root = tmp_path / "twins"
    make_bundle(root, [invented_model("a", space="s", alternates=(("b", "refuse"),)), invented_model("b", space="s")])
    flip_bit(root, "a/source/modules.json")
    info = load_embedding("a", root=root, same_space=True).info
    assert (info.model, info.fallback, len(info.attempts)) == ("b", None, 1)
    assert len(loaded) == 1


def test_when_nothing_is_left(bundle: Path, loaded: list[VerifiedVariant]) -> None:
    for model in ("mini/source", "mini/onnx-fp32", "other/source"):
        flip_bit(bundle, f"{model}/modules.json")
    with pytest.raises(ModelUnavailableError, match="no variant of 'mini' could be loaded") as caught:
        load_embedding("mini", root=bundle)
    assert loaded == []
    assert caught.value.requested == "mini"
    assert [f"{attempt.model}/{attempt.variant}" for attempt in caught.value.attempts] == [
        "mini/torch-fp32", "mini/onnx-fp32", "other/torch-fp32",
    ]  # fmt: skip


@pytest.mark.parametrize("error", [BackendUnavailableError("not installed"), BackendError("no model of it")])
def test_a_backend_that_fails_is_an_attempt(bundle: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load(verified: VerifiedVariant) -> Backend:
        if verified.variant.name == "torch-fp32":
            raise error
        return FakeBackend()

    put_backend(monkeypatch, load)
    info = load_embedding(root=bundle).info
    assert info.variant == "onnx-fp32"
    assert [attempt.reason for attempt in info.attempts] == [str(error)]


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), SystemExit(3)])
def test_a_bug_is_no_attempt(bundle: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def load(_: VerifiedVariant) -> Backend:
        raise error

    put_backend(monkeypatch, load)
    with pytest.raises(type(error)) as caught:
        load_embedding(root=bundle)
    assert caught.value.args == error.args


def test_a_backend_that_this_release_does_not_know(tmp_path: Path) -> None:
    plan = invented_model("mini")
    variants = {"torch-fp32": VariantPlan(files={"a": b"a"}, backend="tpu")}
    make_bundle(tmp_path / "new", [type(plan)(name="mini", variants=variants)], default="mini")
    with pytest.raises(ModelUnavailableError, match=r"this release of thoth-models knows \(onnx, torch\), found"):
        load_embedding(root=tmp_path / "new")


def test_the_variants_of_the_caller(bundle: Path, loaded: list[VerifiedVariant]) -> None:
    info = load_embedding(root=bundle, variants=["onnx-fp32"]).info
    assert info.variant == "onnx-fp32"
    assert [str(attempt) for attempt in info.attempts] == [
        "mini/torch-fp32: not among the variants that the caller accepts",
        "other/torch-fp32: not among the variants that the caller accepts",
    ]
    with pytest.raises(InvalidInputError, match="variants: expected names among onnx-fp32, torch-fp32, found 'int8'"):
        load_embedding(root=bundle, variants=["int8"])
    assert len(loaded) == 1


# --- what is refused ---


@pytest.mark.usefixtures("loaded")
def test_names_and_roots_that_do_not_exist(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"no model or alias 'mimi' in the bundle .*nearest first: mini,"):
        load_embedding("mimi", root=bundle)
    with pytest.raises(BundleNotFoundError, match=r"expected a bundle directory at .*nothing, found none"):
        load_embedding(root=tmp_path / "nothing")


@pytest.mark.hostile
def test_a_manifest_that_was_changed(bundle: Path, loaded: list[VerifiedVariant]) -> None:
    data = (bundle / "manifest.json").read_bytes()
    replace_manifest(bundle, data.replace(b"apache-2.0", b"apache-3.0"), adjust_checksums=False)
    with pytest.raises(VerificationError, match=r"manifest\.json: changed"):
        load_embedding(root=bundle)
    replace_manifest(bundle, data + b"\n", adjust_checksums=True)
    with pytest.raises(ManifestError, match="expected canonical JSON"):
        load_embedding(root=bundle)
    assert loaded == []


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), True, None, "60"])
def test_a_timeout_is_a_number_of_seconds(bundle: Path, timeout: Any) -> None:
    with pytest.raises(InvalidInputError, match="timeout: expected a positive, finite number of seconds, found"):
        load_embedding(root=bundle, timeout=timeout)


# --- the deadline ---


@pytest.mark.hostile
def test_a_backend_that_hangs_ends_at_the_deadline(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def a_library_that_hangs(_: VerifiedVariant) -> Backend:
        release.wait(60)
        return FakeBackend()

    put_backend(monkeypatch, a_library_that_hangs)
    started = time.monotonic()
    with pytest.raises(LoadTimeout) as caught:
        load_embedding("mini", root=bundle, timeout=0.5)
    assert time.monotonic() - started < 30
    assert isinstance(caught.value, TimeoutError)
    message = str(caught.value)
    assert message.startswith(
        f"loading 'mini' from {bundle} did not finish within 0.5 s; it was loading mini/torch-fp32\n"
    )
    stacks = caught.value.stacks
    assert stacks in message
    assert stacks.startswith("Thread thoth-models-load:")
    assert "a_library_that_hangs" in stacks
    assert "Thread MainThread:" in stacks
    [left] = [thread for thread in threading.enumerate() if thread.name == "thoth-models-load"]
    assert left.daemon  # the process can end although it hangs
    release.set()
    left.join(30)


@pytest.mark.hostile
def test_verification_that_hangs_ends_at_the_deadline_too(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(tasks, "open_place", lambda _: release.wait(60))
    with pytest.raises(LoadTimeout, match=r"loading 'the default model' .* it was verifying the manifest"):
        load_embedding(root=bundle, timeout=0.2)
    release.set()


def test_a_timeout_without_stacks() -> None:
    assert str(LoadTimeout("too late")) == "too late"


# --- offline ---


@pytest.fixture
def server() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def swallow(work: Callable[[], object]) -> None:
    """Do what a library does that means to be robust."""
    with contextlib.suppress(Exception):
        work()


def wrap(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception as error:
        raise BackendError("the library could not load the model") from error


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=swallow, args=(work,))
    thread.start()
    thread.join()


@pytest.mark.hostile
@pytest.mark.parametrize("manner", [lambda work: work(), swallow, wrap, in_thread])
def test_a_backend_that_connects_is_stopped(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, server: socket.socket, manner: Callable[[Callable[[], object]], None]
) -> None:
    def load(_: VerifiedVariant) -> Backend:
        manner(lambda: socket.create_connection(server.getsockname(), timeout=5))
        return FakeBackend()

    put_backend(monkeypatch, load)
    # Not an attempt among others: the next variant would hide that something reached for the network.
    with pytest.raises(OfflineViolation, match="network access while a model was being loaded"):
        load_embedding(root=bundle)
    server.settimeout(0.2)
    with pytest.raises(TimeoutError):
        server.accept()


@pytest.mark.hostile
@pytest.mark.usefixtures("loaded")
def test_libraries_that_connect_while_they_are_imported_are_stopped(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, server: socket.socket
) -> None:
    def connect() -> Callable[[VerifiedVariant], Backend]:
        swallow(lambda: socket.create_connection(server.getsockname(), timeout=5))
        return lambda verified: FakeBackend()

    monkeypatch.setattr(backends, "BACKENDS", dict.fromkeys(backends.BACKENDS, connect))
    with pytest.raises(OfflineViolation, match="network access while a model was being loaded"):
        load_embedding(root=bundle)
    server.settimeout(0.2)
    with pytest.raises(TimeoutError):
        server.accept()


def test_the_switch_is_set_before_a_backend_and_checked_after_it(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def load(_: VerifiedVariant) -> Backend:
        calls.append("load")
        return FakeBackend()

    put_backend(monkeypatch, load)
    monkeypatch.setattr(tasks, "enforce_offline", lambda: calls.append("enforce"))
    monkeypatch.setattr(tasks, "assert_offline", lambda: calls.append("assert"))
    load_embedding(root=bundle)
    assert calls == ["enforce", "load", "assert"]


@pytest.mark.usefixtures("loaded")
def test_other_threads_may_load_at_once(bundle: Path) -> None:
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(load_embedding("mini", root=bundle).encode("a")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 4
    assert all(np.array_equal(results[0], result) for result in results)


@pytest.mark.parametrize("root", [b"bundle", 5, ["bundle"]])
def test_a_root_that_is_no_path(root: Any) -> None:
    with pytest.raises(InvalidInputError, match="root: expected a path as str or PathLike, found "):
        load_embedding(root=root)
