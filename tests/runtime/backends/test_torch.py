"""The reference backend, compared with plain sentence-transformers on the same files."""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support import tiny_models
from tests.support.bundles import (
    FakeBackend,
    copy_bundle,
    embedding_of,
    make_bundle,
    make_writable,
    tiny_plan,
)
from tests.support.checkpoints import make_sentencepiece_model, make_unmarked_model, with_token, without
from tests.support.hub_simulator import SilentServer
from tests.support.tiny_models import MIXED_TEXTS
from thoth_models import (
    BackendError,
    BackendUnavailableError,
    EnvironmentFault,
    InvalidInputError,
    ModelUnavailableError,
    OfflineViolation,
    load_embedding,
)
from thoth_models.backends.checkpoint.unused import WITHOUT_ROW
from thoth_models.backends.torch import TorchBackend
from thoth_models.verification.verify import open_bundle, verify_variant

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tiny_models import TinyModel
    from thoth_models.verification.verify import VerifiedVariant

NAMES = ("mini", "multilingual", "prompted", "half")
TOLERANCE = 1e-6


def verified(root: Path, name: str = "mini") -> VerifiedVariant:
    bundle = open_bundle(root)
    model = bundle.manifest.models[name]
    assert model.built is not None
    return verify_variant(bundle, model, model.built, model.built.variants[0])


def plain(tiny: TinyModel) -> Any:
    """Load as a user without this project would, in the number format that this project promises."""
    import torch

    return tiny.plain(model_kwargs={"dtype": torch.float32})


@pytest.mark.torch
def test_the_tiny_models_are_the_same_every_time(tiny_models_by_name: dict[str, TinyModel], tmp_path: Path) -> None:
    for name, make in (
        ("mini", tiny_models.make_wordpiece_model),
        ("multilingual", tiny_models.make_unigram_model),
        ("prompted", tiny_models.make_prompted_model),
        ("half", tiny_models.make_half_model),
    ):
        again = make(tmp_path / name)
        first = tiny_models_by_name[name].directory
        paths = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
        assert paths == sorted(
            path.relative_to(again.directory) for path in again.directory.rglob("*") if path.is_file()
        )
        changed = [path for path in paths if (first / path).read_bytes() != (again.directory / path).read_bytes()]
        assert changed == [], name
        assert {path.suffix for path in paths} == {".json", ".safetensors"}


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_those_of_plain_sentence_transformers(
    tiny_bundle: Path, tiny_models_by_name: dict[str, TinyModel], name: str
) -> None:
    embedding = load_embedding(name, root=tiny_bundle)
    reference = plain(tiny_models_by_name[name])
    texts = list(MIXED_TEXTS)
    assert embedding.max_seq_length == reference.max_seq_length
    for method in ("encode", "encode_query", "encode_document"):
        for options in (
            {"normalize_embeddings": True},
            {"normalize_embeddings": False},
            {"prompt": "title: ", "normalize_embeddings": False},
            {"prompt": "", "normalize_embeddings": False},
            {"prompt_name": "document", "normalize_embeddings": False},
            {"batch_size": 5, "truncate_dim": 7, "normalize_embeddings": True},
        ):
            found = getattr(embedding, method)(texts, **options)
            expected = getattr(reference, method)(texts, **options)
            assert found.dtype == np.float32
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() <= TOLERANCE, (method, options)
    assert np.abs(embedding.encode("water") - embedding.encode(["water"])[0]).max() <= TOLERANCE
    assert embedding.encode([]).shape == (0, tiny_models.DIMENSION)


@pytest.mark.torch
def test_vectors_are_unit_length_unless_the_list_says_otherwise(tiny_bundle: Path) -> None:
    lengths = {
        name: np.linalg.norm(load_embedding(name, root=tiny_bundle).encode(list(MIXED_TEXTS)), axis=1)
        for name in ("mini", "multilingual", "prompted")
    }
    assert np.allclose(lengths["mini"], 1)
    assert np.allclose(lengths["multilingual"], 1)  # the published model has no Normalize module
    assert not np.allclose(lengths["prompted"], 1)
    raw = load_embedding("multilingual", root=tiny_bundle).encode(list(MIXED_TEXTS), normalize_embeddings=False)
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1)


