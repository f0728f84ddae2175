"""A repository on the Hugging Face Hub as a source.

The only module that imports huggingface_hub, for metadata and the token. Files are downloaded by :mod:`.http` at the
pinned commit; the cache of the Hub client, its locks and Xet are not used.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import re
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from thoth_models.bundle.digest import Digest
from thoth_models.errors import EnvironmentFault
from thoth_models_builder.errors import SourceError, SourceUnreachableError
from thoth_models_builder.net.body import cap_body, found_in_answer
from thoth_models_builder.net.certificates import adopt_certificates, certificate_advice, named_certificates
from thoth_models_builder.net.proxies import refuse_malformed_proxies, server_address
from thoth_models_builder.net.redact import without_secrets
from thoth_models_builder.net.redirects import refused_redirect
from thoth_models_builder.net.retry import RetryableError, retried, run_requests
from thoth_models_builder.sources.http import Downloader
from thoth_models_builder.sources.model_card import stated_license
from thoth_models_builder.sources.source import Failure, Listing, RemoteFile, Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from thoth_models_builder.sources.limits import Limits

_log = logging.getLogger(__name__)

T = TypeVar("T")

_DEFAULT_ENDPOINT = "https://huggingface.co"
_MAX_METADATA_SIZE = 32 * 1024 * 1024
"""Largest metadata of a repository, in bytes; ten thousand files take two million."""

_MAX_PATHS = 500
"""Files that are asked for in one request."""

_MAX_HEADS = 1000
"""Files that are asked for one by one; each takes a round trip."""

_REFERENCES_SECONDS = 20.0
"""Time limit for looking for a commit that has another format, which is a service to the reader of an error."""

_MAX_REFERENCES = 20

_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TRUE = ("1", "ON", "YES", "TRUE")
_MEANINGS = {
    401: " (no such repository or revision, or it is private: set HF_TOKEN)",
    403: " (the repository is gated, and the token has no access: ask for it on its page)",
    404: " (no such repository or revision)",
    429: " (too many requests)",
}


class HubRepository:
    """A repository at a revision.

    Args:
        repository: Repository id.
        revision: Commit, tag or branch. Files are only fetched at a commit.
        limits: Bounds on every wait.
        unreachable: Endpoints that did not answer during this run, with the reason. The repositories of a run share
            it, so that the run waits only once for an endpoint that does not answer.
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
        """Return the files of the commit that the revision points to.

        Raises:
            SourceUnreachableError: The endpoint does not answer.
            SourceError: The repository or revision does not exist, or requires other access rights.
        """
        self._check_reachable()
        try:
            info, files = _within(
                self._limits.file_deadline, self._patient_metadata, f"the metadata of {self.repository}"
            )
        except SourceUnreachableError as error:
            self._unreachable[self._endpoint] = str(error)
            raise
        # Fetch from this commit, also if the branch moves on after the listing.
        self._commit = info.sha
        card = info.card_data or {}
        if not hasattr(card, "get"):
            raise SourceError(f"expected the Hub to state the model card's data as an object, found {card!r}")
        stated = stated_license(card.get)
        return Listing(revision=info.sha, license=stated.text, license_link=stated.link, files=files)

    def read_beginning(self, file: RemoteFile, size: int) -> bytes:
        """Return the first bytes of a file, by a request for this range."""
        self._check_reachable()
        downloader = Downloader(limits=self._limits, token=self._token())
        return downloader.beginning(f"{self._base}{quote(file.path)}", file, size)

    def find_commit(self, path: str) -> tuple[str, str] | None:
        """Return another reference of the repository whose commit has a file, and that commit; None if there is none.

        Looks at conversions and pull requests, the latest first, where bots and owners publish other formats.

        Raises:
            SourceError: The endpoint does not answer in time, or not as expected.
        """
        self._check_reachable()
        seconds = min(self._limits.file_deadline, _REFERENCES_SECONDS)
        return _within(seconds, lambda: self._find_commit(path), f"the references of {self.repository}")

    def _find_commit(self, path: str) -> tuple[str, str] | None:
        token = self._token()
        with self._asking(token):
            found = self._api(token).list_repo_refs(self.repository, include_pull_requests=True)
            references = [*found.converts, *reversed(found.pull_requests or [])]
        for one in references[:_MAX_REFERENCES]:
            with self._asking(token):
                info = self._api(token).model_info(self.repository, revision=one.ref)
            if any(sibling.rfilename == path for sibling in info.siblings or ()) and _COMMIT.fullmatch(str(info.sha)):
                return str(one.ref), str(info.sha)
        return None

    def fetch(
        self, files: Sequence[RemoteFile], open_sink: Callable[[RemoteFile], AbstractContextManager[Sink]]
    ) -> list[Failure]:
        """Download each of ``files`` into its sink, several at once."""
        try:
            self._check_reachable()
            token = self._token()
        except SourceError as error:
            return [Failure(file=file, error=error) for file in files]
        downloader = Downloader(limits=self._limits, token=token)
        failures = downloader.run([(f"{self._base}{quote(file.path)}", file) for file in files], open_sink)
        for failure in failures:
            if isinstance(failure.error, SourceUnreachableError):
                self._unreachable.setdefault(self._endpoint, str(failure.error))
        return failures

    @property
    def _base(self) -> str:
        return f"{self._endpoint}/{self.repository}/resolve/{quote(self._commit, safe='')}/"

    def _check_reachable(self) -> None:
        if any(os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")):
            raise SourceUnreachableError("HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so the Hub is not asked")
        refuse_malformed_proxies(SourceUnreachableError)
        if server_address(self._endpoint, ("http", "https")) is None:
            # The value is not shown: it may contain a password.
            raise SourceUnreachableError("expected HF_ENDPOINT to be an address that begins with https:// or http://")
        if reason := self._unreachable.get(self._endpoint):
            raise SourceUnreachableError(f"not asked again, because before it was: {reason}")

    def _token(self) -> str | None:
        """Return the token of the user for the Hub; getting or renewing it may involve a request."""
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

    def _patient_metadata(self) -> tuple[Any, tuple[RemoteFile, ...]]:
        async def attempt() -> tuple[Any, tuple[RemoteFile, ...]]:
            try:
                return self._metadata()
            except SourceUnreachableError as error:
                raise RetryableError(str(error), is_unanswered=True) from error

        # An event loop for this one call: in the thread of _within(), which runs nothing else.
        return run_requests(lambda: retried(attempt, self._limits, SourceError, SourceUnreachableError))

    def _metadata(self) -> tuple[Any, tuple[RemoteFile, ...]]:
        """Return huggingface_hub's ModelInfo, and the files of its commit."""
        token = self._token()
        with self._asking(token):
            info = self._api(token).model_info(self.repository, revision=self.revision, files_metadata=True)
        files = {file.path: file for file in map(_remote_file, info.siblings or ())}
        if not (isinstance(info.sha, str) and _COMMIT.fullmatch(info.sha)):
            raise SourceError(f"expected the Hub to state the commit of {self.label}, found {info.sha!r}")
        # Some mirrors drop the question for sizes and digests.
        if lacking := [path for path, file in files.items() if file.size is None]:
            files |= {path: file for path, file in self._details(info.sha, lacking, token).items() if path in files}
        return info, tuple(files.values())

    def _details(self, commit: str, paths: list[str], token: str | None) -> dict[str, RemoteFile]:
        """Ask for size and digest of each path; what the endpoint does not state either is left out."""
        found: dict[str, RemoteFile] = {}
        try:
            for start in range(0, len(paths), _MAX_PATHS):
                with self._asking(token):
                    infos = self._api(token).get_paths_info(
                        self.repository, paths[start : start + _MAX_PATHS], revision=commit
                    )
                    found |= {info.path: _remote_file(info) for info in infos if hasattr(info, "size")}
        except SourceError as error:
            # A mirror without that route may state the same in the headers of each file.
            _log.info("%s; asking for each file", error)
        for path in [path for path in paths if path not in found][:_MAX_HEADS]:
            try:
                found[path] = self._stated(commit, path, token)
            except SourceUnreachableError:
                raise
            except SourceError as error:
                _log.info("%s: its size is not known: %s", path, error)
        return found

    def _stated(self, commit: str, path: str, token: str | None) -> RemoteFile:
        hub = _huggingface_hub()
        with self._asking(token):
            url = hub.hf_hub_url(self.repository, path, revision=commit, endpoint=self._endpoint)
            stated = hub.get_hf_file_metadata(url, token=token or False)
        # Of a file in large-file storage the tag is its sha256, of another its git blob id.
        etag = stated.etag or ""
        return RemoteFile(
            path=path,
            size=stated.size,
            sha256=Digest(etag) if _SHA256.fullmatch(etag) else None,
            blob_id=etag if _COMMIT.fullmatch(etag) else None,
        )

    def _api(self, token: str | None) -> Any:  # noqa: ANN401 - huggingface_hub's HfApi
        return _huggingface_hub().HfApi(endpoint=self._endpoint, token=token or False)

    @contextlib.contextmanager
    def _asking(self, token: str | None) -> Iterator[None]:
        """Bound the requests of huggingface_hub in the block, and turn its errors into those of a source.

        Raises:
            SourceUnreachableError: There was no answer, or one that may be another next time.
            SourceError: The answer is of no use.
        """
        hub = _huggingface_hub()
        host = without_secrets(self._endpoint)
        secrets = [token] if token else []
        expected = f"expected {host} to describe {self.label}, found"
        try:
            session = hub.get_session()
        except Exception as error:  # the client is made of what the environment says of proxies and certificates
            found = f"{without_secrets(str(error), *secrets)}{named_certificates()}"
            reason = f"expected proxies and certificates as the environment names them, found {found}"
            raise SourceUnreachableError(reason) from error
        hooks, answers = session.event_hooks, list[Any]()

        def bound(request: Any) -> None:  # noqa: ANN401 - the HTTP client's request
            request.headers["Accept-Encoding"] = "identity"
            # Per operation; all of them together are bounded by _within().
            seconds = min(self._limits.connect, self._limits.read)
            request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), seconds)

        def look(response: Any) -> None:  # noqa: ANN401 - the HTTP client's answer
            answers[:] = [response]
            if (reason := refused_redirect(response)) is not None:
                raise SourceError(reason)
            cap_body(response, _MAX_METADATA_SIZE, SourceError)

        try:
            session.event_hooks = {"request": [*hooks["request"], bound], "response": [*hooks["response"], look]}
            yield
        except SourceError:
            raise
        except hub.errors.HFValidationError as error:
            # No request was sent, so this says nothing about the endpoint.
            raise SourceError(f"expected a repository id that the Hub can have, found {self.repository!r}") from error
        except hub.errors.HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            instead = found_in_answer(*answers)
            meaning = _MEANINGS.get(status or 0, "" if instead else " (the Hub is in trouble)")
            found = f"HTTP status {status}{meaning}" + (f" and {instead}" if instead else "")
            is_passing = status is None or status == 429 or status >= 500  # noqa: PLR2004 - HTTP's own numbers
            kind = SourceUnreachableError if is_passing else SourceError
            raise kind(without_secrets(f"{expected} {found}", *secrets)) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            found = found_in_answer(*answers) or f"an answer of another form ({type(error).__name__}: {error})"
            raise SourceError(without_secrets(f"{expected} {found}", *secrets)) from error
        except Exception as error:
            # All other errors of the client mean that it got no answer; they have no common base class.
            detail = without_secrets(str(error), *secrets)
            raise SourceUnreachableError(
                f"expected an answer from {host}, found {type(error).__name__}: {detail}{certificate_advice(error)}"
            ) from error
        finally:
            # The session belongs to huggingface_hub, and other code in this process may use it.
            session.event_hooks = hooks


