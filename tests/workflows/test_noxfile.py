"""Which torch the sessions of nox install: the CPU build where its index answers, else what pip finds; the audit."""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
OPTIONS = ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]


@pytest.fixture
def noxfile(monkeypatch: pytest.MonkeyPatch) -> Any:
    """noxfile.py as a module; nox itself need not be installed here."""
    nox = ModuleType("nox")

    def session(function: Callable[..., None] | None = None, **_options: object) -> Any:
        return function or (lambda decorated: decorated)

    vars(nox).update(session=session, options=SimpleNamespace(sessions=[]), Session=object, needs_version="")
    monkeypatch.setitem(sys.modules, "nox", nox)
    spec = importlib.util.spec_from_file_location("noxfile_of_the_test", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("THOTH_TORCH", raising=False)
    asked: list[str] = []

    def answers(url: str) -> bool:
        asked.append(url)
        return True

    vars(module).update(asked=asked, answers=answers)
    return module


class Session:
    """What a session of nox would run; pip has the given configuration."""

    def __init__(self, *settings: str) -> None:
        self.settings = settings
        self.installed: list[str] = []

    def run(self, *command: str, silent: bool) -> str:
        assert (command, silent) == (("python", "-m", "pip", "config", "list"), True)
        return "\n".join(self.settings)

    def install(self, *arguments: str) -> None:
        self.installed += arguments


def installed(noxfile: Any, *packages: str, settings: tuple[str, ...] = ()) -> list[str]:
    session = Session(*settings)
    noxfile.install(session, *packages)
    assert session.installed[-len(packages) :] == list(packages)
    return [argument for argument in session.installed if argument in OPTIONS]


@pytest.mark.parametrize("packages", [("./builder[compile,sbom]",), ("./runtime[onnx,torch]", "pytest")])
def test_what_brings_torch_gets_the_cpu_build(noxfile: Any, packages: tuple[str, ...]) -> None:
    assert installed(noxfile, *packages, settings=("global.timeout='60'",)) == OPTIONS
    assert noxfile.asked == ["https://download.pytorch.org/whl/cpu/torch/"]


def test_nothing_is_asked_for_what_brings_no_torch(noxfile: Any) -> None:
    assert installed(noxfile, "./runtime[onnx]", "pytest") == []
    assert noxfile.asked == []


@pytest.mark.parametrize(
    "setting",
    [
        "global.index-url='https://pip.example.org/simple'",
        ":env:.extra-index-url='https://download.pytorch.org/whl/cu128'",
        "user.no-index='true'",
        "install.find-links='/wheels'",
    ],
)
def test_what_pip_was_told_stays(noxfile: Any, setting: str) -> None:
    assert installed(noxfile, "./builder[compile]", settings=("global.timeout='60'", setting)) == []
    assert noxfile.asked == []


def test_cuda_on_request(noxfile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_TORCH", "cuda")
    assert installed(noxfile, "./builder[compile]") == []
    monkeypatch.setenv("THOTH_TORCH", "cpu")
    assert installed(noxfile, "./builder[compile]") == OPTIONS


def test_elsewhere_torch_is_a_cpu_build_anyway(noxfile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert installed(noxfile, "./builder[compile]") == []


def test_without_an_answer_pip_decides(noxfile: Any) -> None:
    noxfile.answers = lambda _url: False
    assert installed(noxfile, "./builder[compile]") == []


# --- what the README's command makes ---


def test_the_environment_of_the_build_can_list_the_materials(noxfile: Any) -> None:
    class Building(Session):
        posargs = ("--output", "other")
        commands: ClassVar[list[tuple[str, ...]]] = []

        def run(self, *command: str, silent: bool = False) -> str:
            if not silent:
                self.commands.append(command)
            return ""

    session = Building()
    noxfile.build_bundle(session)
    assert "./builder[compile,sbom]" in session.installed
    report = ("thoth-bundle", "report", "other", "--benchmarks", "bench/results.json")
    assert session.commands == [
        ("thoth-bundle", "build", "--output", "other"),
        (*report, "--output", str(noxfile.ROOT / "other.report.html")),
        ("thoth-bundle", "image", "other", "--to", "oci:image"),
        ("python", "docker/load.py", "other"),
    ]


# --- whether an index answers ---


@pytest.fixture
def index() -> Iterator[tuple[str, list[str]]]:
    """An HTTP server with one page, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if self.path == "/torch/" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.fixture
def probing(noxfile: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """noxfile.py with its own probe, and no proxy."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    spec = importlib.util.spec_from_file_location("noxfile_with_its_probe", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def answers(probing: Any) -> Callable[[str], bool]:
    found: Callable[[str], bool] = probing.answers
    return found


def test_a_page_that_is_there_is_asked_for_once(index: tuple[str, list[str]], answers: Callable[[str], bool]) -> None:
    url, asked = index
    assert answers(f"{url}/torch/")
    assert answers(f"{url}/torch/")
    assert asked == ["/torch/"]
    assert not answers(f"{url}/other/")


def test_nothing_there(answers: Callable[[str], bool]) -> None:
    assert not answers("http://127.0.0.1:9/torch/")
    assert not answers("http://[")


def test_a_silent_index_costs_seconds(answers: Callable[[str], bool]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert not answers(f"http://127.0.0.1:{silent.getsockname()[1]}/torch/")
        assert time.monotonic() - started < 15


def test_a_name_that_is_looked_up_for_minutes_costs_seconds(probing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No timeout of a connection ends the lookup of a name."""
    ended = threading.Event()
    monkeypatch.setattr(probing, "INDEX_SECONDS", 0.05)

    def look_up(*_arguments: object, **_options: object) -> None:
        ended.wait(60)
        raise OSError

    monkeypatch.setattr(probing.urllib.request, "urlopen", look_up)
    started = time.monotonic()
    assert not probing.answers("http://slow.example.org/")
    assert time.monotonic() - started < 30
    ended.set()


def test_an_audit_asks_for_every_package_and_fails_for_unknown_ones(
    noxfile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that knows none of them would otherwise say that there is no fault."""
    (tmp_path / "lib/python3.13/site-packages").mkdir(parents=True)
    monkeypatch.setattr(noxfile, "PROGRAMS", tmp_path / "bin")
    audits: list[tuple[str, ...]] = []

    def run(*command: str, silent: bool = False) -> str:
        if command[0] == "pip-audit":
            audits.append(command)
        return "idna==3.20\ntorch==2.13.0+cpu\n" if silent else ""

    session = SimpleNamespace(
        posargs=["-s", "osv"], run=run, install=lambda *_arguments: None, create_tmp=lambda: str(tmp_path)
    )
    noxfile.audit(session)
    assert (tmp_path / "installed.txt").read_text(encoding="utf-8") == "idna==3.20\ntorch==2.13.0\n"
    assert [Path(command[2]).name for command in audits] == ["installed.txt", "constraints.txt"]
    for command in audits:
        assert {"--strict", "--no-deps", "--disable-pip"} <= set(command)
        assert command[-2:] == ("-s", "osv")