@pytest.mark.torch
def test_prompts_that_sentence_transformers_adds_itself(tmp_path: Path, prompted_model: TinyModel) -> None:
    """Without a document prompt in the files the library adds an empty one, and passes "passage" over."""
    directory = copy_bundle(prompted_model.directory, tmp_path / "model")
    settings = json.loads((directory / "config_sentence_transformers.json").read_bytes())
    settings["prompts"] = {"passage": "passage: ", "clustering": "cluster: "}
    settings["default_prompt_name"] = "clustering"
    (directory / "config_sentence_transformers.json").write_text(json.dumps(settings), encoding="utf-8")
    tiny = type(prompted_model)(directory, max_seq_length=48, pooling="cls", has_normalize=False)
    make_bundle(tmp_path / "bundle", [tiny_plan("mini", tiny, normalize=False)], default="mini")
    embedding, reference = load_embedding(root=tmp_path / "bundle"), plain(tiny)
    for method in ("encode", "encode_query", "encode_document"):
        found, expected = getattr(embedding, method)("water"), getattr(reference, method)("water")
        assert np.abs(found - expected).max() <= TOLERANCE, method
    assert np.abs(embedding.encode("water") - embedding.encode_document("water")).max() > TOLERANCE
    make_writable(tmp_path / "bundle")


@pytest.mark.torch
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_weights_run_in_fp32(tmp_path: Path, precision: str) -> None:
    tiny = tiny_models.make_half_model(tmp_path / "model", precision)
    stored = {str(parameter.dtype) for parameter in tiny.plain().parameters()}
    assert stored == {f"torch.{precision}"}
    make_bundle(tmp_path / "bundle", [tiny_plan("half", tiny)])
    backend = TorchBackend(verified(tmp_path / "bundle", "half"))
    assert {str(parameter.dtype) for parameter in backend._model.parameters()} == {"torch.float32"}
    found = backend.encode(["water"], prompt=None, batch_size=1, show_progress_bar=False)
    assert np.abs(found - plain(tiny).encode(["water"])).max() <= TOLERANCE


@pytest.mark.torch
def test_threads_may_encode_at_once(tiny_bundle: Path) -> None:
    embedding = load_embedding("mini", root=tiny_bundle)
    # Texts of different lengths: each caller changes the tokenizer's padding.
    inputs = [["water " * (index + 1), "bread"] for index in range(8)]
    expected = [embedding.encode(texts) for texts in inputs]
    results: list[Any] = [None] * len(inputs)
    errors: list[Exception] = []
    start = threading.Barrier(len(inputs))

    def work(index: int) -> None:
        try:
            start.wait(30)
            for _ in range(5):
                results[index] = embedding.encode(inputs[index])
        except Exception as error:  # noqa: BLE001 - reported by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    for found, wanted in zip(results, expected, strict=True):
        assert np.abs(found - wanted).max() <= TOLERANCE


@pytest.mark.torch
@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarity_is_that_of_sentence_transformers(tiny_bundle: Path, measure: str) -> None:
    from dataclasses import replace

    from sentence_transformers.util import SimilarityFunction

    from tests.support.bundles import invented_model

    vectors = load_embedding("multilingual", root=tiny_bundle).encode(list(MIXED_TEXTS), normalize_embeddings=False)
    embedding = embedding_of(replace(invented_model("mini"), similarity=measure), FakeBackend())
    function: Any = SimilarityFunction.to_similarity_fn(measure)
    expected = function(vectors[:7], vectors[3:]).numpy()
    found = embedding.similarity(vectors[:7], vectors[3:])
    assert found.shape == expected.shape == (7, len(vectors) - 3)
    # dot products and distances of vectors that are several units long
    assert np.abs(found - expected).max() <= TOLERANCE * max(1.0, float(np.abs(expected).max()))


