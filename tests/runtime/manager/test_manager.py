"""The manager over invented models: what it loads, when, for whom, and what it tells."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.bundles import FakeBackend, invented_model, make_bundle, make_writable
from tests.support.invented import SECONDS, Backends, budget_for, events, manager, size_of
from thoth_models import (
    BackendError,
    EmbeddingManager,
    InvalidInputError,
    ManagerClosedError,
    ManagerConfig,
    ModelUnavailableError,
    UnknownModelError,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


# --- instances ---


def test_one_instance_per_configuration(root: Path, backends: Backends) -> None:
    first = EmbeddingManager.get_instance(ManagerConfig(root=root))
    assert EmbeddingManager.get_instance(ManagerConfig(root=root)) is first
    assert EmbeddingManager.get_instance(ManagerConfig(root=root, same_space=True)) is not first
    assert EmbeddingManager.get_instance(ManagerConfig(root=root, expect_spaces={"one": "a" * 64})) is not first


def test_the_digest_of_the_bundle_is_known_before_a_model_is_loaded(root: Path, backends: Backends) -> None:
    with manager(root) as own:
        digest = own.bundle_digest()
        assert backends.made == []
        assert own.get_model("two").info.bundle_digest == digest


def test_code_that_fills_in_parameters_finds_none() -> None:
    """As ``Depends`` of FastAPI: a request would choose the settings."""
    shown = inspect.signature(EmbeddingManager.get_instance)
    assert (list(shown.parameters), shown.return_annotation) == ([], "EmbeddingManager")


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
    with pytest.raises(ManagerClosedError, match="expected an open manager"):
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
    with pytest.raises(InvalidInputError, match=r"^names: expected an iterable of names, found the one string 'uno'$"):
        models.preload_models("uno")


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
