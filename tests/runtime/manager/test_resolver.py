"""What answers for a name over invented models: which, when again, with which words, and for how long."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.bundles import FakeBackend, invented_model, make_bundle, make_writable, put_backend
from tests.support.invented import SECONDS, budget_for, events, manager, size_of
from thoth_models import (
    BackendError,
    FallbackWarning,
    InvalidInputError,
    LoadTimeout,
    MemoryBudgetError,
    ModelUnavailableError,
    SpaceMismatchError,
    load_embedding,
)
from thoth_models.bundle.selection import expected_space
from thoth_models.verification.verify import open_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.invented import Backends
    from thoth_models import EmbeddingManager
    from thoth_models.types import Backend
    from thoth_models.verification.verify import VerifiedVariant


def test_a_variant_that_fails_is_passed_over(root: Path, backends: Backends) -> None:
    backends.broken = {"one/torch-fp32"}
    models = manager(root)
    for _ in range(3):
        with models.use("one") as embedding:
            assert embedding.info.variant == "onnx-fp32"
            assert [attempt.variant for attempt in embedding.info.attempts] == ["torch-fp32"]
    assert backends.made == ["one/torch-fp32", "one/onnx-fp32"]
    assert models.stats().models["one"].refusals == 1


def test_nothing_can_be_loaded(root: Path, backends: Backends) -> None:
    backends.broken = {"two/torch-fp32"}
    models = manager(root)
    with pytest.raises(ModelUnavailableError, match="two/torch-fp32: two/torch-fp32 is broken"):
        models.encode("a", "two")
    backends.broken = set()
    assert models.encode("a", "two").shape == (8,), "it is tried again"


def test_what_cannot_be_loaded_again_is_tried_once_in_a_call(
    root: Path, backends: Backends, caplog: pytest.LogCaptureFixture
) -> None:
    models = manager(root)
    models.encode("a", "one")
    models.unload()
    backends.made.clear()
    backends.broken = {"one/torch-fp32"}
    assert models.get_model("one").info.variant == "onnx-fp32"
    assert backends.made == ["one/torch-fp32", "one/onnx-fp32"]
    assert models.stats().models["one"].refusals == len(events(caplog, "refusal")) == 1
    models.unload()
    backends.made.clear()
    backends.broken |= {"one/onnx-fp32"}
    with pytest.raises(ModelUnavailableError) as caught:
        models.encode("a", "one")
    assert [attempt.variant for attempt in caught.value.attempts] == ["torch-fp32", "onnx-fp32"]
    assert sorted(backends.made) == ["one/onnx-fp32", "one/torch-fp32"]


def test_a_variant_beyond_the_budget_gives_way_to_a_smaller_one(tmp_path: Path, backends: Backends) -> None:
    root = tmp_path / "bundle"
    plan = invented_model("one", variants=("torch-fp32", "onnx-int8"))
    plan.variants["torch-fp32"].files["more.safetensors"] = bytes(30_000_000)  # type: ignore[index]
    make_bundle(root, [plan], default="one")
    models = manager(root, memory_budget=80 * 2**20)
    with models.use() as embedding:
        assert embedding.info.variant == "onnx-int8"
        assert "the budget is 83886080" in embedding.info.attempts[0].reason
    with pytest.raises(ModelUnavailableError, match="the budget is 1000"):
        manager(root, memory_budget=1000).encode("a")
    make_writable(root)


@pytest.mark.hostile
def test_a_bundle_that_was_exchanged_is_refused_once_a_model_is_loaded_again(
    root: Path, backends: Backends, tmp_path: Path
) -> None:
    models = manager(root)
    models.encode("a", "two")
    models.unload()
    root.rename(tmp_path / "away")
    make_bundle(root, [invented_model("one"), invented_model("two", dimension=9)], default="one")
    with pytest.raises(ModelUnavailableError, match="as it was when this process opened the bundle"):
        models.encode("a", "two")
    make_writable(tmp_path / "away")


def test_what_failed_slowly_takes_from_the_deadline_of_what_comes_next(
    root: Path, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = threading.Event()

    def make(verified: VerifiedVariant) -> Backend:
        if verified.variant.name == "torch-fp32":
            time.sleep(2)
            raise BackendError("slowly broken")
        leave.wait(SECONDS)
        return FakeBackend()

    put_backend(monkeypatch, make)
    models = manager(root, timeout=3)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"one/onnx-fp32 .* did not finish"):
        models.encode("a", "one")
    assert time.monotonic() - started < 4.5
    leave.set()


# --- another space ---


def test_another_space_answers_loudly_and_once(
    root: Path, backends: Backends, caplog: pytest.LogCaptureFixture
) -> None:
    models = manager(root)
    with pytest.warns(FallbackWarning, match="two/torch-fp32 stands in for 'gone'"):
        models.encode("a", "gone")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models.encode("a", "gone")
        models.encode("a", "two")
    assert backends.made == ["two/torch-fp32"], "a model and its stand-in are loaded once"
    assert models.stats().models["two"].fallbacks == 1
    (told,) = events(caplog, "fallback")
    assert told.levelname == "WARNING"
    assert told.message.startswith("fallback requested=gone model=two variant=torch-fp32 space=")


def test_another_variant_of_a_stand_in_is_no_news(tmp_path: Path, backends: Backends) -> None:
    root = tmp_path / "bundle"
    stand_in = invented_model("other", variants=("onnx-fp32", "torch-fp32"))
    make_bundle(root, [invented_model("gone", variants=(), alternates=(("other", "accept"),)), stand_in])
    models = manager(root)
    with pytest.warns(FallbackWarning):
        models.encode("a", "gone")
    models.unload()
    backends.broken = {"other/onnx-fp32"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert models.get_model("gone").info.variant == "torch-fp32"
    assert models.stats().models["other"].fallbacks == 1
    make_writable(root)


def test_a_warning_that_is_an_error_refuses_every_call(root: Path, backends: Backends) -> None:
    models = manager(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            with pytest.raises(FallbackWarning):
                models.encode("a", "gone")
    assert not models.is_loaded("gone")
    assert (models.stats().models["two"].uses, models.stats().models["two"].fallbacks) == (0, 0)
    with pytest.warns(FallbackWarning):
        models.encode("a", "gone")
    assert models.stats().models["two"].fallbacks == 1


def _with_use(models: EmbeddingManager) -> None:
    with models.use("gone"):
        pass


@pytest.mark.parametrize(
    "call",
    [
        lambda models: models.encode("a", "gone"),
        lambda models: models.get_model("gone"),
        _with_use,
        lambda models: load_embedding("gone", root=models.config.root),
    ],
    ids=["encode", "get_model", "use", "load_embedding"],
)
def test_a_warning_names_the_line_of_the_caller(
    root: Path, backends: Backends, call: Callable[[EmbeddingManager], object]
) -> None:
    models = manager(root)
    with pytest.warns(FallbackWarning) as found:
        call(models)
    assert [warning.filename for warning in found] == [__file__]


def test_another_space_is_refused_where_the_list_or_the_settings_do(root: Path, backends: Backends) -> None:
    with pytest.raises(SpaceMismatchError):
        manager(root).encode("a", "strict")
    with pytest.raises(SpaceMismatchError):
        manager(root, same_space=True).encode("a", "gone")
    with pytest.raises(SpaceMismatchError):
        manager(root, expect_spaces={"one": "0" * 64}).encode("a", "one")
    with pytest.raises(SpaceMismatchError):
        manager(root, expect_spaces={"default": "0" * 64}).encode("a")
    assert backends.made == []


def test_an_expected_space_counts_for_all_names_of_the_model(root: Path, backends: Backends) -> None:
    """Otherwise an alias, or no name at all, would switch the protection off without a word."""
    for key in ("default", "one", "uno"):
        for name in ("default", "one", "uno"):
            with pytest.raises(SpaceMismatchError):
                manager(root, expect_spaces={key: "0" * 64}).encode("a", name)
    manager(root, expect_spaces={"one": "0" * 64}).encode("a", "two")
    with pytest.raises(InvalidInputError, match=r"expect_spaces: expected names of models .*, found 'oen'"):
        manager(root, expect_spaces={"oen": "0" * 64}).encode("a", "one")
    with pytest.raises(InvalidInputError, match="expect_spaces: expected one space for the names of 'one', found 2"):
        manager(root, expect_spaces={"one": "0" * 64, "uno": "1" * 64}).encode("a")


def test_the_default_model_is_none_of_an_alias_of_that_name(tmp_path: Path, backends: Backends) -> None:
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("one"), invented_model("two", aliases=("default",))], default="one")
    spaces = {model.name: model.built.space.hex for model in open_bundle(root).manifest.models.values() if model.built}
    models = manager(root, expect_spaces={"default": spaces["two"]})
    for name in ("default", "one", "two"):
        models.encode("a", name)
    manifest = open_bundle(root).manifest
    assert expected_space(manifest, None, {"default": spaces["two"]}) is None
    assert expected_space(manifest, None, {"one": spaces["one"]}) == spaces["one"]
    make_writable(root)


# --- refusals ---


def test_what_is_refused_is_logged(root: Path, backends: Backends, caplog: pytest.LogCaptureFixture) -> None:
    backends.broken = {"one/torch-fp32", "one/onnx-fp32"}
    models = manager(root, expect_spaces={"two": "a" * 64}, memory_budget=size_of(root, "two") - 1)
    for name, error in (("two", SpaceMismatchError), ("three", ModelUnavailableError)):
        with pytest.raises(error):
            models.encode("a", name)
    found = [record.message.partition(" reason=")[0] for record in events(caplog, "refusal")]
    assert found == [
        "refusal requested=two error=SpaceMismatchError",
        "refusal model=three variant=torch-fp32 error=MemoryBudgetError",
    ]
    assert all("\n" not in record.message for record in caplog.records)


def test_calls_that_are_refused_are_counted(root: Path, backends: Backends, caplog: pytest.LogCaptureFixture) -> None:
    models = manager(root, memory_budget=budget_for(root, 1), expect_spaces={"three": "a" * 64})
    models.names()  # opens the bundle, which has the deadline to itself
    kept = models.get_model("two")
    object.__setattr__(models.config, "timeout", 0.3)
    refused = {"uno": MemoryBudgetError, "three": SpaceMismatchError}
    for name, error in refused.items():
        with pytest.raises(error):
            models.encode("a", name)
    del kept
    backends.hold = threading.Event()
    with pytest.raises(LoadTimeout):
        models.encode("a", "one")
    backends.hold.set()
    assert {name: stats.refusals for name, stats in models.stats().models.items()} == {"one": 2, "two": 0, "three": 1}
    assert [record.error for record in events(caplog, "refusal")] == [
        *("MemoryBudgetError", "SpaceMismatchError", "LoadTimeout")
    ]


# --- uses ---


def test_a_model_that_a_caller_keeps_is_never_given_up(root: Path, backends: Backends) -> None:
    models = manager(root, memory_budget=budget_for(root, 1), timeout=0.3)
    kept = models.get_model("two")
    with pytest.raises(MemoryBudgetError, match="found them taken by models in use: two/torch-fp32"):
        models.encode("a", "three")
    assert kept.encode("a").shape == (8,)
    assert models.stats().models["two"].uses == 1
    del kept
    gc.collect()
    object.__setattr__(models.config, "timeout", SECONDS)  # a busy machine takes longer to load it
    assert models.encode("a", "three").shape == (8,)


def test_nothing_is_encoded_after_the_end_of_a_use(root: Path, backends: Backends) -> None:
    """It would be of a model that does not count, and stays in memory beside what takes its room."""
    models = manager(root)
    with models.use("two") as embedding:
        assert embedding.encode("a").shape == (8,)
    assert embedding.dimension == 8
    with pytest.raises(InvalidInputError, match="embedding: expected a call inside its `with` block"):
        embedding.encode("a")
    assert models.unload("two")
    assert not backends.alive


def test_an_error_keeps_no_use(root: Path, backends: Backends) -> None:
    """Errors have the frames that they came through; in a cycle, they keep all that is in these until gc comes."""
    models = manager(root)
    backends.wrong = BackendError("broken")

    def fail() -> None:
        kept = models.get_model("two")
        with pytest.raises(BackendError):
            kept.encode("a")

    gc.collect()
    gc.disable()
    try:
        fail()
        assert models.stats().models["two"].uses == 0
        backends.broken = {"three/torch-fp32"}
        for _ in range(3):
            kept = models.get_model("two")
            with pytest.raises(ModelUnavailableError):
                models.encode("a", "three")
            del kept
        assert models.stats().models["two"].uses == 0
    finally:
        gc.enable()


def test_whoever_keeps_the_error_of_a_late_load_keeps_no_model(root: Path, backends: Backends) -> None:
    backends.hold = threading.Event()
    models = manager(root)
    models.names()
    object.__setattr__(models.config, "timeout", 0.2)
    kept = []
    for _ in range(2):
        with pytest.raises(LoadTimeout) as caught:
            models.encode("a", "two")
        kept.append(caught.value)
    backends.hold.set()
    object.__setattr__(models.config, "timeout", SECONDS)
    models.encode("a", "two")
    assert len(backends.alive) == 1
    assert models.unload("two")
    assert not backends.alive
    assert len(kept) == 2


def test_what_a_child_of_fork_goes_on_keeping_is_in_use_there(root: Path, backends: Backends) -> None:
    """As with a model of a module, under gunicorn --preload: the child forgets the uses of its parent's threads."""
    models = manager(root, memory_budget=budget_for(root, 1), timeout=1)
    kept = models.get_model("one")
    kept.encode("a")
    with pytest.raises(MemoryBudgetError):
        models.encode("a", "two")
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        problems = 1
        with contextlib.suppress(Exception):
            kept.encode("a")
            assert models.stats().models["one"].uses == 1
            with pytest.raises(MemoryBudgetError):
                models.encode("a", "two")
            problems = 0
        os._exit(problems)
    assert os.waitpid(child, 0)[1] == 0


