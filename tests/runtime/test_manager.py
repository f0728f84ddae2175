"""The manager over invented models: what it loads, when, for whom, and what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import logging
import os
import pickle
import signal
import threading
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.bundles import FakeBackend, invented_model, make_bundle, make_writable
from thoth_models import (
    BackendError,
    EmbeddingManager,
    FallbackWarning,
    InvalidInputError,
    ManagerClosedError,
    ManagerConfig,
    MemoryBudgetError,
    ModelUnavailableError,
    SpaceMismatchError,
    UnknownModelError,
    loads,
)
from thoth_models.memory import resident_bytes
from thoth_models.verify import open_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from thoth_models.embedding import Backend, FloatArray
    from thoth_models.verify import VerifiedVariant

SECONDS = 30.0


class Backends:
    """Makes the backends, and keeps account of it."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.broken: set[str] = set()
        self.hold: threading.Event | None = None
        self.wrong: Exception | None = None  # what the next call of any of them raises

    def __call__(self, verified: VerifiedVariant) -> Backend:
        place = f"{verified.model.name}/{verified.variant.name}"
        self.made.append(place)
        if self.hold is not None:
            assert self.hold.wait(SECONDS)
        if place in self.broken:
            raise BackendError(f"{place} is broken")
        return Breakable(self, verified.model.dimension)


class Breakable(FakeBackend):
    def __init__(self, backends: Backends, dimension: int) -> None:
        super().__init__(dimension)
        self._backends = backends

    def encode(self, texts: list[str], **options: Any) -> FloatArray:
        if self._backends.wrong is not None:
            # A new one each time: an error that is kept has the frames that it came through.
            raise type(self._backends.wrong)(*self._backends.wrong.args)
        return super().encode(texts, **options)


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Backends:
    backends = Backends()
    monkeypatch.setattr(loads, "load_backend", backends)
    monkeypatch.setattr(loads, "import_libraries", lambda name: None)
    return backends


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "bundle"
    models = [
        invented_model("one", variants=("torch-fp32", "onnx-fp32"), aliases=("uno",)),
        invented_model("two"),
        invented_model("three"),
        invented_model("gone", variants=(), alternates=(("two", "accept"),)),
        invented_model("strict", variants=(), alternates=(("two", "refuse"),)),
    ]
    make_bundle(root, models, default="one")
    yield root
    make_writable(root)


def manager(root: Path, **settings: Any) -> EmbeddingManager:
    return EmbeddingManager(ManagerConfig(root=root, **settings))


def size_of(root: Path, name: str) -> int:
    manifest = open_bundle(root).manifest
    built = manifest.models[name].built
    assert built is not None
    return resident_bytes(manifest, built.variants[0])


def budget_for(root: Path, count: int) -> int:
    """Return a budget that so many of the invented models fit into, and no more; their sizes differ by a few bytes."""
    return count * size_of(root, "two") + 1000


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[Any]:
    return [record for record in caplog.records if getattr(record, "event", None) == name]


# --- instances ---


def test_settings_reach_other_processes(root: Path) -> None:
    given = ManagerConfig(root=root, variants=["onnx-fp32"], expect_spaces={"one": "a" * 64}, timeout=5)
    for copied in (pickle.loads(pickle.dumps(given)), copy.deepcopy(given), copy.copy(given)):  # noqa: S301 - our own
        assert copied == given
        assert hash(copied) == hash(given)
        with pytest.raises(TypeError):
            copied.expect_spaces["two"] = "b"  # type: ignore[index]


def test_one_instance_per_configuration(root: Path, backends: Backends) -> None:
    first = EmbeddingManager.get_instance(ManagerConfig(root=root))
    assert EmbeddingManager.get_instance(ManagerConfig(root=root)) is first
    assert EmbeddingManager.get_instance(ManagerConfig(root=root, same_space=True)) is not first
    assert EmbeddingManager.get_instance(ManagerConfig(root=root, expect_spaces={"one": "a" * 64})) is not first


