"""Secrets of many kinds, planted where a run finds them, are in nothing that it prints or writes."""

from __future__ import annotations

import base64
import json
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.support.bundles import make_writable
from tests.support.hub_simulator import HubSimulator, Silence, Status
from tests.support.intercepted import Commands
from tests.support.projects import COMMIT, Project, model_files
from tests.support.registry_server import (
    USER,
    WORD,
    Fault,
    FaultyProxy,
    RegistryServer,
    TokenServer,
    basic,
    docker_configuration,
    htpasswd,
    status,
)
from tests.support.signing import make_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.hostile, pytest.mark.signing]

NOWHERE = "127.0.0.1:9"


def made_up(beginning: str) -> str:
    """Return a secret that no text has by chance."""
    return f"{beginning}{secrets.token_hex(12)}"


@dataclass
class Planted:
    """A project, servers that ask for secrets, and all that commands printed.

    Attributes:
        project: All that a run writes is in its directory.
        hub: A hub that asks for a token.
        proxy: In front of a registry that asks for a password.
        trusting: A registry that asks for tokens of a token server.
        commands: Runs commands, which have the secrets in their surroundings.
        key: File of an encrypted private key, and its public key beside it.
        secrets: The secrets by kind.
        issued: Tokens that the token server gave.
        printed: What was printed, by command.
    """

    project: Project
    hub: HubSimulator
    proxy: FaultyProxy
    trusting: RegistryServer
    commands: Commands
    key: Path
    secrets: dict[str, str]
    issued: list[str]
    printed: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command verbosely, and return what it printed."""
        outcome = self.commands.run("--verbose", *arguments)
        text = outcome.out + outcome.err
        self.printed[f"{len(self.printed)} {' '.join(arguments)}"] = text
        assert outcome.code == code, text
        return text

    def found(self) -> dict[str, list[str]]:
        """Return where each secret is, in any of the forms that it has on its way."""
        places = {name: text.encode() for name, text in self.printed.items()}
        for path in self.project.root.rglob("*"):
            if path.is_file():
                places[str(path)] = path.read_bytes()
        # Of tokens, the signature: the rest is the same in each, and says what may be done.
        tokens = {f"bearer token {index}": token.rpartition(".")[2] for index, token in enumerate(self.issued)}
        return {
            kind: where
            for kind, value in {**self.secrets, **tokens}.items()
            if (where := [name for name, data in places.items() if any(form in data for form in forms(value))])
        }


def forms(value: str) -> set[bytes]:
    """Return a secret as it is, in an address, in JSON, and in the header that has a password."""
    texts = {value, quote(value, safe=""), json.dumps(value)[1:-1]}
    return {text.encode() for text in texts} | {base64.b64encode(value.encode()).rstrip(b"=")}


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    words = {kind: made_up(f"{kind}-") for kind in ("proxy", "in/dex", "hub", "p4th", "netrc", "aws", "key", "cookie")}
    with ExitStack() as stack:
        hub = stack.enter_context(HubSimulator())
        hub.add_model("org/mini", model_files("mini"), revision=COMMIT, token=words["hub"])
        guarded = stack.enter_context(RegistryServer(tmp_path / "guarded", environment=htpasswd(tmp_path / "guarded")))
        proxy = stack.enter_context(FaultyProxy(guarded.host))
        returned = {"Set-Cookie": f"session={words['cookie']}", "Authorization": f"Bearer {words['cookie']}"}
        proxy.change_answer = lambda _method, _path, headers, data: ({**headers, **returned}, data)
        tokens = stack.enter_context(TokenServer(tmp_path / "tokens"))
        tokens.identity_tokens = {made_up("identity-")}
        issued: list[str] = []
        sign = tokens._sign

        def remembered(access: list[dict[str, Any]]) -> str:
            issued.append(sign(access))
            return issued[-1]

        tokens._sign = remembered  # type: ignore[method-assign]
        trusting = stack.enter_context(RegistryServer(tmp_path / "trusting", environment=tokens.environment()))
        identity = {"auth": basic("<token>", "")["auth"], "identitytoken": next(iter(tokens.identity_tokens))}
        entries = {proxy.host: basic(USER, WORD), trusting.host: identity}
        (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login someone password {words['netrc']}\n")
        (tmp_path / ".netrc").chmod(0o600)
        key = make_key(tmp_path, password=words["key"].encode())
        environment = {
            "HOME": str(tmp_path),
            "DOCKER_CONFIG": str(docker_configuration(tmp_path / "docker", auths=entries)),
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": words["hub"],
            "HF_HUB_OFFLINE": "0",
            "HTTPS_PROXY": f"http://someone:{words['proxy']}@{NOWHERE}",
            "NO_PROXY": "127.0.0.1",
            "PIP_INDEX_URL": f"http://someone:{words['in/dex']}@{NOWHERE}/simple",
            "PIP_EXTRA_INDEX_URL": f"http://{NOWHERE}/{words['p4th']}/simple/",
            "PIP_RETRIES": "0",
            "AWS_SECRET_ACCESS_KEY": words["aws"],
            "THOTH_KEY_PASSWORD": words["key"],
        }
        project = Project(tmp_path / "project")
        project.specify({"mini": {"sources": [{"hub": "org/mini", "revision": COMMIT}]}})
        yield Planted(
            project,
            hub,
            proxy,
            trusting,
            stack.enter_context(Commands(tmp_path, environment)),
            key.file,
            {
                "password of a proxy": words["proxy"],
                "password of an index, with a slash": words["in/dex"],
                "token of the Hub": words["hub"],
                "password of a registry": WORD,
                "entry of the Docker configuration": basic(USER, WORD)["auth"],
                "identity token of a registry": identity["identitytoken"],
                "token in the path of an address": words["p4th"],
                "password in netrc": words["netrc"],
                "key that nothing uses": words["aws"],
                "private key": key.file.read_text().splitlines()[2],
                "password of the private key": words["key"],
                "cookie and header of a server": words["cookie"],
            },
            issued,
        )
        make_writable(tmp_path)


def release(planted: Planted) -> None:
    """Run every command that makes or looks at a release."""
    project, run = planted.project, planted.run
    root, output = project.root, str(project.output)
    run(*project.arguments("lock"))
    run(*project.arguments("lock", "--check"))
    run(*project.arguments("build"))
    run("sign", output, f"--key={planted.key}")
    run("verify", output, "--strict", f"--trust={planted.key.with_suffix('.pub')}")
    run("image", output, f"--to=oci:{root / 'image'}", f"--to=docker-archive:{root / 'image.tar'}")
    run("image", output, f"--to=registry:{planted.proxy.host}/acme/models:1")
    run("image", output, f"--to=registry:{planted.trusting.host}/acme/models:1", "--format=modelpack")
    run("inspect", output)
    run("sbom", output)
    run("diff", output, output, "--layers", str(root / "image"), str(root / "image"))
    run("report", output, f"--output={root / 'report.html'}")
    run(*project.arguments("gc", "--unused-days=0"))


def test_no_secret_is_in_what_a_release_prints_and_writes(planted: Planted) -> None:
    release(planted)
    # They were used, and there was something to look through.
    assert ("PUT", "/v2/acme/models/manifests/1") in planted.proxy.seen
    assert any("Basic" in (sent or "") for sent in planted.proxy.authorizations)
    assert planted.issued
    assert {request.headers.get("authorization") for request in planted.hub.requests} == {
        f"Bearer {planted.secrets['token of the Hub']}"
    }
    assert len(planted.secrets) >= 10
    assert planted.found() == {}


def fail(planted: Planted) -> None:
    """Run commands that fail where a secret is at hand."""
    project, run = planted.project, planted.run
    output = str(project.output)
    words = planted.secrets
    run(*project.arguments("lock"))
    run(*project.arguments("build"))
    told = json.dumps({"errors": [{"code": "DENIED", "message": f"not with {WORD} {basic(USER, WORD)['auth']}"}]})
    push = ("image", output, f"--to=registry:{planted.proxy.host}/acme/models:1")
    for code in (400, 401, 403):
        planted.proxy.faults = [Fault("POST", "/uploads/", status(code, body=told.encode()))]
        assert "expected" in run(*push, code=4)
        assert run(*push, "--json", code=4)
    run("image", output, f"--to=registry:{planted.trusting.host}/acme/models:1", "--base=oci:nowhere", code=4)
    headers = {"Set-Cookie": words["cookie and header of a server"], "X-Error-Message": words["token of the Hub"]}
    other = {"sources": [{"hub": "org/mini", "revision": "b" * 40}]}
    project.specify({"mini": other})
    for fault in (Status(500, headers), Status(401, headers), Silence()):
        planted.hub.fault("api", fault)
        run(*project.arguments("lock"), code=3)
        planted.hub.clear_faults()
    project.specify({"mini": {"sources": [{"wheel": "some-model==1.0", "path": "model"}]}})
    assert "some-model" in run(*project.arguments("lock"), code=3)
    run("sign", output, f"--key={planted.key}", f"--certificate={planted.key}", code=2)
    planted.project.file.write_text(f"password: {words['token of the Hub']}\n")
    run(*project.arguments("lock"), code=2)


def test_no_secret_is_in_what_a_failure_prints_and_leaves(planted: Planted) -> None:
    fail(planted)
    assert len(planted.printed) > 10
    planted.project.file.unlink()  # in which the test wrote one
    assert planted.found() == {}


def test_a_secret_in_a_file_of_a_model_is_found_wherever_it_goes(planted: Planted) -> None:
    """The positive control: what is searched are the bundle, the store, the layers, and what was printed."""
    files = model_files("mini")
    files["vocab.txt"] += "\n".join(planted.secrets.values()).encode()
    planted.hub.add_model("org/mini", files, revision=COMMIT, token=planted.secrets["token of the Hub"])
    release(planted)
    planted.printed["by hand"] = planted.secrets["password in netrc"]
    found = planted.found()
    assert found.keys() >= planted.secrets.keys()
    root = str(planted.project.root)
    for where in found.values():
        beginnings = {place.removeprefix(root).split("/")[1] for place in where if place.startswith(root)}
        assert beginnings == {"bundle", "store", "image", "image.tar"}
    assert "by hand" in found["password in netrc"]
