"""Managers and embeddings that are copied and pickled, in this process and in those of pools."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import FakeBackend, embedding_of, flip_bit, invented_model, make_bundle, make_writable
from thoth_models import (
    BundleNotFoundError,
    EmbeddingManager,
    FallbackWarning,
    ManagerConfig,
    ModelUnavailableError,
    NotPicklableError,
    SpaceMismatchError,
    VerificationError,
    load_embedding,
)
from thoth_models.process.environment import ROOT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.invented import Backends


@pytest.fixture
def shared(root: Path) -> Iterator[EmbeddingManager]:
    manager = EmbeddingManager.get_instance(ManagerConfig(root=root))
    yield manager
    manager.close()


@pytest.fixture
def other_root(tmp_path: Path) -> Iterator[Path]:
    """The bundle of ``root`` with one more model: the others are the same, and in the same spaces."""
    place = tmp_path / "other"
    make_bundle(place, [invented_model("one", aliases=("uno",)), invented_model("two")], default="one")
    yield place
    make_writable(place)


def sent(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - our own


# --- managers ---


@pytest.mark.usefixtures("backends")
def test_a_manager_of_the_process_is_that_of_the_other_process(shared: EmbeddingManager) -> None:
    assert sent(shared) is shared
    vectors = sent(shared.encode)(["a"], "two")
    assert vectors.shape == (1, 8)
    assert shared.stats().models["two"].calls == 1


def test_cloudpickle_finds_what_a_manager_is_made_with_by_its_name(shared: EmbeddingManager) -> None:
    """Otherwise it pickles that by value, with the locks of its module: Ray and Spark use it."""
    function, _ = shared.__reduce__()
    assert getattr(sys.modules[function.__module__], function.__qualname__) is function


def test_a_closed_manager_is_one_that_works_there(shared: EmbeddingManager) -> None:
    shared.close()
    there = sent(shared)
    assert not there.is_closed
    there.close()


def test_a_copied_manager_is_the_same(root: Path, shared: EmbeddingManager) -> None:
    own = EmbeddingManager(ManagerConfig(root=root))
    for manager in (own, shared):
        assert copy.copy(manager) is copy.deepcopy({"manager": manager})["manager"] is manager


def test_a_manager_that_was_constructed_says_what_to_pickle_instead(root: Path) -> None:
    with EmbeddingManager(ManagerConfig(root=root)) as manager:
        with pytest.raises(NotPicklableError, match=r"constructed directly .*; pickle EmbeddingManager.get_instance"):
            pickle.dumps(manager)
        with pytest.raises(TypeError):  # as everything that cannot be pickled
            pickle.dumps(manager.encode)


# --- embeddings ---


def test_an_embedding_is_loaded_by_the_manager_at_its_first_use(
    root: Path, shared: EmbeddingManager, backends: Backends
) -> None:
    here = load_embedding("uno", root=root)
    there = sent(here)
    assert repr(there) == f"<Embedding one, space {here.info.space[:12]}, loaded at its first use>"
    assert backends.made == ["one/torch-fp32"]
    assert np.array_equal(there.encode(["a", "b"]), here.encode(["a", "b"]))
    assert repr(there) == repr(here)
    assert (there.info.requested, there.info.space) == ("uno", here.info.space)
    assert there.dimension == 8
    assert shared.is_loaded("one")
    assert backends.made == ["one/torch-fp32"] * 2


def test_a_thousand_tasks_load_it_once(root: Path, backends: Backends) -> None:
    message = pickle.dumps(load_embedding("two", root=root).encode)
    for _ in range(1000):
        pickle.loads(message)("a")  # noqa: S301 - our own
    assert backends.made == ["two/torch-fp32"] * 2  # here, and for the tasks


def test_an_embedding_of_a_manager_comes_from_it_there_as_well(shared: EmbeddingManager, backends: Backends) -> None:
    with shared.use("two") as used:
        for here in (used, shared.get_model("two")):
            there = sent(here)
            assert np.array_equal(there.encode("a"), here.encode("a"))
    assert there.encode("a").shape == (8,)  # as one of get_model
    assert backends.made == ["two/torch-fp32"]


@pytest.mark.usefixtures("backends")
def test_it_keeps_the_model_loaded_as_one_of_get_model_does(root: Path, shared: EmbeddingManager) -> None:
    there = sent(load_embedding("two", root=root))
    assert there.dimension == 8
    assert not shared.unload("two")
    del there
    assert shared.unload("two")


def test_the_settings_are_those_of_the_load(root: Path, backends: Backends) -> None:
    there = sent(load_embedding("one", root=root, variants=["onnx-fp32"]))
    assert there.info.variant == "onnx-fp32"
    assert backends.made == ["one/onnx-fp32"] * 2


@pytest.mark.usefixtures("backends")
def test_the_lowest_release_is_that_of_the_load(tmp_path: Path) -> None:
    make_bundle(tmp_path / "seven", [invented_model("one")], default="one", release=7)
    embedding = sent(load_embedding(root=tmp_path / "seven", min_release=7))
    (tmp_path / "seven").rename(tmp_path / "away")
    make_bundle(tmp_path / "seven", [invented_model("one")], default="one", release=6)
    with pytest.raises(VerificationError, match="expected release 7 or a later one, found release 6"):
        embedding.encode("a")


@pytest.mark.parametrize("of", [list, iter], ids=["list", "generator"])
def test_variants_are_those_of_the_call_whatever_becomes_of_the_list(
    root: Path, backends: Backends, of: Callable[[list[str]], Any]
) -> None:
    wanted = ["onnx-fp32"]
    here = load_embedding("one", root=root, variants=of(wanted))
    wanted[:] = ["torch-fp32"]
    assert sent(here).info.variant == "onnx-fp32"


def test_the_settings_are_those_of_the_manager(root: Path, backends: Backends) -> None:
    with EmbeddingManager(ManagerConfig(root=root, variants=["onnx-fp32"])) as manager:
        assert sent(manager.get_model("one")).info.variant == "onnx-fp32"
    assert backends.made == ["one/onnx-fp32"] * 2


@pytest.mark.usefixtures("backends")
def test_without_a_root_the_other_process_has_its_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    EmbeddingManager.get_instance().close()  # the one of another test
    monkeypatch.setenv(ROOT_VARIABLE, str(root))
    message = pickle.dumps(load_embedding())
    monkeypatch.setenv(ROOT_VARIABLE, f"{root}/nowhere")
    with pytest.raises(BundleNotFoundError):
        pickle.loads(message).encode("a")  # noqa: S301 - our own
    EmbeddingManager.get_instance().close()
    monkeypatch.setenv(ROOT_VARIABLE, str(root))
    assert pickle.loads(message).encode("a").shape == (8,)  # noqa: S301
    EmbeddingManager.get_instance().close()


def test_a_relative_root_is_sent_as_an_absolute_one(
    root: Path, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    with EmbeddingManager(ManagerConfig(root=root.name)) as manager:
        messages = [pickle.dumps(one) for one in (load_embedding("two", root=root.name), manager.get_model("two"))]
    monkeypatch.chdir("/")
    for message in messages:
        assert pickle.loads(message).encode("a").shape == (8,)  # noqa: S301 - our own
    assert len(backends.made) == 3


@pytest.mark.hostile
def test_another_bundle_in_another_process_is_refused_before_anything_is_loaded(
    root: Path, other_root: Path, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it has the same model."""
    EmbeddingManager.get_instance().close()
    monkeypatch.setenv(ROOT_VARIABLE, str(root))
    here = load_embedding("two")
    message = pickle.dumps(here)
    monkeypatch.setenv(ROOT_VARIABLE, str(other_root))
    there = pickle.loads(message)  # noqa: S301 - our own
    with pytest.raises(VerificationError) as caught:
        there.encode("a")
    [problem] = caught.value.problems
    assert problem.path == "manifest.json"
    assert here.info.bundle_digest in problem.expected
    assert load_embedding("two").info.space == here.info.space
    assert load_embedding("two").info.bundle_digest in problem.found
    assert caught.value.root == str(other_root)
    assert backends.made == ["two/torch-fp32"] * 3
    EmbeddingManager.get_instance().close()


