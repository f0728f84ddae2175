"""The guides' diffs, applied to the services as they were: the same tests pass, the same rankings come out.

"Online" is a hub on this computer that serves the real weights: no test depends on a hub somewhere else.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.migration.guides import GUIDES, ROOT, SERVICES, Surroundings, apply, copy_of, diffs, paths_of
from tests.support.hub_simulator import HubSimulator
from thoth_models import load_embedding

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
TOLERANCE = 2e-5
"""Between scores of the two: dot products of vectors whose elements differ by at most 2e-6."""


def migrated(service: str, place: Path) -> Path:
    target = copy_of(service, place)
    for diff in diffs(service):
        apply(diff, target)
    return target


@pytest.mark.parametrize("service", SERVICES)
def test_the_diffs_apply_in_the_order_of_the_guide(service: str, tmp_path: Path) -> None:
    before = copy_of(service, tmp_path / "before")
    after = migrated(service, tmp_path / "after")
    changed = set().union(*map(paths_of, diffs(service)))
    assert {"pyproject.toml", "Dockerfile", "compose.yaml", f"{service}/embeddings.py"} <= changed
    for path in changed:
        old = before / path
        assert not old.exists() or old.read_text(encoding="utf-8") != (after / path).read_text(encoding="utf-8")
    assert not any(path.startswith("tests/") for path in changed)


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_of_the_former_way_is_left(service: str, tmp_path: Path) -> None:
    after = migrated(service, tmp_path)
    texts = {path.name: path.read_text(encoding="utf-8") for path in after.rglob("*") if path.is_file()}
    for name, text in texts.items():
        assert not re.search(
            r"sentence.transformers|huggingface", text.replace("TRANSFORMERS_OFFLINE", ""), re.IGNORECASE
        ), name


@pytest.mark.parametrize("service", SERVICES)
def test_the_alternative_image_applies_instead(service: str, tmp_path: Path) -> None:
    (alternative,) = diffs(service, "alternative")
    assert paths_of(alternative) == {"Dockerfile"}
    target = copy_of(service, tmp_path)
    for diff in diffs(service):
        if paths_of(diff) != {"Dockerfile"}:
            apply(diff, target)
    apply(alternative, target)
    text = (target / "Dockerfile").read_text(encoding="utf-8")
    assert text.startswith("FROM thoth-models:")
    # What is not installed once more is what the other way installs: the base image has it.
    stated = (target / "pyproject.toml").read_text(encoding="utf-8")
    for name in re.findall(r"--no-install-package (\S+)", text):
        assert f'"{name}>=' in stated


@pytest.mark.parametrize("service", SERVICES)
def test_the_requirements_are_those_of_the_runtime(service: str, tmp_path: Path) -> None:
    """What the wheel needs, and does not bring where it is installed with --no-deps, stands in the service's list."""
    runtime = (ROOT / "runtime" / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.findall(r'"((?:numpy|onnxruntime|tokenizers)>=[\d.]+)"', runtime)
    assert len(needed) == 3
    stated = (migrated(service, tmp_path) / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{requirement}"' in stated for requirement in needed)


@pytest.mark.parametrize("page", sorted(path.name for path in GUIDES.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    text = (GUIDES / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", text):
        if target and "://" not in target:
            assert (GUIDES / target).exists(), target
    for name, anchor in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", text):
        headings = re.findall(r"^#+ (.*)$", (GUIDES / (name or page)).read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, anchor


@dataclass(frozen=True)
class Run:
    """A service's own tests: what came of them, what was connected to, and what the rankings are."""

    output: str
    returncode: int
    surroundings: Surroundings
    requests: int
    weights_sent: int
    accepted: int


@pytest.fixture(scope="module")
def hub(mini_bundle: Path) -> Iterator[HubSimulator]:
    source = mini_bundle / "mini" / "source"
    files = {path.relative_to(source).as_posix(): path for path in source.rglob("*") if path.is_file()}
    with HubSimulator() as simulator:
        simulator.add_model(REPOSITORY, files)
        yield simulator


class Runs:
    """Runs of the services' tests, each once."""

    def __init__(self, hub: HubSimulator, bundle: Path, place: Path) -> None:
        self._hub = hub
        self._bundle = bundle
        self.place = place
        self._done: dict[tuple[str, str], Run] = {}

    def surroundings(self, service: str, when: str, **more: str) -> Surroundings:
        is_offline = when == "after"
        variables = {"THOTH_MODELS_DIR": str(self._bundle), **more} if is_offline else more
        # Beside the caches of the run that fetched the model: what comes later need not fetch it again.
        name = f"{when}-{len(more)}"
        home = str(self.place / service / f"{when}-hub")
        return Surroundings(self._hub.endpoint, self.place / service / name, is_offline, {"HF_HOME": home, **variables})

    def service(self, service: str, when: str) -> Path:
        """Return the directory of a service as it was, or as the guide makes it."""
        place = self.place / service / when
        if not place.exists():
            (copy_of if when == "before" else migrated)(service, place)
        return place / service

    def of(self, service: str, when: str) -> Run:
        if (service, when) not in self._done:
            hub, surroundings = self._hub, self.surroundings(service, when)
            requests, accepted, sent = len(hub.requests), hub.accepted, hub.bytes_sent("model.safetensors")
            done = surroundings.run_tests(self.service(service, when))
            self._done[service, when] = Run(
                output=f"{done.stdout}{done.stderr}",
                returncode=done.returncode,
                surroundings=surroundings,
                requests=len(hub.requests) - requests,
                weights_sent=hub.bytes_sent("model.safetensors") - sent,
                accepted=hub.accepted - accepted,
            )
        return self._done[service, when]


@pytest.fixture(scope="module")
def runs(hub: HubSimulator, mini_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(hub, mini_bundle, tmp_path_factory.mktemp("services"))


def scores(found: Any) -> list[tuple[str, float]]:
    """Return the ranked texts and scores of an answer, whatever it is wrapped in."""
    if isinstance(found, dict) and "score" in found:
        return [(found.get("name") or found["text"], found["score"])]
    parts = found.values() if isinstance(found, dict) else found
    return [pair for part in parts for pair in scores(part)]


@pytest.mark.torch
@pytest.mark.onnx
@pytest.mark.parametrize("service", SERVICES)
class TestServices:
    def test_before_it_passes_with_a_hub(self, runs: Runs, mini_bundle: Path, service: str) -> None:
        run = runs.of(service, "before")
        assert run.returncode == 0, run.output
        # It did fetch its model, over connections that were seen: the positive control of what follows.
        assert run.weights_sent >= (mini_bundle / "mini/source/model.safetensors").stat().st_size
        assert run.requests > 0
        assert [line for line in run.surroundings.connections() if line.startswith("socket.connect")]

    def test_after_it_passes_without_a_connection(self, runs: Runs, service: str) -> None:
        run = runs.of(service, "after")
        assert run.returncode == 0, run.output
        assert run.surroundings.connections() == []
        assert (run.requests, run.accepted) == (0, 0)
        # The processes of the service were watched, and had the hub's address.
        program = {"sql_generator": "uvicorn", "thoth_be": "gunicorn"}[service]
        assert any(program in line for line in run.surroundings.watched())

    def test_the_rankings_are_the_same(self, runs: Runs, service: str) -> None:
        before, after = (runs.of(service, when).surroundings.rankings() for when in ("before", "after"))
        assert list(before) == list(after)
        for asked in before:
            old, new = scores(before[asked]), scores(after[asked])
            assert [text for text, _ in old] == [text for text, _ in new]
            np.testing.assert_allclose([score for _, score in new], [score for _, score in old], atol=TOLERANCE, rtol=0)
        assert sum(len(scores(found)) for found in before.values()) > 20

    def test_after_without_the_bundle_it_says_so_and_asks_nobody(
        self, runs: Runs, tmp_path: Path, service: str
    ) -> None:
        surroundings = runs.surroundings(service, "after", THOTH_MODELS_DIR=str(tmp_path / "nowhere"))
        done = surroundings.run_tests(runs.service(service, "after"))
        assert done.returncode == 1
        assert "nowhere" in done.stdout + done.stderr
        assert surroundings.connections() == []


class Provider(BaseHTTPRequestHandler):
    """A hosted provider on this computer: OpenAI's protocol, and vectors of the bundle's own model."""

    embedding: Any
    asked: list[int]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(len(body["input"]))
        vectors = self.embedding.encode(body["input"])
        data = [{"index": index, "embedding": vector.tolist()} for index, vector in enumerate(vectors)]
        answer = json.dumps({"data": data[::-1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def provider(mini_bundle: Path) -> Iterator[tuple[str, list[int]]]:
    """The provider's address, and how many texts each call brought."""
    asked: list[int] = []
    handler = type("Handler", (Provider,), {"embedding": load_embedding("mini", root=mini_bundle), "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
        server.shutdown()


@pytest.mark.torch
@pytest.mark.onnx
@pytest.mark.parametrize("side", ["local", "hosted"])
def test_the_environment_chooses_who_encodes(
    runs: Runs, provider: tuple[str, list[int]], tmp_path: Path, side: str
) -> None:
    service = migrated("sql_generator", tmp_path)
    for diff in diffs("sql_generator", "switch"):
        apply(diff, service)
    address, asked = provider
    asked.clear()
    hosted = {"HOSTED_URL": address, "HOSTED_API_KEY": "bait", "HOSTED_DIMENSION": "384"}
    bundle = runs.surroundings("sql_generator", "after").more["THOTH_MODELS_DIR"]
    if side == "hosted":
        bundle = str(tmp_path / "nowhere")  # what is not chosen is not touched
    variables = {"THOTH_EMBEDDINGS": side, "THOTH_MODELS_DIR": bundle, **hosted}
    surroundings = Surroundings("http://127.0.0.1:9", tmp_path / "scratch", side == "local", variables)
    done = surroundings.run_tests(service)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (sum(asked) > 0) == (side == "hosted")
    assert bool(surroundings.connections()) == (side == "hosted")
    before = runs.of("sql_generator", "before").surroundings.rankings()
    for question, found in surroundings.rankings().items():
        assert [text for text, _ in scores(found)] == [text for text, _ in scores(before[question])]


@pytest.mark.torch
@pytest.mark.onnx
class TestIndexOfBefore:
    """What becomes of thoth_be's index when the code around it changes, in both directions."""

    COUNT = "from thoth_be import index; print(len(index.find('city of the customer', 0.45, 5)))"

    @pytest.fixture
    def file(self, runs: Runs, tmp_path: Path) -> Path:
        """A copy of an index that the former code made, once for all tests."""
        made = runs.place / "index.npz"
        if not made.exists():
            done = self.run(runs, "before", made, "manage.py", "index_documents")
            assert done.returncode == 0, done.stderr
        return Path(shutil.copy(made, tmp_path))

    def run(self, runs: Runs, when: str, file: Path, *arguments: str) -> Any:
        surroundings = runs.surroundings(
            "thoth_be", when, INDEX_FILE=str(file), DJANGO_SETTINGS_MODULE="thoth_be.settings"
        )
        return surroundings.run(runs.service("thoth_be", when), *arguments)

    def test_it_is_refused_until_it_was_compared_and_serves_both_afterwards(self, runs: Runs, file: Path) -> None:
        refused = self.run(runs, "after", file, "-c", self.COUNT)
        assert "OtherSpaceError" in refused.stderr
        assert "found those of none" in refused.stderr
        adopted = self.run(runs, "after", file, "manage.py", "adopt_index")
        assert re.fullmatch(r"least cosine (0\.99999\d|1\.000000): the index stays\n", adopted.stdout), adopted.stderr
        assert self.run(runs, "after", file, "-c", self.COUNT).stdout == "5\n"
        # The way back: the former code reads what the new one wrote.
        assert self.run(runs, "before", file, "-c", self.COUNT).stdout == "5\n"

    def test_vectors_of_any_length_are_adopted_with_length_1(self, runs: Runs, file: Path) -> None:
        """Models without a Normalize module gave such ones; dot products with them are no cosines."""
        with np.load(file) as stored:
            texts, vectors = stored["texts"], stored["vectors"]
        np.savez(file, texts=texts, vectors=vectors * 4)
        adopted = self.run(runs, "after", file, "manage.py", "adopt_index")
        assert adopted.stdout.endswith(": the index stays\n"), adopted.stderr
        with np.load(file) as stored:
            assert np.allclose(stored["vectors"], vectors, atol=1e-6)
        assert self.run(runs, "after", file, "-c", self.COUNT).stdout == "5\n"

    def test_an_index_without_texts_is_adopted(self, runs: Runs, file: Path) -> None:
        np.savez(file, texts=np.array([], dtype=str), vectors=np.empty((0, 0), dtype=np.float32))
        adopted = self.run(runs, "after", file, "manage.py", "adopt_index")
        assert adopted.stdout == "least cosine 1.000000: the index stays\n", adopted.stderr

    def test_vectors_of_another_model_are_not_adopted(self, runs: Runs, file: Path) -> None:
        with np.load(file) as stored:
            texts, vectors = stored["texts"], stored["vectors"]
        # The same dimension, and another meaning: what a dimension does not tell.
        np.savez(file, texts=texts, vectors=np.roll(vectors, 1, axis=1))
        refused = self.run(runs, "after", file, "manage.py", "adopt_index")
        assert refused.returncode == 1
        assert "run manage.py index_documents" in refused.stderr
        assert self.run(runs, "after", file, "manage.py", "index_documents").stdout == "109 documents\n"
        assert self.run(runs, "after", file, "-c", self.COUNT).stdout == "5\n"