def test_without_a_configuration_the_environment_decides(
    root: Path, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THOTH_MODELS_DIR", str(root))
    instance = EmbeddingManager()
    assert instance.encode("a").shape == (8,)
    assert EmbeddingManager.get_instance() is EmbeddingManager.get_instance(ManagerConfig())


def test_threads_that_ask_at_once_get_the_same_instance(root: Path, backends: Backends) -> None:
    config = ManagerConfig(root=root, timeout=12.5)
    together = threading.Barrier(8, timeout=SECONDS)
    found: list[EmbeddingManager] = []

    def ask() -> None:
        together.wait()
        found.append(EmbeddingManager.get_instance(config))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(found) == 8
    assert len({id(instance) for instance in found}) == 1


def test_a_closed_instance_is_replaced(root: Path, backends: Backends) -> None:
    config = ManagerConfig(root=root, timeout=13)
    first = EmbeddingManager.get_instance(config)
    first.encode("a")
    first.close()
    with pytest.raises(ManagerClosedError, match="expected a manager that is open"):
        first.encode("a")
    assert EmbeddingManager.get_instance(config) is not first
    assert EmbeddingManager.get_instance(config).encode("a").shape == (8,)


# --- encoding ---


def test_nothing_is_loaded_before_it_is_needed_and_then_once(root: Path, backends: Backends) -> None:
    models = manager(root)
    assert backends.made == []
    for name in ("default", "one", "uno"):
        assert models.encode(["a", "b"], name).shape == (2, 8)
    assert backends.made == ["one/torch-fp32"]


def test_shapes(root: Path, backends: Backends) -> None:
    models = manager(root)
    assert models.encode("a", "two").shape == (8,)
    assert models.encode(["a"], model="two").shape == (1, 8)
    assert models.encode([], "two").shape == (0, 8)
    assert models.encode((text for text in "abc"), "two").shape == (3, 8)
    assert models.encode(["a"], "two", truncate_dim=4, normalize_embeddings=False, show_progress_bar=False).shape == (
        1,
        4,
    )


def test_the_vectors_are_those_of_the_model(root: Path, backends: Backends) -> None:
    vectors = manager(root).encode(["a", "b"], "two", normalize_embeddings=False)
    assert np.array_equal(vectors, np.stack([FakeBackend().vector("a"), FakeBackend().vector("b")]))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "sentences: expected a str or an iterable of str, found NoneType"),
        (3, "sentences: expected a str or an iterable of str, found int"),
        (["a", None], r"sentences\[1\]: expected a str, found NoneType"),
        (["a", "b", 3.5], r"sentences\[2\]: expected a str, found float"),
    ],
)
def test_bad_texts_are_told_with_their_index(root: Path, backends: Backends, texts: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        manager(root).encode(texts)


@pytest.mark.parametrize("name", [3, ["one"], b"one"])
def test_a_name_that_is_none(root: Path, backends: Backends, name: Any) -> None:
    with pytest.raises(InvalidInputError, match="model: expected a name, found"):
        manager(root).encode(["a"], name)


def test_an_unknown_name(root: Path, backends: Backends) -> None:
    with pytest.raises(UnknownModelError, match=r"no model or alias 'onee' .* one"):
        manager(root).encode(["a"], "onee")


def test_default_can_be_an_alias(tmp_path: Path, backends: Backends) -> None:
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("one"), invented_model("two", aliases=("default",))], default="one")
    models = manager(root)
    models.encode("a")
    assert backends.made == ["two/torch-fp32"]
    make_writable(root)


# --- what stands in ---


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


