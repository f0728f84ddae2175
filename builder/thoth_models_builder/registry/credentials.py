"""Find credentials for registries where `docker login` stores them: the Docker configuration and its helpers.

The order is Docker's: a helper named for the registry (``credHelpers``), the one for all (``credsStore``), then the
entries of the file itself (``auths``). Helpers speak the protocol of https://github.com/docker/docker-credential-helpers.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thoth_models_builder.errors import CredentialsError
from thoth_models_builder.oci.references import DOCKER_HUB

HELPER_SECONDS = 30.0
"""Time limit for a credential helper, which may wait for a person or for a service that does not answer."""

_HUB_KEY = "https://index.docker.io/v1/"
_IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - a marker of the protocol
_MAX_CONFIGURATION_SIZE = 4 * 1024 * 1024
_MAX_REASON_LENGTH = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Credentials for a registry; they appear in no message or representation.

    Attributes:
        username: User name; empty if there is a token instead.
        password: Password; empty if there is a token instead.
        identity_token: Token that the token server of the registry exchanges for access tokens.
        registry_token: Token that is sent to the registry unchanged.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """User name and password, encoded for HTTP Basic; empty if there are none."""
        if not self.username:
            return ""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")

    @property
    def secrets(self) -> tuple[str, ...]:
        """All values that messages must not contain."""
        return tuple(filter(None, (self.password, self.identity_token, self.registry_token, self.basic)))


def configuration_file() -> Path:
    """Return the path of the Docker configuration, whether it exists or not."""
    directory = os.environ.get("DOCKER_CONFIG")
    return (Path(directory) if directory else Path.home() / ".docker") / "config.json"


def find_credentials(registry: str, *, helper_seconds: float = HELPER_SECONDS) -> Credentials | None:
    """Return the credentials for a registry, or None if the Docker configuration has none.

    Raises:
        CredentialsError: The configuration cannot be read, or a helper fails or takes too long.
    """
    file = configuration_file()
    configuration = _read(file)
    key = _HUB_KEY if registry == DOCKER_HUB else registry
    helpers = _object(configuration, "credHelpers", file)
    helper = helpers.get(registry) or helpers.get(key) or configuration.get("credsStore")
    if helper:
        if not isinstance(helper, str) or "/" in helper:
            raise CredentialsError(f"{file}: expected the name of a credential helper, found {helper!r:.80}")
        found = _ask_helper(helper, key, helper_seconds)
        if found is not None:
            return found
    entries = _object(configuration, "auths", file)
    entry = entries.get(key)
    if entry is None:
        entry = next((entries[other] for other in sorted(entries) if _host(other) == _host(key)), None)
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise CredentialsError(f"{file}: auths: expected an object for {registry}, found a {type(entry).__name__}")
    return _from_entry(entry, f"{file}: auths: {registry}")


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_CONFIGURATION_SIZE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CredentialsError(f"{file}: expected a Docker configuration, found {error.strerror}") from error
    if len(data) > _MAX_CONFIGURATION_SIZE:
        raise CredentialsError(f"{file}: expected at most {_MAX_CONFIGURATION_SIZE} bytes, found more")
    if not data.strip():
        return {}
    try:
        configuration = json.loads(data)
    except (ValueError, RecursionError):
        # The message of the parser may quote the file, so it is neither shown nor kept as the cause.
        raise CredentialsError(f"{file}: expected JSON, found something else") from None
    if not isinstance(configuration, dict):
        raise CredentialsError(f"{file}: expected a JSON object, found a {type(configuration).__name__}")
    return configuration


def _object(configuration: dict[str, Any], name: str, file: Path) -> dict[str, Any]:
    value = configuration.get(name) or {}
    if not isinstance(value, dict):
        raise CredentialsError(f"{file}: {name}: expected an object, found a {type(value).__name__}")
    return value


def _host(key: str) -> str:
    """Return the host of a key, which is a full address in old configurations."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _from_entry(entry: dict[str, Any], place: str) -> Credentials | None:
    values = {
        name: entry.get(name) or "" for name in ("auth", "username", "password", "identitytoken", "registrytoken")
    }
    for name, value in values.items():
        if not isinstance(value, str):
            raise CredentialsError(f"{place}: {name}: expected text, found a {type(value).__name__}")
    username, password = values["username"], values["password"]
    if values["auth"]:
        try:
            username, colon, password = base64.b64decode(values["auth"], validate=True).decode().partition(":")
        except ValueError:
            raise CredentialsError(f"{place}: auth: expected base64, found something else") from None
        if not colon:
            raise CredentialsError(f"{place}: auth: expected a user name, a colon and a password in base64")
        # Docker has written passwords with a trailing zero byte.
        password = password.rstrip("\0")
    if not (username or values["identitytoken"] or values["registrytoken"]):
        # `docker login` writes an empty entry if a helper keeps the secret.
        return None
    return Credentials(
        username=username,
        password=password,
        identity_token=values["identitytoken"],
        registry_token=values["registrytoken"],
    )


def _ask_helper(suffix: str, key: str, seconds: float) -> Credentials | None:
    program = f"docker-credential-{suffix}"
    try:
        # In its own session, so that processes that the helper starts can be ended with it.
        helper = subprocess.Popen(  # noqa: S603 - the program that the user's own configuration names
            [program, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise CredentialsError(
            f"{program}: expected the credential helper that the Docker configuration names, found {error.strerror}"
        ) from error
    try:
        answer, _ = helper.communicate(key.encode(), timeout=seconds)
    except BaseException as error:
        _end(helper)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise CredentialsError(f"{program}: expected credentials for {key} within {seconds:g} s, found none") from None
    if helper.returncode:
        reason = answer.decode("utf-8", "replace").strip()
        if "credentials not found" in reason.lower():
            return None
        shown = reason.splitlines()[0][:_MAX_REASON_LENGTH] if reason and "{" not in reason else "no reason"
        raise CredentialsError(
            f"{program}: expected credentials for {key}, found exit status {helper.returncode}: {shown}"
        )
    try:
        values = json.loads(answer)
        username, secret = values["Username"], values["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CredentialsError(f"{program}: expected JSON with Username and Secret, found something else") from None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise CredentialsError(f"{program}: expected Username and Secret as text, found something else")
    if not username and not secret:
        return None
    if username == _IDENTITY_TOKEN_USER:
        return Credentials(identity_token=secret)
    return Credentials(username=username, password=secret)


def _end(helper: subprocess.Popen[bytes]) -> None:
    """Kill a helper and the processes that it started, and close its pipes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(helper.pid, signal.SIGKILL)
    helper.wait()
    for pipe in (helper.stdin, helper.stdout):
        if pipe is not None:
            pipe.close()
