"""A repository on the Hugging Face Hub as a source: metadata through huggingface_hub.

The only importer of huggingface_hub, and only of its metadata call. Bytes come through :mod:`.http` at the pinned
commit; the Hub's own cache, its locks and Xet are not used.
"""

from __future__ import annotations

import contextvars
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from thoth_models.digest import Digest
from thoth_models_builder.errors import SourceError, SourceUnreachableError
from thoth_models_builder.model_card import plain_license
from thoth_models_builder.redact import without_secrets
from thoth_models_builder.sources import Failure, Listing, RemoteFile, Sink
from thoth_models_builder.sources.http import Downloader, cap_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from thoth_models_builder.sources.limits import Limits

T = TypeVar("T")

_DEFAULT_ENDPOINT = "https://huggingface.co"
_LARGEST_METADATA = 32 * 1024 * 1024
"""Bytes of a repository's metadata that are read at most; ten thousand files take two million."""

_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)
_TRUE = ("1", "ON", "YES", "TRUE")


def _is_address(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of brackets, or a port out of range
        return False


class HubRepository:
    """A repository at a revision.

    Args:
        repository: Its id.
        revision: Commit, tag or branch. Bytes are only fetched at a commit.
        limits: Bounds on every wait.
        unreachable: Endpoints that did not answer during this run, with the reason; shared between the repositories of
            a run, so that a Hub that is out of reach is waited for once.
    """

    def __init__(
        self, repository: str, revision: str, *, limits: Limits, unreachable: dict[str, str] | None = None
    ) -> None:
        self.repository = repository
        self.revision = revision
        self.label = f"hub:{repository}@{revision}"
        self._commit = revision
        self._limits = limits
        self._unreachable = {} if unreachable is None else unreachable
        self._endpoint = (os.environ.get("HF_ENDPOINT") or _DEFAULT_ENDPOINT).rstrip("/")

    def list_files(self) -> Listing:
        """Return the files of the commit that the revision stands for.

        Raises:
            SourceUnreachableError: The endpoint does not answer.
            SourceError: It answers that the repository or revision is not there, or not for this caller.
        """
        self._check_reachable()
        try:
            info = _within(self._limits.file_deadline, self._patient_model_info, f"the metadata of {self.repository}")
        except SourceUnreachableError as error:
            self._unreachable[self._endpoint] = str(error)
            raise
        files = tuple(_remote_file(sibling) for sibling in info.siblings or ())
        if not (isinstance(info.sha, str) and _COMMIT.fullmatch(info.sha)):
            raise SourceError(f"expected the Hub to tell the commit of {self.label}, found {info.sha!r}")
        # From here on the commit, so that what is fetched is what was listed, also if the branch moves on.
        self._commit = info.sha
        card = info.card_data or {}
        if not hasattr(card, "get"):
            raise SourceError(f"expected the Hub to tell the model card's data as a table, found {card!r}")
        stated = card.get("license")
        return Listing(revision=info.sha, license=plain_license(stated), files=files)

    def fetch(
        self, files: Sequence[RemoteFile], open_sink: Callable[[RemoteFile], AbstractContextManager[Sink]]
    ) -> list[Failure]:
        """Download each of ``files`` into its sink, several at once."""
        try:
            self._check_reachable()
            token = self._token()
        except SourceError as error:
            return [Failure(file=file, error=error) for file in files]
        base = f"{self._endpoint}/{self.repository}/resolve/{quote(self._commit, safe='')}/"
        downloader = Downloader(limits=self._limits, token=token)
        failures = downloader.run([(f"{base}{quote(file.path)}", file) for file in files], open_sink)
        for failure in failures:
            if isinstance(failure.error, SourceUnreachableError):
                self._unreachable.setdefault(self._endpoint, str(failure.error))
        return failures

    def _check_reachable(self) -> None:
        if any(os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")):
            raise SourceUnreachableError("HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so the Hub is not asked")
        if not _is_address(self._endpoint):
            # Not repeated: it may hold a password.
            raise SourceUnreachableError("expected HF_ENDPOINT to be an address that begins with https:// or http://")
        if reason := self._unreachable.get(self._endpoint):
            raise SourceUnreachableError(f"not asked again, because before it was: {reason}")

    def _token(self) -> str | None:
        """Return the token that the user has for the Hub; to get or renew one may itself ask a server."""
        hub = _huggingface_hub()
        if hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
            return None
        try:
            return _within(self._limits.read, hub.get_token, f"a token for {self.label}")  # type: ignore[no-any-return]
        except SourceError:
            raise
        except Exception as error:
            found = f"{type(error).__name__}: {without_secrets(str(error))}"
            raise SourceError(f"expected a token for {self.label}, found {found}") from error

    def _patient_model_info(self) -> Any:  # noqa: ANN401 - huggingface_hub's ModelInfo
        for attempt in range(1, self._limits.attempts + 1):
            try:
                return self._model_info()
            except SourceUnreachableError:
                if attempt == self._limits.attempts:
                    raise
                time.sleep(min(self._limits.backoff * 2 ** (attempt - 1), self._limits.backoff_most))
        raise AssertionError("at least one attempt is made")

    def _model_info(self) -> Any:  # noqa: ANN401 - huggingface_hub's ModelInfo
        hub = _huggingface_hub()
        host = without_secrets(self._endpoint)
        token = self._token()
        secrets = [token] if token else []
        hooks = hub.get_session().event_hooks
        try:
            hub.get_session().event_hooks = {
                "request": [*hooks["request"], _ask_as_it_is],
                "response": [*hooks["response"], lambda response: cap_answer(response, _LARGEST_METADATA)],
            }
            return hub.HfApi(endpoint=self._endpoint, token=token or False).model_info(
                self.repository,
                revision=self.revision,
                files_metadata=True,
                # Per operation; the call as a whole is bounded by _within().
                timeout=min(self._limits.connect, self._limits.read),
            )
        except SourceError:
            raise
        except hub.errors.HFValidationError as error:
            # Nobody was asked, so this says nothing about the endpoint.
            raise SourceError(f"expected a repository id that the Hub can have, found {self.repository!r}") from error
        except hub.errors.HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            reason = f"expected {host} to tell about {self.label}, found HTTP status {status}: {_meaning(status)}"
            is_passing = status is None or status == 429 or status >= 500  # noqa: PLR2004 - HTTP's own numbers
            kind = SourceUnreachableError if is_passing else SourceError
            raise kind(without_secrets(reason, *secrets)) from error
        except Exception as error:
            # Whatever else the client raises, it did not get an answer: it has no common base class for that.
            detail = without_secrets(str(error), *secrets)
            raise SourceUnreachableError(
                f"expected an answer from {host}, found {type(error).__name__}: {detail}"
            ) from error
        finally:
            # The session is huggingface_hub's, and shared with whoever else uses it in this process.
            hub.get_session().event_hooks = hooks


def _ask_as_it_is(request: Any) -> None:  # noqa: ANN401 - the HTTP client's request
    request.headers["Accept-Encoding"] = "identity"


def _remote_file(sibling: Any) -> RemoteFile:  # noqa: ANN401 - huggingface_hub's RepoSibling, whose types nobody checked
    path, size, blob_id = sibling.rfilename, sibling.size, sibling.blob_id
    stated = sibling.lfs.get("sha256") if sibling.lfs else None
    if not isinstance(path, str):
        raise SourceError(f"expected the Hub to tell the paths of files, found {path!r}")
    if size is not None and (type(size) is not int or size < 0):
        raise SourceError(f"{path}: expected the Hub to tell its size in bytes, found {size!r}")
    try:
        sha256 = None if stated is None else Digest(str(stated))
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from error
    # A large file's blob id is that of the pointer kept in git, which says nothing about the content.
    if sibling.lfs or blob_id is None:
        return RemoteFile(path=path, size=size, sha256=sha256)
    if not (isinstance(blob_id, str) and _COMMIT.fullmatch(blob_id)):
        raise SourceError(f"{path}: expected a git blob id of 40 hexadecimal digits, found {blob_id!r}")
    return RemoteFile(path=path, size=size, sha256=sha256, blob_id=blob_id)


def _meaning(status: int | None) -> str:
    match status:
        case 401:
            return "no such repository or revision, or it is private (set HF_TOKEN)"
        case 403:
            return "the repository is gated, and the token has no access (ask for it on its page)"
        case 404:
            return "no such repository or revision"
        case 429:
            return "too many requests"
        case _:
            return "the Hub is in trouble"


def _huggingface_hub() -> Any:  # noqa: ANN401 - a module that takes a third of a second to import
    # Read when the module is imported: without it, request headers are made after asking the Hub about agents.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub  # noqa: PLC0415 - only where a Hub is asked
    import huggingface_hub.constants  # noqa: PLC0415
    import huggingface_hub.errors  # noqa: PLC0415

    return huggingface_hub


def _within(seconds: float, work: Callable[[], T], what: str) -> T:
    """Run ``work`` in a thread and stop waiting after ``seconds``: a dripping server defeats timeouts per operation."""
    outcome: list[T | BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            outcome.append(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="thoth-hub-metadata", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise SourceUnreachableError(f"expected {what} within {seconds:g} s, found the server still answering")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
