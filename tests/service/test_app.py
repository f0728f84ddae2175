"""The example service: what it promises to callers, to orchestrators, and to whoever copies it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.service.serving import SECONDS, Words, body, lines
from tests.support.waiting import until
from thoth_models import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.serving import Service
    from thoth_models.types import Backend
    from thoth_models.verification.verify import VerifiedVariant

    Serve = Callable[..., Service]

PHASES = ["keywords", "schema", "evidence", "examples", "sql"]


# --- answers ---


def test_a_question_is_answered_phase_by_phase(serve: Serve) -> None:
    service = serve(Words().load, schema_threshold=0.25)
    phases = service.ask("In which city does each customer live?", functionality_level="EXPERT")
    assert [phase["phase"] for phase in phases] == PHASES
    keywords, schema, _evidence, examples, sql = phases
    (example,) = examples["examples"]
    assert example["question"] == "How many customers live in each city?"
    assert example["sql"].startswith("SELECT customer.city, COUNT(*)")
    assert keywords["keywords"] == ["city", "each", "customer", "live"]
    assert {"table": "customer", "column": "city"} in [
        {key: column[key] for key in ("table", "column")} for column in schema["columns"]
    ]
    assert sql["sql"].startswith("SELECT ")
    assert "customer.city" in sql["sql"]


def test_each_phase_is_sent_as_soon_as_it_is_done(serve: Serve) -> None:
    model = Words()
    service = serve(model.load)
    service.until_ready()
    model.gate.clear()
    with service.client.stream("POST", "/generate-sql", json=body("customer city")) as answer:
        arriving = lines(answer)
        assert next(arriving)["phase"] == "keywords"  # although the model does not answer yet
        model.gate.set()
        assert [phase["phase"] for phase in arriving] == PHASES[1:]


def test_the_level_bounds_the_columns_and_a_flag_leaves_the_evidence_out(serve: Serve) -> None:
    model = Words()
    service = serve(model.load, schema_threshold=-1.0, evidence_threshold=-1.0)
    basic = service.ask("city", functionality_level="BASIC")
    expert = service.ask(
        "city", functionality_level="EXPERT", flags={"use_evidence": False, "use_examples": False, "other": True}
    )
    assert len(basic[1]["columns"]) == 4
    assert len(basic[2]["evidence"]) == 7
    assert len(expert[1]["columns"]) == 16
    assert expert[2]["evidence"] == []
    assert ["city"] in model.calls
    assert len(model.calls) == 1 + 2 + 1  # the index, a question with evidence and examples, one without


def test_nothing_is_linked_below_the_threshold(serve: Serve) -> None:
    service = serve(Words().load, schema_threshold=1.0, evidence_threshold=1.0, example_threshold=1.0)
    schema, evidence, examples, sql = service.ask("city of customers")[1:]
    assert (schema["columns"], evidence["evidence"], examples["examples"], sql["sql"]) == ([], [], [], None)


def test_a_question_without_a_keyword_is_answered(serve: Serve) -> None:
    service = serve(Words().load)
    keywords, schema, _evidence, _examples, sql = service.ask("???")
    assert (keywords["keywords"], schema["columns"], sql["sql"]) == ([], [], None)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"question": ""}, "question"),
        ({"functionality_level": "GENIUS"}, "functionality_level"),
        ({"flags": {"x": "perhaps"}}, "flags"),
        ({"workspace": 1}, "workspace"),
    ],
)
def test_a_malformed_body_is_refused_by_name(serve: Serve, change: dict[str, Any], place: str) -> None:
    answer = serve(Words().load).client.post("/generate-sql", json={**body("city"), **change})
    assert answer.status_code == 422
    assert place in answer.text


def test_an_unknown_workspace_is_not_found(serve: Serve) -> None:
    answer = serve(Words().load).client.post("/generate-sql", json=body("city", workspace_id=7))
    assert answer.status_code == 404
    assert "expected one of 1, found 7" in answer.json()["detail"]


# --- loading ---


def test_ready_tells_which_model_answers(serve: Serve) -> None:
    answer = serve(Words().load).until_ready()
    assert answer["ready"] is True
    assert (answer["model"], answer["degraded"]) == ("words", None)
    assert len(answer["space"]) == 64


def test_the_service_lives_but_is_not_ready_while_it_loads(serve: Serve) -> None:
    gate = threading.Event()
    model = Words()

    def load(verified: VerifiedVariant) -> Backend:
        assert gate.wait(SECONDS)
        return model.load(verified)

    service = serve(load)
    assert service.client.get("/health").json() == {"status": "alive"}
    answer = service.client.get("/ready")
    assert (answer.status_code, answer.json()["state"]) == (503, "loading")
    gate.set()
    assert service.until_ready()["ready"]


def test_it_is_not_ready_before_the_index_is_made(serve: Serve) -> None:
    model = Words()
    model.gate.clear()
    service = serve(model.load)
    until(lambda: len(model.calls) == 1)
    assert service.client.get("/ready").status_code == 503
    model.gate.set()
    assert service.until_ready()["ready"]


def test_a_request_waits_for_a_model_that_is_being_loaded(serve: Serve) -> None:
    model = Words()
    model.gate.clear()
    service = serve(model.load)
    threading.Timer(0.2, model.gate.set).start()
    assert [phase["phase"] for phase in service.ask("city")] == PHASES


def test_a_load_that_hangs_costs_a_request_no_more_than_its_patience(serve: Serve) -> None:
    released = threading.Event()

    def hang(_verified: VerifiedVariant) -> Backend:
        released.wait(SECONDS)
        raise BackendError("released")

    service = serve(hang, patience_seconds=0.2)
    started = time.monotonic()
    answer = service.client.post("/generate-sql", json=body("city"))
    assert time.monotonic() - started < 2
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["detail"] == "the model is being loaded"
    released.set()


def test_a_load_that_fails_is_told_at_once_and_the_service_lives(serve: Serve) -> None:
    def fail(_verified: VerifiedVariant) -> Backend:
        raise BackendError("another processor")

    service = serve(fail)
    answer = service.until_ready()
    assert answer["state"] == "failed"
    assert "ModelUnavailableError" in answer["reason"]
    started = time.monotonic()
    assert service.client.post("/generate-sql", json=body("city")).status_code == 503
    assert time.monotonic() - started < 2
    assert service.client.get("/health").status_code == 200


def test_an_error_of_programming_does_not_look_like_a_load_without_an_end(serve: Serve) -> None:
    answer = serve(lambda _verified: 1).until_ready()
    assert answer["state"] == "failed"
    assert "AttributeError" in answer["reason"]


def test_another_space_than_the_kept_index_has_is_refused(serve: Serve) -> None:
    space = serve(Words().load, model="w").until_ready()["space"]
    assert serve(Words().load, model="w", expect_space=space).until_ready()["ready"]
    answer = serve(Words().load, model="w", expect_space="a" * 64).until_ready()
    assert answer["state"] == "failed"
    assert "SpaceMismatchError" in answer["reason"]


def test_a_load_that_hangs_becomes_a_failure_at_its_deadline(serve: Serve) -> None:
    released = threading.Event()

    def hang(_verified: VerifiedVariant) -> Backend:
        released.wait(SECONDS)
        raise BackendError("released")

    answer = serve(hang, load_seconds=0.3).until_ready()
    assert (answer["state"], answer["reason"].partition(":")[0]) == ("failed", "LoadTimeout")
    released.set()


@pytest.mark.filterwarnings("ignore::thoth_models.FallbackWarning")
def test_a_stand_in_is_told_as_degraded(serve: Serve) -> None:
    answer = serve(Words().load, model="gone").until_ready()
    assert answer["model"] == "words"
    assert answer["degraded"].startswith("words/torch-fp32 stands in for 'gone'")


# --- under load ---


def test_health_answers_while_50_requests_wait_for_the_model(serve: Serve) -> None:
    # How soon is measured in a container (tests/docker); here, that it does not wait for the model at all.
    model = Words()
    service = serve(model.load)
    service.until_ready()
    model.gate.clear()
    before = len(model.calls)
    with ThreadPoolExecutor(50) as callers:
        answers = [callers.submit(service.ask, "city of the customer") for _ in range(50)]
        until(lambda: len(model.calls) > before)
        for _ in range(10):
            assert service.client.get("/health").status_code == 200
        assert not any(answer.done() for answer in answers)
        model.gate.set()
        assert all([phase["phase"] for phase in answer.result()] == PHASES for answer in answers)


@pytest.mark.hostile
def test_no_more_calls_run_at_once_than_there_are_workers(serve: Serve) -> None:
    model = Words(delay=0.01)
    service = serve(model.load, encode_workers=2)
    service.until_ready()
    # More words than are gathered into a batch with others.
    question = " ".join(f"word{number}" for number in range(30))
    with ThreadPoolExecutor(10) as callers:
        list(callers.map(service.ask, [question] * 10))
    assert model.most_at_once == 2


def test_small_calls_that_come_together_are_run_together(serve: Serve) -> None:
    model = Words()
    service = serve(model.load, encode_workers=8)
    service.until_ready()
    model.gate.clear()
    before = len(model.calls)
    with ThreadPoolExecutor(8) as callers:
        asked = [callers.submit(service.ask, f"city{number}") for number in range(8)]
        until(lambda: service.client.get("/stats").json()["models"]["words"]["uses"] == 1 + 8)
        model.gate.set()
        assert all(answer.result()[-1]["phase"] == "sql" for answer in asked)
    assert len(model.calls) - before < 8 + 8
    assert max(len(texts) for texts in model.calls[before:]) > 1


@pytest.mark.hostile
def test_one_more_than_may_wait_is_turned_away_at_once(serve: Serve) -> None:
    model = Words()
    service = serve(model.load, encode_workers=1, most_waiting=1)
    service.until_ready()
    model.gate.clear()
    before = len(model.calls)
    with ThreadPoolExecutor(3) as callers:
        asked = [callers.submit(service.client.post, "/generate-sql", json=body("city")) for _ in range(3)]
        until(lambda: any(answer.done() for answer in asked))
        (refused,) = [answer.result() for answer in asked if answer.done()]
        assert len(model.calls) == before + 1  # one runs, one waits
        model.gate.set()
        assert sum("sql" in answer.result().text.splitlines()[-1] for answer in asked) == 2
    # It was busy when the request came, or when its own turn to call the model came.
    if refused.status_code == 503:
        assert refused.headers["Retry-After"] == "1"
    else:
        assert '"error": "busy"' in refused.text
    assert service.ask("city")[-1]["phase"] == "sql"


@pytest.mark.hostile
def test_a_call_past_its_deadline_ends_the_answer_with_an_error(serve: Serve) -> None:
    model = Words()
    service = serve(model.load, encode_seconds=0.2)
    service.until_ready()
    model.gate.clear()
    phases = service.ask("city")
    assert [phase["phase"] for phase in phases] == ["keywords", "error"]
    assert phases[-1]["error"] == "timeout"
    model.gate.set()
    until(lambda: service.ask("city")[-1]["phase"] == "sql")


def test_an_error_of_the_model_ends_the_answer_with_its_name(serve: Serve) -> None:
    model = Words()
    service = serve(model.load)
    service.until_ready()
    model.error = BackendError("no memory")
    phases = service.ask("city")
    assert phases[-1] == {"phase": "error", "error": "BackendError", "message": "no memory"}


@pytest.mark.hostile
def test_a_caller_who_leaves_takes_no_place_for_ever(serve: Serve) -> None:
    model = Words()
    service = serve(model.load, encode_workers=1, most_waiting=1)
    service.until_ready()
    model.gate.clear()
    for _ in range(4):
        with (
            pytest.raises(httpx2.ReadTimeout),
            service.client.stream("POST", "/generate-sql", json=body("city"), timeout=0.2) as answer,
        ):
            list(lines(answer))
    model.gate.set()
    until(lambda: service.client.post("/generate-sql", json=body("city")).status_code == 200)


# --- a workspace of the caller's own ---

SUBJECTS = (
    "invoice",
    "employee",
    "warehouse",
    "shipment",
    "supplier",
    "contract",
    "meeting",
    "vehicle",
    "building",
    "course",
)
PROPERTIES = ("number", "name", "date", "status", "owner", "amount", "currency", "weight", "colour", "country")


def workspace(columns: int = 1000) -> dict[str, Any]:
    """A workspace with so many columns, each described by words that no other one has together."""
    listed = [
        {
            "table": f"{SUBJECTS[number // 100 % 10]}{number // 1000 or ''}",
            "name": f"{PROPERTIES[number // 10 % 10]}_{number % 10}",
            "meaning": f"filed by clerk{number}",
        }
        for number in range(columns)
    ]
    return {
        "columns": listed,
        "joins": [{"tables": ["invoice", "employee"], "on": "invoice.employee_id = employee.id"}],
        "evidence": [
            f"Rule {number}: a {subject} is closed after {number} days." for number, subject in enumerate(SUBJECTS)
        ],
        "examples": [{"question": "Which vehicle has which colour?", "sql": "SELECT colour FROM vehicle"}],
    }


def test_a_thousand_columns_are_indexed_and_then_found(serve: Serve) -> None:
    model = Words()
    service = serve(model.load, schema_threshold=0.35)
    answer = service.client.put("/workspaces/2", json=workspace())
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert {name: found[name] for name in ("workspace_id", "columns", "evidence", "examples")} == {
        "workspace_id": 2,
        "columns": 1000,
        "evidence": 10,
        "examples": 1,
    }
    assert found["space"] == service.until_ready()["space"]
    assert max(map(len, model.calls)) == 256, "in pieces, so that questions get their turn"
    _, schema, evidence, _, sql = service.ask("clerk417", workspace_id=2, flags={"use_evidence": True})
    (column,) = schema["columns"]
    assert (column["table"], column["column"]) == ("supplier", "name_7")
    assert evidence["evidence"] == []
    assert sql["sql"] == "SELECT supplier.name_7 FROM supplier"
    examples = service.ask("which colour has the vehicle", workspace_id=2)[3]["examples"]
    assert [example["sql"] for example in examples] == ["SELECT colour FROM vehicle"]


def test_an_index_takes_the_place_of_the_one_before(serve: Serve) -> None:
    service = serve(Words().load, schema_threshold=0.35)
    assert service.client.put("/workspaces/1", json=workspace(20)).json()["columns"] == 20
    assert service.ask("clerk7")[1]["columns"][0]["table"] == "invoice"
    assert service.client.put("/workspaces/1", json={"columns": []}).json()["columns"] == 0
    assert service.ask("clerk7")[1]["columns"] == []


def test_an_index_that_cannot_be_made_leaves_the_one_before(serve: Serve) -> None:
    model = Words()
    service = serve(model.load)
    service.until_ready()
    model.error = BackendError("no memory")
    answer = service.client.put("/workspaces/1", json=workspace(20))
    assert (answer.status_code, answer.json()["detail"]) == (500, "BackendError: no memory")
    model.error = None
    assert service.ask("customer city")[-1]["sql"].startswith("SELECT customer.customer_id, ")


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"columns": [{"table": "t", "name": "", "meaning": "m"}]}, "columns"),
        ({"columns": [{"table": "t", "name": "n"}]}, "meaning"),
        ({"joins": [{"tables": ["a"], "on": "x"}]}, "joins"),
        ({"evidence": [""]}, "evidence"),
        ({"documents": []}, "documents"),
    ],
)
def test_a_malformed_workspace_is_refused_by_name(serve: Serve, change: dict[str, Any], place: str) -> None:
    answer = serve(Words().load).client.put("/workspaces/2", json={**workspace(1), **change})
    assert answer.status_code == 422
    assert place in answer.text


def test_an_index_needs_a_model(serve: Serve) -> None:
    def fail(_verified: VerifiedVariant) -> Backend:
        raise BackendError("another processor")

    answer = serve(fail).client.put("/workspaces/2", json=workspace(1))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
