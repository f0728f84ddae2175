"""Configured source files mean to sentence-transformers itself what the keys say, and so do all variants."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import make_writable
from tests.support.compiled import ALL, LOW
from tests.support.projects import Project, spec_of
from tests.support.tiny_models import MIXED_TEXTS, TinyModel, make_plain_repository
from thoth_models import load_embedding
from thoth_models.bundle.digest import Digest
from thoth_models.verification.verify import verify
from thoth_models_builder.bundle.configure import configure
from thoth_models_builder.bundle.derivation import FP32_COSINE
from thoth_models_builder.bundle.describe import describe
from thoth_models_builder.bundle.model_files import ModelFiles
from thoth_models_builder.spec.key_types import POOLING_MODES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from thoth_models.types import FloatArray

pytestmark = [pytest.mark.torch, pytest.mark.onnx]

PREFIX = "Represent this sentence for searching: "
PROMPTS = {"query": PREFIX, "passage": "passage: "}
TEXTS = [text for text in MIXED_TEXTS if text]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a plain repository of the transformers library; tests must leave it as it is."""
    directory = tmp_path_factory.mktemp("plain") / "repository"
    make_plain_repository(directory)
    return directory


def as_configured(repository: Path, target: Path, **keys: Any) -> TinyModel:
    """Return the directory that a bundle ships for these keys, and what the builder says of it."""
    digests = {
        str(path.relative_to(repository)): Digest.of(path.read_bytes())
        for path in repository.rglob("*")
        if path.is_file()
    }
    model = spec_of({"mini": {"sources": [{"directory": "x"}], **keys}}).models["mini"]
    found = configure(ModelFiles(digests, lambda path: (repository / path).read_bytes()), model)
    shutil.copytree(repository, target)
    for path, data in found.written.items():
        (target / path).parent.mkdir(exist_ok=True)
        (target / path).write_bytes(data)
    facts = describe(found.files)
    return TinyModel(target, facts.max_seq_length, facts.pooling, facts.has_normalize, facts.dimension)


