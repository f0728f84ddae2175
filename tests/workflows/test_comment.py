"""The script that posts on a pull request, against a server that speaks GitHub's REST API."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from thoth_models_builder.reports.pull_request import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).parents[2] / ".github" / "scripts" / "comment.py"
HEAD, REPOSITORY = "a" * 40, "acme/models"
BOT, SOMEBODY = "github-actions[bot]", "somebody"
DOCUMENT = {"unavailable": "before"}
EVENT = {
    "repository": {"full_name": REPOSITORY},
    "workflow_run": {"head_sha": HEAD, "head_repository": {"id": 7}, "event": "pull_request"},
}
_COMMENTS = re.compile(rf"/repos/{REPOSITORY}/issues/(\d+)/comments")
_COMMENT = re.compile(rf"/repos/{REPOSITORY}/issues/comments/(\d+)")
_PULL = re.compile(rf"/repos/{REPOSITORY}/pulls/(\d+)")


@dataclass
class Forge:
    """What there is at GitHub, and what was done to it."""

    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    comments: list[dict[str, Any]] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    status: int = 200
    address: str = ""

    def say(self, author: str, body: str) -> None:
        self.comments.append({"id": 1000 + len(self.comments), "user": {"login": author}, "body": body})


class _Server(ThreadingHTTPServer):
    forge: Forge


class _Handler(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        forge = cast("_Server", self.server).forge
        forge.tokens.add(self.headers.get("Authorization"))
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        status, value = self._act(
            forge, url.path, {key: int(texts[0]) for key, texts in parse_qs(url.query).items()}, body
        )
        if forge.status != 200:
            status, value = forge.status, {"message": "no"}
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _act(self, forge: Forge, path: str, query: dict[str, int], body: Any) -> tuple[int, Any]:
        if (found := _PULL.fullmatch(path)) and self.command == "GET":
            pull = forge.pulls.get(int(found[1]))
            return (200, pull) if pull else (404, {})
        if _COMMENTS.fullmatch(path) and self.command == "GET":
            start = (query["page"] - 1) * query["per_page"]
            return 200, forge.comments[start : start + query["per_page"]]
        if (found := _COMMENTS.fullmatch(path)) and self.command == "POST":
            forge.changes.append(f"POST {found[1]}")
            forge.say(BOT, body["body"])
            return 201, forge.comments[-1]
        if (found := _COMMENT.fullmatch(path)) and self.command == "PATCH":
            forge.changes.append(f"PATCH {found[1]}")
            (comment,) = [one for one in forge.comments if one["id"] == int(found[1])]
            comment.update(body)
            return 200, comment
        return 404, {}

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - names of the base class

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def forge() -> Iterator[Forge]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.forge = Forge(address=f"http://127.0.0.1:{server.server_address[1]}/")
        server.forge.pulls[12] = {"state": "open", "head": {"sha": HEAD, "repo": {"id": 7}}}
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.forge
        server.shutdown()
        thread.join(10)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    place = tmp_path / "report"
    place.mkdir()
    (place / "number").write_text("12\n")
    (place / "report.json").write_text(json.dumps(DOCUMENT))
    return place


def run(forge: Forge, report: Path, event: object = EVENT) -> subprocess.CompletedProcess[str]:
    """Run the script as the workflow does: by a Python that has nothing installed."""
    path = report.parent / "event.json"
    path.write_text(json.dumps(event))
    return subprocess.run(
        [sys.executable, "-S", str(SCRIPT)],
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "GITHUB_EVENT_PATH": str(path),
            "GITHUB_API_URL": forge.address,
            "GITHUB_TOKEN": "the-token",
            "REPORT": str(report),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def posted(forge: Forge, report: Path) -> None:
    finished = run(forge, report)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def refused(finished: subprocess.CompletedProcess[str], forge: Forge, reason: str) -> None:
    assert finished.returncode == 1, finished.stderr
    assert finished.stdout.startswith("::error::")
    assert reason in finished.stdout
    assert forge.changes == []


def test_a_first_report_is_a_new_comment(forge: Forge, report: Path) -> None:
    posted(forge, report)
    assert forge.changes == ["POST 12"]
    assert forge.comments[0]["body"].startswith(MARKER)
    assert f"<code>{HEAD}</code>" in forge.comments[0]["body"]
    assert forge.tokens == {"Bearer the-token"}


def test_the_next_report_replaces_it(forge: Forge, report: Path) -> None:
    posted(forge, report)
    (report / "report.json").write_text(json.dumps({"unavailable": "after"}))
    posted(forge, report)
    assert forge.changes == ["POST 12", "PATCH 1000"]
    assert len(forge.comments) == 1
    assert "The bundle could not be built." in forge.comments[0]["body"]


def test_the_same_report_is_left_alone(forge: Forge, report: Path) -> None:
    posted(forge, report)
    posted(forge, report)
    assert forge.changes == ["POST 12"]


def test_a_comment_beyond_the_first_page_is_found(forge: Forge, report: Path) -> None:
    for index in range(250):
        forge.say(SOMEBODY, f"comment {index}")
    forge.say(BOT, f"{MARKER}\nan older report")
    forge.say(SOMEBODY, "the last word")
    posted(forge, report)
    assert forge.changes == ["PATCH 1250"]


@pytest.mark.hostile
def test_somebody_who_uses_the_marker_keeps_their_comment(forge: Forge, report: Path) -> None:
    forge.say(SOMEBODY, f"{MARKER}\nnot yours")
    forge.say(BOT, f"another bot's comment that quotes {MARKER}")
    posted(forge, report)
    assert forge.changes == ["POST 12"]
    assert forge.comments[0]["body"].endswith("not yours")


# --- what comes from the pull request is not believed ---


@pytest.mark.hostile
@pytest.mark.parametrize("text", ["", "0", "-1", "12;13", "12\n13", "twelve", "١٢", "12/../13", "9" * 12, " 12"])
def test_a_report_whose_number_is_none_is_refused(forge: Forge, report: Path, text: str) -> None:
    (report / "number").write_text(text)
    finished = run(forge, report)
    assert finished.returncode == 1
    assert finished.stdout.startswith("::error::number: expected")
    assert finished.stdout.count("\n") == 1
    assert forge.changes == []


@pytest.mark.hostile
def test_the_number_of_another_pull_request_is_noticed(forge: Forge, report: Path) -> None:
    forge.pulls[13] = {"state": "open", "head": {"sha": "b" * 40, "repo": {"id": 7}}}
    (report / "number").write_text("13")
    finished = run(forge, report)
    assert finished.returncode == 0
    assert f"nothing posted to pull request 13: its head is {'b' * 40}" in finished.stdout
    assert forge.changes == []


@pytest.mark.hostile
def test_the_same_commit_from_another_fork_is_noticed(forge: Forge, report: Path) -> None:
    forge.pulls[13] = {"state": "open", "head": {"sha": HEAD, "repo": {"id": 8}}}
    forge.pulls[14] = {"state": "open", "head": {"sha": HEAD, "repo": None}}
    for number in ("13", "14"):
        (report / "number").write_text(number)
        assert "in another repository" in run(forge, report).stdout
    assert forge.changes == []


def test_a_closed_pull_request_is_left_alone(forge: Forge, report: Path) -> None:
    forge.pulls[12]["state"] = "closed"
    assert "nothing posted to pull request 12: it is closed" in run(forge, report).stdout
    assert forge.changes == []


def test_a_number_that_nobody_has_is_an_error(forge: Forge, report: Path) -> None:
    (report / "number").write_text("99")
    refused(run(forge, report), forge, "expected success, found 404")


@pytest.mark.hostile
def test_markdown_instead_of_the_document_is_refused(forge: Forge, report: Path) -> None:
    (report / "report.json").write_text("# Approved\n@everyone")
    refused(run(forge, report), forge, "the document: expected JSON")


@pytest.mark.hostile
def test_text_in_the_document_is_not_markdown_in_the_comment(forge: Forge, report: Path) -> None:
    change = {"what": "name", "before": "@acme/security", "after": "[x](https://evil.example)"}
    document = {"ok": True, "changes": [change], "models": [], "names": [], "needs_reindex": False}
    (report / "report.json").write_text(json.dumps(document))
    posted(forge, report)
    body = forge.comments[0]["body"]
    assert "@" not in body
    assert "evil.example" in body
    assert "](" not in body


@pytest.mark.hostile
def test_a_link_out_of_the_report_is_not_followed(forge: Forge, report: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(DOCUMENT))
    (report / "report.json").unlink()
    (report / "report.json").symlink_to(secret)
    refused(run(forge, report), forge, "report.json: expected a file of the report")


@pytest.mark.hostile
def test_a_fifo_in_a_report_is_not_waited_for(forge: Forge, report: Path) -> None:
    (report / "report.json").unlink()
    os.mkfifo(report / "report.json")
    refused(run(forge, report), forge, "report.json: expected a regular file")


@pytest.mark.hostile
def test_a_large_report_is_refused(forge: Forge, report: Path) -> None:
    (report / "report.json").write_bytes(b" " * (1024 * 1024 + 1))
    refused(run(forge, report), forge, "report.json: expected at most 1048576 bytes")


@pytest.mark.hostile
def test_an_error_cannot_begin_another_command_of_the_log(
    forge: Forge, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script puts something there
    (report / "report.json").write_text(json.dumps({"unavailable": "\n::add-mask::x"}))
    finished = run(forge, report)
    assert finished.returncode == 1
    assert [line[:9] for line in finished.stdout.splitlines()] == ["::error::"]
    # Also where a message has the text as it came, which none has today.
    script = runpy.run_path(str(SCRIPT))
    assert script["_one_line"]("a\n::add-mask::b\r%0A") == "a%0A::add-mask::b%0D%250A"


# --- GitHub does not do its part ---


@pytest.mark.hostile
def test_an_answer_that_is_an_error_is_told_without_the_token(forge: Forge, report: Path) -> None:
    forge.status = 403
    finished = run(forge, report)
    refused(finished, forge, "expected success, found 403")
    assert "the-token" not in finished.stdout + finished.stderr


def test_nobody_there_is_an_error(report: Path) -> None:
    finished = run(Forge(address="http://127.0.0.1:9"), report)
    assert finished.returncode == 1
    assert "expected an answer" in finished.stdout
