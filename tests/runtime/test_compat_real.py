"""Old names and the switch over real libraries: vectors of sentence-transformers, and children of fork."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.forks import BOUND, run_forks
from tests.support.tiny_models import MIXED_TEXTS
from thoth_models import ManagerConfig
from thoth_models.compat import ExternalEmbeddingManager, LegacyEmbeddingAdapter, LocalEmbeddingProvider
from thoth_models.compat import MultilingualEmbeddingManager as Multilingual

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tiny_models import TinyModel

TOLERANCE = 1e-5


@pytest.mark.torch
def test_vectors_are_those_of_sentence_transformers(
    tiny_bundle: Path, tiny_models_by_name: dict[str, TinyModel]
) -> None:
    """What an old call site had before, it has after: to the direction, which a cosine index keeps."""
    import torch

    config = ManagerConfig(root=tiny_bundle)
    texts = list(MIXED_TEXTS)
    reference = tiny_models_by_name["mini"].plain(model_kwargs={"dtype": torch.float32})
    expected = reference.encode(texts, normalize_embeddings=True)
    for found in (
        LegacyEmbeddingAdapter("mini-alias", config=config).encode(texts),
        ExternalEmbeddingManager(LocalEmbeddingProvider("mini", config=config)).encode(texts),
        np.array([Multilingual("mini", config=config).encode_query(text) for text in texts if text.strip()]),
    ):
        wanted = expected if len(found) == len(texts) else expected[[bool(text.strip()) for text in texts]]
        assert np.abs(np.asarray(found) - wanted).max() <= TOLERANCE
    vector = Multilingual("mini", config=config).encode_query("water")
    assert math.hypot(*vector) == pytest.approx(1.0)


_FORKED = """
from thoth_models import ManagerConfig
from thoth_models.compat import Hosted, MultilingualEmbeddingManager, choose_embeddings
root, bound = sys.argv[1], float(sys.argv[2])
config = ManagerConfig(root=root)

class Client:
    def __init__(self):
        self.made_in = os.getpid()
    def encode(self, texts):
        return [[float(self.made_in), 1.0] for _ in texts]

old = MultilingualEmbeddingManager("mini", config=config)
query = old.encode_query("water")
hosted = Hosted(make=Client, identity="test", dimension=2, normalize=False)
local = choose_embeddings(index=None, hosted=hosted, config=config, environ={})
remote = choose_embeddings(index=None, hosted=hosted, environ={"THOTH_EMBEDDINGS": "hosted"})
vector = local.encode("water")
assert remote.encode("a")[0] == float(os.getpid())

def work():
    assert MultilingualEmbeddingManager("mini", config=config) is old
    assert max(abs(a - b) for a, b in zip(old.encode_query("water"), query)) < 1e-6
    assert abs(local.encode("water") - vector).max() < 1e-6
    assert remote.encode("a")[0] == float(os.getpid()), "the child uses its parent's client"
    assert remote.stats().calls == 2

report([in_child(work, bound) for _ in range(2)])
"""


@pytest.mark.torch
def test_a_child_of_fork_goes_on(
    tiny_bundle: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """As with gunicorn --preload: the model is loaded again, and the hosted side makes a client of its own."""
    children, errors = run_forks(run_python, _FORKED, str(tiny_bundle), str(BOUND))
    assert [(child.outcome, child.status) for child in children] == [("ended", 0)] * 2, errors