def test_another_space_is_refused(tmp_path: Path, backends: Backends) -> None:
    """The model cannot be loaded there, and the bundle has an alternate that models.yaml accepts."""
    place = tmp_path / "falling"
    make_bundle(place, [invented_model("one", alternates=(("two", "accept"),)), invented_model("two")], default="one")
    here = load_embedding(root=place)
    there = sent(here)
    backends.broken.add("one/torch-fp32")
    with (
        pytest.warns(FallbackWarning),
        pytest.raises(SpaceMismatchError, match=f"space {here.info.space} .*found") as caught,
    ):
        there.encode("a")
    assert "two/torch-fp32 stands in for 'one'" in str(caught.value)
    manager = EmbeddingManager.get_instance(ManagerConfig(root=place))
    assert manager.unload()  # the refused one is not kept in use
    manager.close()
    make_writable(place)


def test_what_stood_in_here_is_what_answers_there(root: Path, backends: Backends) -> None:
    with pytest.warns(FallbackWarning):
        here = load_embedding("gone", root=root)
    there = sent(here)
    assert (there.info.requested, there.info.model, there.info.space) == ("gone", "two", here.info.space)
    assert there.info.fallback == here.info.fallback is not None
    assert backends.made == ["two/torch-fp32"] * 2


@pytest.mark.hostile
@pytest.mark.usefixtures("backends")
def test_a_changed_file_is_refused_in_another_process_too(root: Path) -> None:
    there = sent(load_embedding("two", root=root))
    flip_bit(root, "two/source/model.safetensors")
    with pytest.raises(ModelUnavailableError, match="changed"):
        there.encode("a")