def test_a_stand_in_that_is_chosen_again_is_no_news(
    root: Path, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = manager(root)
    with pytest.warns(FallbackWarning):
        models.encode("a", "gone")
    models.unload()
    outcomes = iter([BackendError("not now")])

    def make(verified: VerifiedVariant) -> Backend:
        for error in outcomes:
            raise error
        return backends(verified)

    monkeypatch.setattr(loads, "load_backend", make)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models.encode("a", "gone")
    assert backends.made == ["two/torch-fp32"] * 2
    assert models.stats().models["two"].fallbacks == 1


def test_a_warning_that_is_an_error_keeps_no_use(root: Path, backends: Backends) -> None:
    models = manager(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FallbackWarning):
            models.encode("a", "gone")
    assert models.stats().models["two"].uses == 0


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


# --- memory ---


def test_the_least_recently_used_model_makes_room(
    root: Path, backends: Backends, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "thoth_models")
    models = manager(root, memory_budget=budget_for(root, 2))
    for name in ("two", "three", "two", "one", "two"):
        models.encode("a", name)
    assert backends.made == ["two/torch-fp32", "three/torch-fp32", "one/torch-fp32"]
    stats = models.stats()
    assert stats.models["three"].evictions == 1
    assert stats.models["three"].resident_bytes == 0
    assert stats.reserved_bytes <= budget_for(root, 2)
    assert any(
        record.message.startswith("eviction model=three variant=torch-fp32 bytes=")
        for record in events(caplog, "eviction")
    )
    models.encode("a", "three")
    assert backends.made[-1] == "three/torch-fp32"


def test_a_model_that_a_caller_keeps_is_never_given_up(root: Path, backends: Backends) -> None:
    models = manager(root, memory_budget=budget_for(root, 1), timeout=0.3)
    kept = models.get_model("two")
    with pytest.raises(MemoryBudgetError, match="found it taken by what is in use: two/torch-fp32"):
        models.encode("a", "three")
    assert kept.encode("a").shape == (8,)
    assert models.stats().models["two"].uses == 1
    del kept
    gc.collect()
    object.__setattr__(models.config, "timeout", SECONDS)  # a busy machine takes longer to load it
    assert models.encode("a", "three").shape == (8,)


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


def test_the_budget_is_that_of_the_environment(root: Path, backends: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_MODELS_MEMORY", "512m")
    assert manager(root).stats().memory_budget == 512 * 2**20
    assert manager(root, memory_budget=7).stats().memory_budget == 7


# --- loading ahead, giving up ---


def test_preloading(root: Path, backends: Backends) -> None:
    models = manager(root)
    found = models.preload_models(["uno", "two"])
    assert {name: info.model for name, info in found.items()} == {"uno": "one", "two": "two"}
    assert backends.made == ["one/torch-fp32", "two/torch-fp32"]


def test_preloading_fails_loudly(root: Path, backends: Backends) -> None:
    backends.broken = {"three/torch-fp32"}
    with pytest.raises(ModelUnavailableError, match="three"):
        EmbeddingManager.preload_common_models(ManagerConfig(root=root, timeout=14))


def test_common_models_are_all_of_the_bundle_unless_settings_say_otherwise(root: Path, backends: Backends) -> None:
    found = EmbeddingManager.preload_common_models(ManagerConfig(root=root, timeout=15))
    assert list(found) == ["one", "three", "two"]
    assert list(EmbeddingManager.preload_common_models(ManagerConfig(root=root, common_models=["uno"]))) == ["uno"]


def test_unloading(root: Path, backends: Backends) -> None:
    models = manager(root)
    models.preload_models(["one", "two", "three"])
    assert models.unload("uno") is True
    assert models.unload("gone") is True, "it was never loaded"
    with models.use("two"):
        assert models.unload("two") is False
        assert models.unload() is False
    assert models.unload() is True
    assert models.stats().reserved_bytes == 0
    assert models.encode("a", "one").shape == (8,)
    assert backends.made.count("one/torch-fp32") == 2


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


def test_closing(root: Path, backends: Backends) -> None:
    with manager(root) as models:
        kept = models.get_model("two")
        models.encode("a", "one")
    assert kept.encode("a").shape == (8,), "what a caller keeps goes on working"
    with pytest.raises(ManagerClosedError):
        models.get_model("two")
    assert {name: stats.uses for name, stats in models.stats().models.items()} == {"one": 0, "two": 1}


# --- what it tells ---


def test_statistics(root: Path, backends: Backends) -> None:
    models = manager(root)
    models.encode(["a", "b"], "two")
    models.encode("a", "two")
    with models.use("two") as embedding:
        embedding.encode_query(["c"])
    with pytest.raises(InvalidInputError):
        models.encode([None], "two")  # type: ignore[list-item]
    backends.wrong = BackendError("broken")
    with pytest.raises(BackendError):
        models.get_model("two").encode("a")
    stats = models.stats().models["two"]
    assert (stats.calls, stats.texts, stats.failures, stats.loads) == (3, 4, 1, 1)
    assert stats.encode_seconds > 0
    assert stats.resident_bytes == size_of(root, "two")
    assert models.stats().as_dict()["models"]["two"]["texts"] == 4


def test_a_load_is_logged_in_one_line(root: Path, backends: Backends, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "thoth_models")
    manager(root).encode("a", "two")
    (record,) = events(caplog, "load")
    assert record.message.startswith("load model=two variant=torch-fp32 seconds=")
    assert record.model == "two"
    assert record.variant == "torch-fp32"
    assert len(record.space) == 64


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


# --- asynchronous ---


def test_the_event_loop_goes_on_while_a_model_is_loaded(root: Path, backends: Backends) -> None:
    backends.hold = threading.Event()

    async def work() -> int:
        models = manager(root)
        encoding = asyncio.create_task(models.aencode(["a"], "two", normalize_embeddings=False))
        turns = 0
        while not backends.made:  # noqa: ASYNC110 - it is set by a thread
            await asyncio.sleep(0.001)
        for _ in range(50):
            await asyncio.sleep(0.001)
            turns += 1
        assert not encoding.done()
        assert backends.hold is not None
        backends.hold.set()
        assert np.array_equal(await encoding, FakeBackend().vector("a")[None])
        return turns

    assert asyncio.run(work()) == 50


def test_many_tasks_and_an_error(root: Path, backends: Backends) -> None:
    async def work() -> list[Any]:
        models = manager(root, async_threads=3)
        calls = [models.aencode(f"text {number}", "two") for number in range(40)]
        return await asyncio.gather(*calls, models.aencode([None]), return_exceptions=True)  # type: ignore[list-item]

    *vectors, error = asyncio.run(work())
    assert isinstance(error, InvalidInputError)
    assert all(vector.shape == (8,) for vector in vectors)
    assert backends.made.count("two/torch-fp32") == 1


def test_a_load_that_hangs_ends_at_the_deadline_and_is_not_started_again(root: Path, backends: Backends) -> None:
    backends.hold = threading.Event()
    models = manager(root)
    models.names()  # opens the bundle, which has the deadline to itself
    object.__setattr__(models.config, "timeout", 1.0)
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(TimeoutError, match=r"two/torch-fp32 .* did not finish"):
            models.encode("a", "two")
    assert time.monotonic() - started < SECONDS
    assert backends.made == ["two/torch-fp32"]
    object.__setattr__(models.config, "timeout", SECONDS)
    backends.hold.set()
    models.encode("a", "two")
    assert backends.made == ["two/torch-fp32"]


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

    monkeypatch.setattr(loads, "load_backend", make)
    models = manager(root, timeout=3)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"one/onnx-fp32 .* did not finish"):
        models.encode("a", "one")
    assert time.monotonic() - started < 4.5
    leave.set()


def test_queries_and_documents_have_their_prompts_and_are_counted(tmp_path: Path, backends: Backends) -> None:
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model("one", prompts={"query": "q: ", "document": "d: "})], default="one")
    models = manager(root)
    expected = {name: FakeBackend().vector("a", f"{name[0]}: ") for name in ("query", "document")}
    plain: dict[str, Any] = {"normalize_embeddings": False}
    assert np.array_equal(models.encode_query("a", **plain), expected["query"])
    assert np.array_equal(models.encode_document(["a"], **plain)[0], expected["document"])

    async def work() -> None:
        assert np.array_equal(await models.aencode_query("a", **plain), expected["query"])
        assert np.array_equal(await models.aencode_document("a", **plain), expected["document"])

    asyncio.run(work())
    assert models.stats().models["one"].calls == 4
    make_writable(root)


def test_whether_it_is_loaded(root: Path, backends: Backends) -> None:
    models = manager(root)
    assert not models.is_loaded("uno")
    models.encode("a", "uno")
    assert models.is_loaded("uno")
    assert not models.is_loaded("two")
    models.unload("uno")
    assert not models.is_loaded("uno")


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
