# ruff: noqa: INP001 - a script of a workflow, not part of a package
"""Post the report of bundle.yml about a pull request, as one comment that later runs replace.

This runs in a workflow with a token that may write comments, so everything from the pull request is treated as data: a
number, which must be that of an open pull request whose head is the commit of the run, and a JSON document, which
``thoth_models_builder.reports.pull_request`` reads within limits and shows as code. Needs only Python 3.11 or newer.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "runtime"), str(ROOT / "builder")]

from thoth_models_builder.errors import UsageError  # noqa: E402
from thoth_models_builder.reports.pull_request import MARKER, MAX_DOCUMENT_SIZE, render  # noqa: E402

AUTHOR = "github-actions[bot]"
"""The author of comments that are posted with a workflow's token. Comments of other authors are never replaced."""

SECONDS = 30.0
"""Deadline of each request."""

_PER_PAGE = 100
_MAX_PAGES = 30
_MAX_ANSWER_SIZE = 32 * 1024 * 1024
_NUMBER = re.compile(rb"[1-9][0-9]{0,9}\n?")


class CommentError(Exception):
    """The report cannot be posted; the message has what was expected and what was found."""


@dataclass(frozen=True)
class GitHub:
    """The REST API, by https://docs.github.com/rest."""

    api: str
    token: str

    def ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Make one request and return the answer.

        Raises:
            CommentError: There is no answer, or it is an error.
        """
        request = urllib.request.Request(  # noqa: S310 - the address of the API comes from the runner
            f"{self.api}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - as above
                return json.loads(answer.read(_MAX_ANSWER_SIZE))
        except urllib.error.HTTPError as error:
            raise CommentError(f"{method} {path}: expected success, found {error.code} {error.reason}") from error
        except (OSError, ValueError) as error:
            raise CommentError(f"{method} {path}: expected an answer in JSON, found {error}") from error


def main() -> int:
    """Post the report in ``REPORT`` about the run of the event; return the exit code."""
    try:
        event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_bytes())
        github = GitHub(os.environ["GITHUB_API_URL"].rstrip("/"), os.environ["GITHUB_TOKEN"])
        print(post(github, event, Path(os.environ["REPORT"])))  # noqa: T201 - the log of the workflow
    except (CommentError, UsageError) as error:
        print(f"::error::{_one_line(str(error))}")  # noqa: T201
        return 1
    return 0


def post(github: GitHub, event: dict[str, Any], report: Path) -> str:
    """Post the report in a directory, and return a sentence about the outcome.

    Raises:
        CommentError: The report does not belong to the pull request, or a request to GitHub failed.
        UsageError: The document does not have the form that ``thoth-bundle diff --json`` prints.
    """
    run, repository = event["workflow_run"], event["repository"]["full_name"]
    number = _number(_read(report / "number", 16))
    pull = github.ask("GET", f"/repos/{repository}/pulls/{number}")
    if reason := _stranger(pull, run):
        return f"nothing posted to pull request {number}: {reason}"
    body = render(_read(report / "report.json", MAX_DOCUMENT_SIZE), commit=run["head_sha"])
    comment = _own_comment(github, repository, number)
    if comment is None:
        github.ask("POST", f"/repos/{repository}/issues/{number}/comments", {"body": body})
        return f"posted to pull request {number}"
    if comment["body"] == body:
        return f"the comment of pull request {number} says so already"
    github.ask("PATCH", f"/repos/{repository}/issues/comments/{comment['id']}", {"body": body})
    return f"replaced the comment of pull request {number}"


def _stranger(pull: dict[str, Any], run: dict[str, Any]) -> str | None:
    """Return why the run is not about the present state of the pull request, or None. The number came from the run."""
    if pull["state"] != "open":
        return f"it is {pull['state']}"
    if pull["head"]["sha"] != run["head_sha"]:
        return f"its head is {pull['head']['sha']}, and the run was about {run['head_sha']}"
    if pull["head"]["repo"] is None or pull["head"]["repo"]["id"] != run["head_repository"]["id"]:
        return "its head is in another repository than the run's"
    return None


def _own_comment(github: GitHub, repository: str, number: int) -> dict[str, Any] | None:
    for page in range(1, _MAX_PAGES + 1):
        query = f"per_page={_PER_PAGE}&page={page}"
        comments = github.ask("GET", f"/repos/{repository}/issues/{number}/comments?{query}")
        for comment in comments:
            if comment["user"]["login"] == AUTHOR and (comment["body"] or "").startswith(MARKER):
                return dict(comment)
        if len(comments) < _PER_PAGE:
            return None
    raise CommentError(f"pull request {number}: expected fewer than {_PER_PAGE * _MAX_PAGES} comments, found more")


def _number(data: bytes) -> int:
    if not _NUMBER.fullmatch(data):
        raise CommentError(f"number: expected that of a pull request, found {data!r:.60}")
    return int(data)


def _read(path: Path, largest: int) -> bytes:
    """Return the content of a regular file; symlinks are refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise CommentError(f"{path.name}: expected a file of the report, found {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CommentError(f"{path.name}: expected a regular file, found something else")
        data = file.read(largest + 1)
    if len(data) > largest:
        raise CommentError(f"{path.name}: expected at most {largest} bytes, found more")
    return data


def _one_line(text: str) -> str:
    """Return a message that GitHub's log cannot mistake for a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


if __name__ == "__main__":
    sys.exit(main())