def test_what_a_child_of_fork_kept_comes_back_where_others_took_its_room(root: Path, backends: Backends) -> None:
    models = manager(root, memory_budget=budget_for(root, 1), timeout=5)
    kept = models.get_model("one")
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        problems = 1
        with contextlib.suppress(Exception):
            models.encode("a", "two")  # nothing uses the other one here yet
            assert np.array_equal(kept.encode("a"), kept.encode("a"))
            assert models.stats().models["two"].resident_bytes == 0
            assert models.stats().models["one"].uses == 1
            problems = 0
        os._exit(problems)
    assert os.waitpid(child, 0)[1] == 0


def test_what_a_child_of_fork_kept_and_does_not_use_takes_no_room_there(root: Path, backends: Backends) -> None:
    models = manager(root)
    kept = models.get_model("one")
    with models.use("one") as used:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            problems = 1
            with contextlib.suppress(Exception):
                backends.alive.clear()  # what was inherited is put away, and never destroyed
                models.encode("a", "one")
                assert len(backends.alive) == 1
                assert models.unload("one")
                assert not backends.alive
                used.encode("a")
                assert not models.unload("one")
                assert models.stats().models["one"].uses == 1
                problems = 0
            os._exit(problems)
        assert os.waitpid(child, 0)[1] == 0
    assert kept.encode("a").shape == (8,)
    assert models.stats().models["one"].uses == 1
