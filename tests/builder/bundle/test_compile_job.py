from __future__ import annotations

from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.bundle.compile_job import compile_job
from thoth_models_builder.bundle.describe import ModelFacts

CONFIG = ContentDigest(size=2, sha256=Digest.of(b"{}"))


def test_a_job_says_what_was_found_in_the_files() -> None:
    facts = ModelFacts(
        dimension=8,
        max_seq_length=None,
        pooling="mean",
        has_normalize=True,
        similarity="cosine",
        prompts={"query": "query: "},
        default_prompt_name="query",
    )
    job = compile_job(facts, {"config.json": CONFIG}, ["torch-fp32", "onnx-fp32", "torch-fp32"])
    assert job.variants == ("onnx-fp32", "torch-fp32")
    assert job.source == {"config.json": CONFIG}
    assert (job.dimension, job.max_seq_length, job.pooling, job.similarity) == (8, None, "mean", "cosine")
    assert (job.prompts, job.default_prompt_name) == ({"query": "query: "}, "query")