# --- refusals ---


@pytest.mark.hostile
@pytest.mark.torch
@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"dimension": 31}, r"dimension: expected 31 \(the manifest\), found 32"),
        ({"max_seq_length": 65}, r"max_seq_length: expected 65 \(the manifest\), found 64"),
    ],
)
def test_a_model_that_is_not_the_one_of_the_manifest(
    tmp_path: Path, wordpiece_model: TinyModel, stated: dict[str, Any], message: str
) -> None:
    """Though its space is the one of these files with what the manifest says of them."""
    root = tmp_path / "bundle"
    make_bundle(root, [replace(tiny_plan("mini", wordpiece_model), **stated)])
    with pytest.raises(ModelUnavailableError, match=message):
        load_embedding("mini", root=root)
    make_writable(root)


@pytest.mark.hostile
@pytest.mark.torch
def test_files_that_make_no_model(tmp_path: Path, wordpiece_model: TinyModel) -> None:
    for number, (name, content) in enumerate({"model.safetensors": b"no weights", "modules.json": b"[]"}.items()):
        model = copy_bundle(wordpiece_model.directory, tmp_path / f"model{number}")
        (model / name).write_bytes(content)
        broken = type(wordpiece_model)(model, max_seq_length=64, pooling="mean", has_normalize=True)
        root = tmp_path / f"bundle{number}"
        make_bundle(root, [tiny_plan("mini", broken)])
        # Verified, because that is what was built; and still no model.
        with pytest.raises(ModelUnavailableError, match=r"sentence-transformers could not load the model|expected 32"):
            load_embedding("mini", root=root)


@pytest.mark.hostile
@pytest.mark.torch
def test_a_model_without_some_of_its_weights_is_refused(tmp_path: Path, wordpiece_model: TinyModel) -> None:
    """Also one that was built without torch: nothing has loaded it before."""
    lost = without(wordpiece_model, tmp_path / "lost", "encoder.layer.1.output.dense.")
    make_bundle(tmp_path / "bundle", [tiny_plan("mini", lost)])
    found = r"found none for 2: encoder\.layer\.1\.output\.dense\.bias, encoder\.layer\.1\.output\.dense\.weight"
    with pytest.raises(ModelUnavailableError, match=rf"Transformer \(bert\): expected weights .*{found}"):
        load_embedding("mini", root=tmp_path / "bundle")


@pytest.mark.hostile
@pytest.mark.torch
def test_a_tokenizer_that_makes_ids_without_a_row_is_refused(tmp_path: Path, wordpiece_model: TinyModel) -> None:
    make_bundle(tmp_path / "bundle", [tiny_plan("mini", with_token(wordpiece_model, tmp_path / "model", "[E1]"))])
    with pytest.raises(ModelUnavailableError, match=r"found 1: '\[E1\]' with id \d+"):
        load_embedding("mini", root=tmp_path / "bundle")


@pytest.mark.torch
def test_a_model_without_tokenizer_json_is_loaded(tmp_path: Path) -> None:
    """From the SentencePiece model that it was published with, by what the extra `torch` brings."""
    tiny = make_sentencepiece_model(tmp_path / "model", "XLMRoberta")
    make_bundle(tmp_path / "bundle", [replace(tiny_plan("mini", tiny), normalize=False)])
    found = load_embedding("mini", root=tmp_path / "bundle").encode(["water", "日本語の水"])
    assert np.abs(found - plain(tiny).encode(["water", "日本語の水"])).max() <= TOLERANCE


@pytest.mark.torch
def test_a_text_that_makes_the_library_fail_is_named(
    tmp_path: Path, wordpiece_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WITHOUT_ROW, "bert", {"[E1]": "a token of the reviewed list"})
    make_bundle(tmp_path / "bundle", [tiny_plan("mini", with_token(wordpiece_model, tmp_path / "model", "[E1]"))])
    embedding = load_embedding("mini", root=tmp_path / "bundle")
    texts = ["water " * (index % 7) for index in range(50)]
    assert embedding.encode(texts).shape == (50, 32)
    texts[37] = "water [E1]"
    with pytest.raises(BackendError, match=r"^texts\[37\]: sentence-transformers failed: IndexError: "):
        embedding.encode(texts)


