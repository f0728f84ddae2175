"""The shapes of much used models, through the whole builder: their vectors are those of plain sentence-transformers."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.bundles import make_writable
from tests.support.hub_simulator import HubSimulator
from tests.zoo import shapes
from tests.zoo.building import FLOOR, Zoo, build_zoo
from tests.zoo.own_code import publish_code
from tests.zoo.table import MODELS, first_of
from thoth_models import load_embedding
from thoth_models.verification.report_file import read_report
from thoth_models.verification.verify import open_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thoth_models.types import FloatArray

pytestmark = [pytest.mark.torch, pytest.mark.onnx, pytest.mark.unmeasured]

COSINE = 0.99999
TEXTS = (
    "water",
    "A quick question: where is the river?",
    "",
    "Das ist nicht das Haus, das ist der Fluß.",
    " ",
    "ÉTÉ à la maison, près de la rivière",
    "the bread and the water of the house",
    "привет, вода и хлеб",
    "日本語の水と河",
    "tabs\tand\nnew lines",
    "green yellow small large " * 60,
    "search",
)
"""Mixed lengths, empty ones, other scripts, and one that is too long for every model with a maximum."""

REFUSED = {model.shape for model in MODELS if model.refused}
BUILT = [name for name in shapes.SHAPES if name not in REFUSED]


@pytest.fixture(scope="module")
def zoo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    """The shapes that the selected tests ask for, in one bundle: ``-k bge`` builds those of BGE alone."""
    root = tmp_path_factory.mktemp("zoo")
    items = (item for item in request.session.items if item.path == request.path and hasattr(item, "callspec"))
    wanted = {item.callspec.params.get("shape") for item in items}
    with HubSimulator() as hub, pytest.MonkeyPatch.context() as patch:
        publish_code(hub)
        patch.setenv("HF_ENDPOINT", hub.endpoint)
        zoo = build_zoo(root, hub, [name for name in shapes.SHAPES if name in wanted])
    yield zoo
    make_writable(root)


@pytest.fixture(scope="module")
def modules_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Code that plain transformers runs is copied into a directory of the user's, and imported; not here."""
    import transformers.dynamic_module_utils as dynamic

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        patch.setattr(sys, "path", [*sys.path])
        yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
        del sys.modules[name]


def reference_of(zoo: Zoo, shape: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return shapes.reference(shape, zoo.published[shape], tmp_path_factory.mktemp("reference"), zoo.keys[shape])


def agree(found: FloatArray, expected: FloatArray) -> None:
    """Compare direction and length of each vector; a text without tokens gives zeros."""
    assert found.shape == expected.shape
    lengths = np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), lengths, rtol=1e-3, atol=1e-6)
    some = lengths > 0
    cosines = (found[some] * expected[some]).sum(axis=1) / (np.linalg.norm(found[some], axis=1) * lengths[some])
    assert cosines.min() >= COSINE


@pytest.mark.usefixtures("modules_cache")
@pytest.mark.parametrize("shape", BUILT)
def test_the_vectors_are_those_of_plain_sentence_transformers(
    zoo: Zoo, shape: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = zoo.bundle(shape)
    plain = reference_of(zoo, shape, tmp_path_factory)
    texts = list(TEXTS)
    alone = np.stack([plain.encode(text, convert_to_numpy=True) for text in texts])
    queries, documents = plain.encode_query(texts), plain.encode_document(texts)
    # A prompt that fills the longest input would make every text the same.
    assert not np.allclose(queries[0], queries[6], atol=1e-3)
    for variant in (name for name in first_of(shape).variants if name != "onnx-int8"):
        embedding = load_embedding(shape, root=root, variants=[variant])
        assert embedding.info.variant == variant
        options: dict[str, Any] = {"normalize_embeddings": False}
        agree(np.stack([embedding.encode(text, **options) for text in texts]), alone)
        agree(embedding.encode(texts, batch_size=5, **options), alone)
        agree(embedding.encode_query(texts, **options), queries)
        agree(embedding.encode_document(texts, **options), documents)


@pytest.mark.parametrize("shape", BUILT)
def test_every_variant_is_there_and_reached_its_gate(zoo: Zoo, shape: str) -> None:
    bundle = open_bundle(zoo.bundle(shape))
    built = bundle.manifest.models[shape].built
    assert built is not None
    assert {variant.name for variant in built.variants} == set(first_of(shape).variants)
    report, note = read_report(bundle.root, bundle.bundle_digest)
    assert report is not None, note
    accuracy = report.models[shape]
    assert accuracy["onnx-int8"].minimum_cosine >= FLOOR["minimum_cosine"]
    assert accuracy["onnx-fp32"].minimum_cosine >= COSINE


def test_the_table_has_each_shape_and_few_that_are_refused() -> None:
    """That each of the others is built is what the tests above are for."""
    assert {model.shape for model in MODELS} == set(shapes.SHAPES)
    assert len(BUILT) >= 48
    assert sum(model.refused is not None for model in MODELS) <= len(MODELS) / 25
