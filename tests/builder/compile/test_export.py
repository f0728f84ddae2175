"""Graphs that say what sentence-transformers says: every pooling, module and encoder, at every length, in any batch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.exported import MAKERS, POOLING_MODES
from tests.support.long_models import LONG_MODELS
from tests.support.plain_runtime import PlainRuntime, cosines
from tests.support.tiny_models import DIMENSION, MIXED_TEXTS, PREFIXES
from thoth_models_builder.compile.errors import NotExportableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from tests.support.exported import Exported
    from tests.support.tiny_models import TinyModel

pytestmark = [pytest.mark.torch, pytest.mark.onnx]

TEXTS = list(MIXED_TEXTS)
COSINE = 0.99999
WITHOUT_PROMPT = "all poolings without prompt"


def parts(vectors: NDArray[np.float32], dimension: int) -> Iterator[NDArray[np.float32]]:
    """Yield what each pooling mode gave, since one wrong part hides in the cosine of the whole."""
    width = DIMENSION if dimension == DIMENSION * len(POOLING_MODES) else dimension
    for start in range(0, dimension, width):
        yield vectors[:, start : start + width]


# --- the same vectors ---


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("name", MAKERS)
def test_the_graph_gives_the_vectors_of_the_library(
    exported: Callable[[str], Exported], name: str, batch_size: int
) -> None:
    made = exported(name)
    runtime, plain = PlainRuntime(made.directory / "model.onnx"), made.plain()
    prompts = ["", *PREFIXES.values()] if made.plain().prompts.get("query") else [""]
    for prompt in prompts:
        expected = plain.encode(TEXTS, prompt=prompt)
        found = runtime.encode(TEXTS, prompt=prompt, batch_size=batch_size)
        assert found.shape == (len(TEXTS), made.model.dimension)
        assert found.dtype == np.float32
        for one, other in zip(parts(found, made.model.dimension), parts(expected, made.model.dimension), strict=True):
            assert cosines(one, other).min() >= COSINE
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["wordpiece", "roberta", "mpnet", "xlm-roberta", "modernbert", "qwen3"])
def test_every_length_up_to_the_maximum_is_right(exported: Callable[[str], Exported], name: str) -> None:
    made = exported(name)
    runtime, limit = PlainRuntime(made.directory / "model.onnx"), made.model.max_seq_length
    assert limit is not None
    texts = [" ".join(["river"] * count) for count in range(limit + 3)]
    lengths = {len(encoding.ids) for encoding in runtime.tokenizer.encode_batch(texts)}
    assert max(lengths) == limit
    assert cosines(runtime.encode(texts), made.plain().encode(texts)).min() >= COSINE


def test_one_token_alone(exported: Callable[[str], Exported]) -> None:
    """The tokenizer of this one adds one token, so an empty text is the shortest that there is."""
    made = exported("qwen3")
    runtime = PlainRuntime(made.directory / "model.onnx")
    assert len(runtime.tokenizer.encode("").ids) == 1
    assert cosines(runtime.encode([""]), made.plain().encode([""])).min() >= COSINE


def test_of_static_embeddings_a_text_without_tokens_gives_zeros(exported: Callable[[str], Exported]) -> None:
    made = exported("static")
    runtime = PlainRuntime(made.directory / "model.onnx")
    assert runtime.tokenizer.encode("", add_special_tokens=False).ids == []
    assert not made.plain().encode([""]).any()
    # Alone, where the graph gets an axis of length zero, and beside others, where all that it gets is padding.
    assert not runtime.encode(["", ""], batch_size=2).any()
    beside = runtime.encode(["", "water"], batch_size=2)
    assert not beside[0].any()
    assert beside[1].any()


# --- what makes a difference ---


def test_the_prompt_is_left_out_of_pooling(exported: Callable[[str], Exported]) -> None:
    made = exported(WITHOUT_PROMPT)
    runtime = PlainRuntime(made.directory / "model.onnx")
    assert "pooling_mask" in runtime.settings["inputs"]
    left_out = runtime.encode(TEXTS, prompt="query: ")
    runtime.settings["excludes_prompt"] = False
    for mode, one, other in zip(
        POOLING_MODES,
        parts(left_out, made.model.dimension),
        parts(runtime.encode(TEXTS, prompt="query: "), made.model.dimension),
        strict=True,
    ):
        # The last token is the same, whatever is left out at the beginning.
        assert (cosines(one, other).min() >= COSINE) == (mode == "lasttoken")


def test_half_precision_is_not_what_is_exported(exported: Callable[[str], Exported]) -> None:
    """The library on its own computes in the precision of the file; the graph must not."""
    made = exported("bfloat16")
    rounded = made.model.plain().encode(TEXTS)
    found = PlainRuntime(made.directory / "model.onnx").encode(TEXTS)
    assert np.abs(found - rounded).max() > 1e-4
    assert np.abs(found - made.plain().encode(TEXTS)).max() < 1e-5


def test_the_exporter_is_not_heard(
    wordpiece_model: TinyModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = reference(wordpiece_model)
    capfd.readouterr()
    exported_graph(model, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_the_exporter_is_not_heard_where_it_fails(
    wordpiece_model: TinyModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = with_activation(wordpiece_model, lambda values: values if values.sum() > 0 else -values)
    refusal(model, tmp_path)
    assert capfd.readouterr() == ("", "")


# --- refusals ---


def reference(model: TinyModel) -> SentenceTransformer:
    from thoth_models_builder.compile.export import load_reference

    return load_reference(model.directory)


def exported_graph(model: SentenceTransformer, directory: Path) -> Path:
    from thoth_models_builder.compile.export import export_graph

    export_graph(model, directory / "raw.onnx")
    return directory / "raw.onnx"


def refusal(model: SentenceTransformer, directory: Path) -> str:
    with pytest.raises(NotExportableError) as caught:
        exported_graph(model, directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_activation(model: TinyModel, function: Callable[[Any], Any]) -> SentenceTransformer:
    """Return the model with a Dense behind it, whose activation is ``function``."""
    import torch
    from sentence_transformers.base.modules import Dense

    class Activation(torch.nn.Module):
        def forward(self, values: Any) -> Any:
            return function(values)

    loaded = reference(model)
    loaded.append(Dense(DIMENSION, DIMENSION, activation_function=Activation()))
    return loaded


def test_a_module_of_another_kind_is_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import LSTM

    model = reference(wordpiece_model)
    model.append(LSTM(DIMENSION, 8))
    assert refusal(model, tmp_path) == (
        "module 3: expected one of Transformer, StaticEmbedding, Pooling, Dense, LayerNorm, Dropout, Normalize, "
        "found sentence_transformers.sentence_transformer.modules.lstm.LSTM"
    )


@pytest.mark.hostile
def test_a_module_that_only_looks_like_one_of_the_library_is_refused(
    wordpiece_model: TinyModel, tmp_path: Path
) -> None:
    from sentence_transformers.base.modules import Normalize

    class Twisted(Normalize):
        pass

    model = reference(wordpiece_model)
    model.append(Twisted())
    assert refusal(model, tmp_path).endswith(f"found {__name__}.{Twisted.__qualname__}")


@pytest.mark.hostile
def test_an_encoder_of_the_models_own_is_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    model = reference(wordpiece_model)
    own = type("OwnModel", (type(model[0].model),), {"__module__": "modeling_own"})
    model[0].model.__class__ = own
    assert refusal(model, tmp_path) == (
        "module 0: expected an encoder of the transformers library, found modeling_own.OwnModel"
    )


def test_a_step_that_depends_on_the_data_is_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    model = with_activation(wordpiece_model, lambda values: values if values.sum() > 0 else -values)
    assert refusal(model, tmp_path).startswith(
        "transformers.models.bert.modeling_bert.BertModel: GuardOnDataDependentSymNode: "
    )


def test_a_step_that_burns_the_batch_in_is_refused(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    model = with_activation(wordpiece_model, lambda values: values * int(values.shape[0]))
    assert refusal(model, tmp_path).startswith("transformers.models.bert.modeling_bert.BertModel: ")


def test_a_graph_that_says_something_else_than_the_modules_is_refused(
    wordpiece_model: TinyModel, tmp_path: Path
) -> None:
    import torch

    # Of the one exporter, and of the other.
    asked: tuple[Any, ...] = (torch.compiler.is_exporting, vars(torch.jit)["is_tracing"])

    def doubles_as_it_is_exported(values: Any) -> Any:
        return values * (2 if any(is_so() for is_so in asked) else 1)

    model = with_activation(wordpiece_model, doubles_as_it_is_exported)
    assert "expected the vectors of the modules from the graph, found a difference of " in refusal(model, tmp_path)


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("window", "tolerance", "is_kept"),
    [(600, None, True), (601, None, False), (601, 1e-3, True)],
    ids=["right", "wrong by a token", "wrong by a token, ten times the tolerance"],
)
def test_a_wrong_window_is_found_beyond_it(
    window: int, tolerance: float | None, *, is_kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thoth_models_builder.compile import export
    from thoth_models_builder.compile.attention import torch_attention

    if tolerance is not None:
        monkeypatch.setattr(export, "_TOLERANCE", tolerance)
    source = LONG_MODELS["modernbert"](tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "local_attention": 1200}))
    right, wrong = torch_attention.Band(600, 600), torch_attention.Band(window, window)
    band_of, bands = torch_attention.band_of, []

    def mistaken(mask_function: Callable[..., Any]) -> torch_attention.Band:
        bands.append(band_of(mask_function))
        return wrong if bands[-1] == right else bands[-1]

    monkeypatch.setattr(torch_attention, "band_of", mistaken)
    model = export.load_reference(source)
    for name, weights in model.named_parameters():
        # Random weights hardly attend to anything.
        weights.data *= 10 if ".attn." in name else 1
    content = exported_graph(model, tmp_path).read_bytes()
    assert right in bands
    # Exported as the library computes it instead.
    assert (b"MultiHeadAttention" in content) == is_kept


def test_a_model_without_the_plain_attention_is_refused(
    wordpiece_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thoth_models_builder.compile.loading import load_checked

    def refuse(*_: Any, **options: Any) -> None:
        raise ValueError(f"no {options['model_kwargs']['attn_implementation']} attention\nand more")

    monkeypatch.setattr(load_checked, "SentenceTransformer", refuse)
    with pytest.raises(NotExportableError, match=r"^cannot be loaded for export: ValueError: no eager attention$"):
        reference(wordpiece_model)


def test_a_lack_of_memory_is_not_a_property_of_the_model(wordpiece_model: TinyModel, tmp_path: Path) -> None:
    def exhaust(_: Any) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        exported_graph(with_activation(wordpiece_model, exhaust), tmp_path)
