"""What the builder and its compiler process say to each other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.compiled import job_of
from thoth_models.bundle.accuracy import Accuracy
from thoth_models.bundle.canonical_json import FormatError, canonical_json
from thoth_models.bundle.digest import ContentDigest, Digest
from thoth_models_builder.spec.compile_job import (
    CompileJob,
    CompileResult,
    Event,
    Request,
    cause_of,
    compiler_environment,
    log_name,
    printable,
)

JOB = job_of(query="query: ")
RESULT = CompileResult(
    files={"golden.json": ContentDigest(size=3, sha256=Digest.of(b"abc"))},
    accuracy={
        "torch-fp32": Accuracy(
            minimum_cosine=0.99999, mean_cosine=1.0, largest_difference=1e-7, neighbour_agreement=0.998
        )
    },
    omitted={"onnx-fp32": "a loop that depends on the data"},
)


def test_a_job_is_read_as_it_was_written() -> None:
    assert CompileJob.from_bytes(JOB.to_bytes()) == JOB
    assert JOB.to_bytes() == canonical_json(json.loads(JOB.to_bytes()))


def test_a_result_is_read_as_it_was_written() -> None:
    assert CompileResult.from_bytes(RESULT.to_bytes()) == RESULT


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 2, "version: expected 1"),
        ("variants", ["onnx-fp16"], "expected .*onnx-fp32"),
        ("variants", ["torch-fp32", "onnx-fp32"], "variants: expected a sorted list"),
        ("dimension", 0, "dimension: expected an integer of at least 1"),
        ("source", {"../x": {}}, "expected a relative path"),
        ("prompts", {"query": 3}, "prompts.*expected a string"),
        ("more", 1, "expected only the keys"),
    ],
)
def test_a_job_that_is_wrong_is_refused(key: str, value: Any, message: str) -> None:
    document = {**json.loads(JOB.to_bytes()), key: value}
    with pytest.raises(FormatError, match=message):
        CompileJob.from_bytes(json.dumps(document).encode())


@pytest.mark.hostile
@pytest.mark.parametrize(("key", "value"), [("accuracy", {"torch-fp16": {}}), ("files", {"/x": {}}), ("version", 0)])
def test_a_malformed_result_of_the_compiler_is_refused(key: str, value: Any) -> None:
    document = {**json.loads(RESULT.to_bytes()), key: value}
    with pytest.raises(FormatError):
        CompileResult.from_bytes(json.dumps(document).encode())


def test_requests_and_events_are_one_line_each() -> None:
    request = Request(kind="compile", job="a\nb", directory="/x y", weight_bytes=5)
    event = Event(kind="begun", job="a\nb", steps=("export", "record"))
    for message in (request, event):
        assert message.to_line().count(b"\n") == 1
        assert type(message).from_line(message.to_line()) == message


def test_a_log_is_named_after_its_step() -> None:
    assert log_name("measure onnx-fp32") == "measure-onnx-fp32.log"


@pytest.mark.hostile
def test_the_environment_of_the_compiler_has_no_secrets() -> None:
    given = {
        "PATH": "/bin",
        "HF_TOKEN": "s3cret",
        "HTTPS_PROXY": "http://me:s3cret@proxy",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
    }
    found = compiler_environment({**given, "LC_ALL": "C", "OMP_NUM_THREADS": "8"})
    assert "s3cret" not in str(found)
    assert (found["PATH"], found["LC_ALL"], found["OMP_NUM_THREADS"]) == ("/bin", "C", "1")


@pytest.mark.hostile
def test_the_cause_in_a_log_is_an_exception_at_its_end_and_cannot_command_the_terminal() -> None:
    assert cause_of("Traceback\n  File x\nsome.ModuleError: why") == "some.ModuleError: why; "
    assert cause_of("KeyError") == "KeyError; "
    assert cause_of("Error: no\nmore text") == ""
    assert printable("a\x1b[2Jb\n\tc\u202e") == "a\ufffd[2Jb\n\tc\ufffd"