def _remote_file(sibling: Any) -> RemoteFile:  # noqa: ANN401 - huggingface_hub's RepoSibling, with unchecked types
    path, size, blob_id = sibling.rfilename, sibling.size, sibling.blob_id
    stated = sibling.lfs.get("sha256") if sibling.lfs else None
    if not isinstance(path, str):
        raise SourceError(f"expected the Hub to state the paths of files, found {path!r}")
    if size is not None and (type(size) is not int or size < 0):
        raise SourceError(f"{path}: expected the Hub to state its size in bytes, found {size!r}")
    try:
        sha256 = None if stated is None else Digest(str(stated))
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from error
    # The blob id of a file in large-file storage is that of a pointer, and says nothing about the content.
    if sibling.lfs or blob_id is None:
        return RemoteFile(path=path, size=size, sha256=sha256)
    if not (isinstance(blob_id, str) and _COMMIT.fullmatch(blob_id)):
        raise SourceError(f"{path}: expected a git blob id of 40 hexadecimal digits, found {blob_id!r}")
    return RemoteFile(path=path, size=size, sha256=sha256, blob_id=blob_id)


def _huggingface_hub() -> Any:  # noqa: ANN401 - a module that takes a third of a second to import
    # Read at import; without it, huggingface_hub sends a request to the Hub before the first call.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    adopt_certificates()
    import huggingface_hub  # noqa: PLC0415 - only where a Hub is asked
    import huggingface_hub.constants  # noqa: PLC0415
    import huggingface_hub.errors  # noqa: PLC0415

    return huggingface_hub


def _within(seconds: float, work: Callable[[], T], what: str) -> T:
    """Run ``work`` in a thread and stop waiting after ``seconds``: a slow server defeats timeouts of operations."""
    outcome: list[T | BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            outcome.append(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="thoth-hub-metadata", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise EnvironmentFault(f"expected to start a thread for {what}, found {error}") from error
    thread.join(seconds)
    if not outcome:
        raise SourceUnreachableError(f"expected {what} within {seconds:g} s, found the server still answering")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