@pytest.mark.torch
def test_a_text_without_tokens_is_named(tmp_path: Path) -> None:
    unmarked = make_unmarked_model(tmp_path / "model")
    make_bundle(tmp_path / "bundle", [tiny_plan("mini", unmarked)])
    embedding = load_embedding("mini", root=tmp_path / "bundle")
    assert embedding.encode(["water", " "]).shape == (2, 32)
    with pytest.raises(InvalidInputError, match=r"^texts\[2\]: expected at least one token, found none"):
        embedding.encode(["water", " ", ""])
    assert embedding.encode(["water", ""], prompt="query: ").shape == (2, 32)
    # What the library does: of such a text it has no vector.
    with pytest.raises(RuntimeError, match="0 elements"):
        plain(unmarked).encode([""])


@pytest.mark.hostile
@pytest.mark.torch
def test_pickled_weights_are_never_read(tmp_path: Path, wordpiece_model: TinyModel) -> None:
    model = copy_bundle(wordpiece_model.directory, tmp_path / "model")
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    pickled = type(wordpiece_model)(model, max_seq_length=64, pooling="mean", has_normalize=True)
    make_bundle(tmp_path / "bundle", [tiny_plan("mini", pickled)])
    with pytest.raises(ModelUnavailableError, match="sentence-transformers could not load the model"):
        load_embedding("mini", root=tmp_path / "bundle")