def as_stated(repository: Path, pooling: Any, max_seq_length: int | None = None, **options: Any) -> Any:
    """Return what a user writes in Python for the same, from the repository as it is."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    transformer = Transformer(str(repository), max_seq_length=max_seq_length)
    return SentenceTransformer(modules=[transformer, Pooling(32, pooling)], device="cpu", **options)


def lowest_cosine(expected: FloatArray, found: FloatArray) -> float:
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    return float(((expected * found).sum(axis=1) / lengths).min())


def test_the_modes_are_those_of_the_library() -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    assert sorted(Pooling.POOLING_MODES) == list(POOLING_MODES)


@pytest.mark.parametrize("pooling", [*POOLING_MODES, ["mean", "cls"], ["cls", "mean"], list(POOLING_MODES)])
def test_pooling(repository: Path, tmp_path: Path, pooling: Any) -> None:
    model = as_configured(repository, tmp_path / "model", pooling=pooling)
    plain = model.plain()
    assert plain.get_embedding_dimension() == model.dimension
    assert plain.max_seq_length == model.max_seq_length == 64
    assert np.array_equal(plain.encode(TEXTS), as_stated(repository, pooling).encode(TEXTS))


def test_without_the_key_the_library_would_assume_mean(repository: Path, tmp_path: Path) -> None:
    """What the refusal of such a repository says of the library."""
    assumed = TinyModel(repository, 64, "mean", has_normalize=False).plain()
    stated = as_configured(repository, tmp_path / "model", pooling="mean").plain()
    assert np.array_equal(assumed.encode(TEXTS), stated.encode(TEXTS))


def test_prompts(repository: Path, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"prompts": PROMPTS, "default_prompt_name": "passage"}
    plain = as_configured(repository, tmp_path / "model", pooling="cls", **keys).plain()
    stated = as_stated(repository, "cls", **keys)
    assert plain.prompts == stated.prompts == {**PROMPTS, "document": ""}
    assert plain.default_prompt_name == "passage"
    for encode in ("encode", "encode_query", "encode_document"):
        assert np.array_equal(getattr(plain, encode)(TEXTS), getattr(stated, encode)(TEXTS))


@pytest.mark.parametrize("length", [5, 64, 150])
def test_max_seq_length(repository: Path, tmp_path: Path, length: int) -> None:
    model = as_configured(repository, tmp_path / "model", pooling="mean", max_seq_length=length)
    plain = model.plain()
    assert plain.max_seq_length == model.max_seq_length == length
    tokens = plain.preprocess(["water " * 500])["input_ids"]
    assert tokens.shape == (1, length)
    assert np.array_equal(plain.encode(TEXTS), as_stated(repository, "mean", max_seq_length=length).encode(TEXTS))


@pytest.mark.parametrize("normalize", [False, True])
def test_truncation_comes_before_the_unit_length_of_the_caller(
    repository: Path, tmp_path: Path, *, normalize: bool
) -> None:
    model = as_configured(repository, tmp_path / "model", pooling="mean", truncate_dim=12)
    plain = model.plain()
    assert plain.get_embedding_dimension() == model.dimension == 12
    whole = as_stated(repository, "mean").encode(TEXTS)[:, :12]
    expected = whole / np.linalg.norm(whole, axis=1, keepdims=True) if normalize else whole
    assert np.abs(plain.encode(TEXTS, normalize_embeddings=normalize) - expected).max() < 1e-6


def test_truncation_comes_after_the_unit_length_of_the_model(
    tiny_models_by_name: dict[str, TinyModel], tmp_path: Path
) -> None:
    published = tiny_models_by_name["mini"]
    model = as_configured(published.directory, tmp_path / "model", truncate_dim=12)
    assert published.has_normalize
    assert not model.has_normalize
    found = model.plain().encode(TEXTS)
    assert np.array_equal(found, published.plain().encode(TEXTS)[:, :12])
    assert np.linalg.norm(found, axis=1).max() < 0.99


# --- a bundle ---


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Project]:
    """A project with a bundle of a configured model in all variants; tests must leave it as it is."""
    project = Project(tmp_path_factory.mktemp("configured") / "project")
    shutil.copytree(repository, project.root / "models/mini")
    keys = {"pooling": "weightedmean", "prompts": PROMPTS, "max_seq_length": 24, "truncate_dim": 24, "normalize": False}
    project.specify(
        {
            "mini": {
                "sources": [{"directory": "models/mini"}],
                "golden": True,
                "variants": ALL,
                "int8_floor": LOW,
                **keys,
            }
        }
    )
    project.lock()
    project.build()
    yield project
    make_writable(project.root)


def test_all_variants_are_built_of_the_configured_files(bundle: Project) -> None:
    model = verify(bundle.output, strict=True).manifest.models["mini"]
    assert model.built is not None
    assert [variant.name for variant in model.built.variants] == ALL
    assert (model.dimension, model.built.max_seq_length, model.built.pooling) == (24, 24, "weightedmean")
    assert [file.path for file in model.built.configured] == [
        "1_Pooling/config.json",
        "config_sentence_transformers.json",
        "modules.json",
        "sentence_bert_config.json",
    ]
    assert bundle.build().is_unchanged


@pytest.mark.parametrize("variant", ["onnx-fp32", "torch-fp32"])
def test_a_configured_model_agrees_with_the_library_and_with_what_was_meant(bundle: Project, variant: str) -> None:
    source = TinyModel(bundle.output / "mini/source", 24, "weightedmean", has_normalize=False).plain()
    meant = as_stated(bundle.root / "models/mini", "weightedmean", max_seq_length=24, prompts=PROMPTS, truncate_dim=24)
    embedding = load_embedding("mini", root=bundle.output, variants=[variant])
    for name in (None, "query", "passage"):
        found = embedding.encode(TEXTS, prompt_name=name)
        for library in (source, meant):
            assert lowest_cosine(library.encode(TEXTS, prompt_name=name), found) > FP32_COSINE
    assert lowest_cosine(source.encode_query(TEXTS), embedding.encode_query(TEXTS)) > FP32_COSINE
    # The prompt is used, and not only accepted.
    by_hand = embedding.encode([f"{PREFIX}water"])
    assert lowest_cosine(by_hand, embedding.encode(["water"], prompt_name="query")) > FP32_COSINE
    assert lowest_cosine(by_hand, embedding.encode(["water"])) < 0.99