def test_a_backend_of_the_caller_cannot_be_pickled() -> None:
    with pytest.raises(NotPicklableError, match=r"backend that only this process has \(FakeBackend\); pickle what"):
        pickle.dumps(embedding_of(invented_model("mini"), FakeBackend()))


@pytest.mark.usefixtures("backends")
def test_equal_embeddings_have_equal_pickles(root: Path) -> None:
    """Caches such as joblib's know arguments by the hash of their pickle; the times of loads differ."""
    first, second = load_embedding("two", root=root), load_embedding("two", root=root)
    assert first.info != second.info
    assert pickle.dumps(first) == pickle.dumps(second) == pickle.dumps(sent(first))
    assert pickle.dumps(first) != pickle.dumps(load_embedding("one", root=root))


class Estimator:
    """An estimator of scikit-learn, as a user writes one, without its base classes."""

    def __init__(self, encoder: Any, count: int = 1) -> None:
        self.encoder = encoder
        self.count = count

    def get_params(self, *, deep: bool = True) -> dict[str, Any]:
        return dict(vars(self))


@pytest.mark.torch  # which needs sentence-transformers, and that scikit-learn
@pytest.mark.usefixtures("backends")
def test_clones_of_scikit_learn_share_what_is_loaded(root: Path) -> None:
    from sklearn.base import clone

    with EmbeddingManager(ManagerConfig(root=root)) as own:
        for encoder in (own, own.get_model("two"), load_embedding("two", root=root)):
            cloned = clone(Estimator(encoder, count=2))
            assert (cloned.encoder, cloned.count) == (encoder, 2)


@pytest.mark.torch
@pytest.mark.usefixtures("backends")
def test_the_cache_of_joblib_knows_an_embedding_again(root: Path, tmp_path: Path) -> None:
    from joblib import Memory

    calls: list[str] = []

    def embed(embedding: Any, text: str) -> Any:
        calls.append(text)
        return embedding.encode(text)

    cached = Memory(tmp_path / "cache", verbose=0).cache(embed)
    for _ in range(2):
        vector = cached(load_embedding("two", root=root), "a")
    assert calls == ["a"]
    assert vector.shape == (8,)
    cached(load_embedding("one", root=root), "a")
    assert calls == ["a", "a"]