def test_libraries_that_are_not_installed(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(BackendUnavailableError, match=r"install thoth-models\[torch\]"):
        TorchBackend(verified(bundle))
    with pytest.raises(ModelUnavailableError, match=r"mini/torch-fp32: .* install thoth-models\[torch\]"):
        load_embedding("mini", root=bundle, variants=["torch-fp32"], same_space=True)


@pytest.mark.hostile
@pytest.mark.torch
def test_a_library_that_reaches_for_the_network(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_arguments: object, **_options: object) -> None:
        socket.create_connection(("127.0.0.1", 9), timeout=5)

    monkeypatch.setattr("sentence_transformers.SentenceTransformer", connect)
    with pytest.raises(OfflineViolation, match=r"127\.0\.0\.1") as caught:
        load_embedding("mini", root=tiny_bundle)
    assert caught.value.__cause__ is None  # as it was raised, not an error of the backend made into one


@pytest.mark.torch
def test_what_the_library_is_told(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sentence_transformers

    real: Any = sentence_transformers.SentenceTransformer
    calls: list[tuple[str, dict[str, Any]]] = []

    def record(path: str, **options: Any) -> Any:
        calls.append((path, options))
        return real(path, **options)

    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", record)
    TorchBackend(verified(tiny_bundle))
    [(path, options)] = calls
    # Absolute: a relative path is also a valid repository id.
    assert path == str(tiny_bundle.resolve() / "mini/source")
    assert (options["device"], options["local_files_only"], options["trust_remote_code"]) == ("cpu", True, False)
    assert options["model_kwargs"]["use_safetensors"] is True


@pytest.mark.hostile
@pytest.mark.torch
def test_a_switch_that_does_not_take_hold(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants
    import sentence_transformers

    made: list[object] = []
    monkeypatch.setattr("thoth_models.backends.torch.enforce_offline", lambda: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", lambda *_arguments, **_options: made.append(1))
    with pytest.raises(OfflineViolation, match="HF_HUB_OFFLINE to be True, found False"):
        TorchBackend(verified(tiny_bundle))
    assert made == []


@pytest.mark.torch
def test_no_prompt_means_none_whatever_the_files_say(tiny_bundle: Path, prompted_model: TinyModel) -> None:
    backend, reference = TorchBackend(verified(tiny_bundle, "prompted")), plain(prompted_model)
    assert reference.default_prompt_name == "query"
    for prompt in (None, ""):
        found = backend.encode(["water"], prompt=prompt, batch_size=1, show_progress_bar=False)
        assert np.abs(found - reference.encode(["water"], prompt="")).max() <= TOLERANCE


@pytest.mark.torch
def test_callers_take_turns(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokenizers may refuse a second caller while their padding changes; when they do depends on the release."""
    backend = TorchBackend(verified(tiny_bundle))
    inside, most = 0, 0

    class Model:
        def encode(self, texts: list[str], **_options: object) -> Any:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)
            inside -= 1
            return np.zeros((len(texts), 32), np.float32)

    monkeypatch.setattr(backend, "_model", Model())
    options: dict[str, Any] = {"prompt": None, "batch_size": 1, "show_progress_bar": False}
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda text: backend.encode([text], **options), "abcdefgh"))) == 8
    assert most == 1


# --- row 19: one tokenizer, two threads ---

LENGTHS = ["water", "river " * 40, "a b c", "house bread " * 90, "x"]


def hammer(encode: Callable[[list[str]], Any], seconds: float) -> list[str]:
    """Encode texts of mixed lengths in four threads at once, and return the errors."""
    errors: list[str] = []
    until = time.monotonic() + seconds

    def work(first: int) -> None:
        turn = first
        while time.monotonic() < until and not errors:
            turn += 1
            try:
                encode(LENGTHS[turn % 5 :] + LENGTHS[: turn % 3])
            except Exception as error:  # noqa: BLE001 - whatever the library says
                errors.append(f"{type(error).__name__}: {error}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    return errors


@pytest.mark.torch
def test_threads_with_texts_of_mixed_lengths_do_not_meet_in_the_tokenizer(
    tiny_bundle: Path, wordpiece_model: TinyModel
) -> None:
    embedding, reference = load_embedding("mini", root=tiny_bundle), plain(wordpiece_model)
    expected = {text: reference.encode(text) for text in LENGTHS}
    right: list[bool] = []

    def encode(texts: list[str]) -> None:
        vectors = embedding.encode(texts)
        right.append(
            all(np.abs(vector - expected[text]).max() < 1e-5 for text, vector in zip(texts, vectors, strict=True))
        )

    assert hammer(encode, 2) == []
    assert len(right) > 8
    assert all(right)


@pytest.mark.torch
def test_control_threads_meet_in_the_tokenizer(wordpiece_model: TinyModel) -> None:
    started = time.monotonic()
    errors = hammer(plain(wordpiece_model).encode, 5)
    if not errors:
        pytest.skip(f"plain sentence-transformers no longer fails: nothing within {time.monotonic() - started:.1f} s")
    assert "borrowed" in errors[0].lower()


# --- threads ---


@pytest.mark.torch
@pytest.mark.parametrize(
    ("stated", "usable", "counts"),
    [(None, 1, (4, 1)), (None, 8, (4, 4)), (None, 8, (1, 1)), ("3", 1, (1, 3)), ("2", 8, (4, 2))],
)
def test_as_many_threads_as_the_quota_allows_or_the_environment_says(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, stated: str | None, usable: int, counts: tuple[int, int]
) -> None:
    """Never more than the application chose, unless it is said."""
    import torch

    before, after = counts

    monkeypatch.delenv("THOTH_MODELS_THREADS", raising=False)
    if stated is not None:
        monkeypatch.setenv("THOTH_MODELS_THREADS", stated)
    monkeypatch.setattr("thoth_models.backends.torch.usable_cores", lambda: usable)
    found = torch.get_num_threads()
    torch.set_num_threads(before)
    try:
        backend = TorchBackend(verified(tiny_bundle))
        assert backend._thread.submit(torch.get_num_threads).result() == after
        # The application's own threads that have used torch keep what they have.
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(found)


@pytest.mark.torch
def test_a_wrong_number_of_threads(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_MODELS_THREADS", "many")
    with pytest.raises(EnvironmentFault, match="THOTH_MODELS_THREADS: expected an integer"):
        load_embedding("mini", root=tiny_bundle)


# --- row 18: memory ---


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> tuple[TorchBackend, list[tuple[int, int]]]:
    """A backend, and how many texts it gives the library at once, with which batch size."""
    backend = TorchBackend(verified(tiny_bundle))
    seen: list[tuple[int, int]] = []
    real: Any = backend._model.encode

    def encode(texts: list[str], **options: Any) -> Any:
        seen.append((len(texts), options["batch_size"]))
        return real(texts, **options)

    monkeypatch.setattr(backend._model, "encode", encode)
    return backend, seen


@pytest.mark.hostile
@pytest.mark.torch
def test_a_huge_batch_of_long_texts_is_divided(calls: tuple[TorchBackend, list[tuple[int, int]]]) -> None:
    backend, seen = calls
    # The model takes 64 tokens at most, so that 128 texts may run at once, whatever the caller asks for.
    texts = ["water river house " * 100, *["bread water " * 100] * 299]
    options: dict[str, Any] = {"prompt": None, "show_progress_bar": False}
    vectors = backend.encode(texts, batch_size=10_000, **options)
    assert seen == [(128, 10_000), (128, 10_000), (44, 10_000)]
    expected = backend.encode(texts, batch_size=1, **options)
    assert np.abs(vectors - expected).max() <= TOLERANCE


@pytest.mark.torch
def test_a_huge_batch_of_mixed_texts_gives_the_same_vectors(
    calls: tuple[TorchBackend, list[tuple[int, int]]], wordpiece_model: TinyModel
) -> None:
    backend, seen = calls
    texts = [text for text in MIXED_TEXTS for _ in range(40)]
    vectors = backend.encode(texts, prompt=None, batch_size=len(texts), show_progress_bar=False)
    assert len(seen) > 1
    assert sum(count for count, _batch_size in seen) == len(texts)
    assert np.abs(vectors - plain(wordpiece_model).encode(texts)).max() <= TOLERANCE


@pytest.mark.torch
@pytest.mark.parametrize("batch_size", [None, 16])
def test_what_is_small_enough_is_left_to_the_library(
    calls: tuple[TorchBackend, list[tuple[int, int]]], batch_size: int | None
) -> None:
    backend, seen = calls
    backend.encode(["water " * 100] * 300, prompt=None, batch_size=batch_size, show_progress_bar=False)
    assert seen == [(300, batch_size or 32)]


@pytest.mark.torch
def test_texts_are_given_to_the_library_in_blocks(
    calls: tuple[TorchBackend, list[tuple[int, int]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    backend, seen = calls
    monkeypatch.setattr("thoth_models.backends.torch._MAX_TEXTS", 100)
    texts = [f"water {number}" for number in range(250)]
    vectors = backend.encode(texts, prompt=None, batch_size=None, show_progress_bar=False)
    assert [count for count, _batch_size in seen] == [100, 100, 50]
    assert (
        np.abs(vectors - backend.encode(texts, prompt=None, batch_size=7, show_progress_bar=False)).max() <= TOLERANCE
    )
    monkeypatch.setattr("thoth_models.backends.torch._MAX_TOKENS", 64)
    backend.encode(texts, prompt=None, batch_size=None, show_progress_bar=True)
    assert capsys.readouterr().err.endswith("encoded 250 of 250 texts\n")


@pytest.mark.torch
@pytest.mark.parametrize("prompt", [None, "water "])
def test_the_library_tokenises_few_long_texts_at_once(
    calls: tuple[TorchBackend, list[tuple[int, int]]], monkeypatch: pytest.MonkeyPatch, prompt: str | None
) -> None:
    backend, seen = calls
    texts = ["water " * 20, "bread", "river " * 20, "house " * 20, "city"]
    expected = backend.encode(texts, prompt=prompt, batch_size=1, show_progress_bar=False)
    seen.clear()
    monkeypatch.setattr("thoth_models.backends.torch.MAX_CHARACTERS", 250)
    vectors = backend.encode(texts, prompt=prompt, batch_size=None, show_progress_bar=False)
    assert [count for count, _batch_size in seen] == ([2, 3] if prompt is None else [1, 1, 3])
    assert np.abs(vectors - expected).max() <= TOLERANCE


class PanicException(BaseException):
    pass


@pytest.mark.torch
@pytest.mark.parametrize("message", ["ThreadPoolBuildError { kind: IOError }", "index out of range"])
def test_a_panic_of_the_tokenizer(
    calls: tuple[TorchBackend, list[tuple[int, int]]], monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    backend, _ = calls
    real: Any = backend._model.encode

    def encode(texts: list[str], **options: Any) -> Any:
        if os.environ["TOKENIZERS_PARALLELISM"] != "false":
            raise PanicException(message)
        return real(texts, **options)

    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    monkeypatch.setattr(backend._model, "encode", encode)
    options: dict[str, Any] = {"prompt": None, "batch_size": None, "show_progress_bar": False}
    if message.startswith("Thread"):
        assert backend.encode(["water"], **options).shape == (1, backend._dimension)
    else:
        found = r"^texts\[0\]: sentence-transformers failed: PanicException: index out of range$"
        with pytest.raises(BackendError, match=found):
            backend.encode(["water"], **options)


@pytest.mark.torch
def test_the_thread_ends_with_the_backend(tiny_bundle: Path) -> None:
    def running() -> int:
        return sum(thread.name.startswith("thoth-models-torch") for thread in threading.enumerate())

    gc.collect()
    deadline, before = time.monotonic() + 30, running()
    backend = TorchBackend(verified(tiny_bundle))
    backend.encode(["water"], prompt=None, batch_size=None, show_progress_bar=False)
    assert running() > 0
    del backend
    while running() > before and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert running() <= before


@pytest.mark.torch
def test_the_progress_bar_setting_is_left_as_it_was(tiny_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging as untyped_logging

    logging: Any = untyped_logging
    was_enabled = logging.is_progress_bar_enabled()
    try:
        for enabled in (True, False):
            (logging.enable_progress_bar if enabled else logging.disable_progress_bar)()
            load_embedding("mini", root=tiny_bundle)
            assert logging.is_progress_bar_enabled() is enabled
    finally:
        (logging.enable_progress_bar if was_enabled else logging.disable_progress_bar)()
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "%|" not in captured.err


# --- offline, in a process of its own ---

_SCRIPT = """
import json, os, sys
if "before" in sys.argv:
    import huggingface_hub, sentence_transformers
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False
import thoth_models
embedding = thoth_models.load_embedding("mini", root=".", timeout=100)
vector = embedding.encode("water")
import huggingface_hub, transformers.utils.hub
print(json.dumps({
    "offline": huggingface_hub.constants.HF_HUB_OFFLINE,
    "transformers": transformers.utils.hub.is_offline_mode(),
    "vector": vector.tolist(),
}))
"""


@pytest.mark.hostile
@pytest.mark.torch
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_relative_root_with_a_silent_hub(
    tiny_bundle: Path,
    wordpiece_model: TinyModel,
    run_python: Callable[..., subprocess.CompletedProcess[str]],
    order: str,
    tmp_path: Path,
) -> None:
    assert find_spec("huggingface_hub") is not None
    with SilentServer() as server:
        environment = {
            "HF_ENDPOINT": server.endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
            "TRANSFORMERS_OFFLINE": "0",
        }
        done = run_python("-c", _SCRIPT, order, environment=environment, directory=tiny_bundle)
        assert server.accepted == 0
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["offline"], answer["transformers"]) == (True, True)
    assert np.abs(np.array(answer["vector"]) - plain(wordpiece_model).encode("water")).max() <= TOLERANCE
