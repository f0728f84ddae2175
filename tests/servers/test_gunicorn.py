"""gunicorn as the backend runs it: processes, processes with threads, and a model that is used before the fork."""

from __future__ import annotations

import json
import os
import runpy
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pytest

from tests.migration.deployment import LOCAL
from tests.migration.guides import SERVICES, migrated
from tests.servers import documented
from tests.servers.driving import CLIENTS, JITTER, LIMIT, REQUESTS
from tests.servers.serving import TOLERANCE, Surroundings, WebServer, ask, descendants, pss
from tests.support.qdrant_points import qdrant_serving
from tests.support.released import ITS_CLIENT, THOTH_QDRANT, unpacked
from thoth_models import load_embedding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.servers.driving import Trial

pytestmark = [pytest.mark.servers, pytest.mark.onnx]

WORKERS = 4
_SUBJECT = """
from service import application as documented
from tests.servers.recording import recorded_wsgi

application = recorded_wsgi(documented)
"""
_PRELOADED = """
import threading
from thoth_models import EmbeddingManager

manager = EmbeddingManager.get_instance()
stop = threading.Event()

def use():
    while not stop.is_set():  # also at the moment of each fork
        manager.encode(["used before the fork"] * 4, "mini")
        stop.wait(0.01)  # and leaves some of the processor to the workers

manager.encode("used before the fork", "mini")
for _ in range(BUSY):
    threading.Thread(target=use).start()
"""
_RECORDED = """
import sys
from tests.servers.recording import recorded_hook

post_worker_init = recorded_hook(post_worker_init)

def on_exit(server):
    subject = sys.modules.get("subject")
    if hasattr(subject, "stop"):
        subject.stop.set()
"""


def write(place: Path, busy: int | None = None) -> None:
    """Write the service of the page; with ``busy``, its master uses the model with so many threads."""
    documented.write(place, "service.py", "gunicorn.conf.py")
    with (place / "gunicorn.conf.py").open("a", encoding="utf-8") as settings:
        settings.write(_RECORDED)
    preloaded = "" if busy is None else _PRELOADED.replace("BUSY", str(busy))
    (place / "subject.py").write_text(_SUBJECT + preloaded, encoding="utf-8")


def gunicorn(application: str, *options: str) -> Callable[[int], Sequence[str]]:
    return lambda port: (
        *("-m", "gunicorn", application, f"--bind=127.0.0.1:{port}", f"--workers={WORKERS}", *options),
    )


_RECYCLING = (f"--max-requests={LIMIT}", f"--max-requests-jitter={JITTER}")


@dataclass(frozen=True)
class Kind:
    """A way to run gunicorn: the worker that really runs, its threads, and how many threads use the master's model."""

    name: str
    threads: int
    busy: int | None = None

    def options(self) -> list[str]:
        # What the backend asks for; with more than one thread it is given another one.
        asked = ["--worker-class=sync", f"--threads={self.threads}"]
        return asked if self.busy is None else [*asked, "--preload"]


@pytest.mark.parametrize("kind", [Kind("sync", 1), Kind("gthread", 2, busy=1)], ids=["sync", "preload"])
def test_no_request_is_lost(kind: Kind, trial: Trial) -> None:
    write(trial.surroundings.place, kind.busy)
    with WebServer(gunicorn("subject", *kind.options(), *_RECYCLING), trial.surroundings) as server:
        answers = trial.drive(server, WORKERS)
        server.stop()
    what = f"gunicorn {WORKERS} x {kind.threads} {kind.name}{'' if kind.busy is None else ' --preload, master busy'}"
    trial.check(what, answers, WORKERS, server.log())
    assert f"Using worker: {kind.name}" in server.log()
    # With the model in the master a worker begins with it, and makes it anew when it first needs it.
    for facts in trial.surroundings.recorded().values():
        assert facts["begins_loaded"] == facts["inherited"] == (kind.busy is not None)


def test_a_worker_without_a_model_says_so(trial: Trial) -> None:
    """It lives on, because a restart would not mend it; and what takes the place of another does not end the server."""
    documented.write(trial.surroundings.place, "service.py", "gunicorn.conf.py")
    command = gunicorn("service", "--max-requests=1", "--max-requests-jitter=0")
    with WebServer(command, trial.surroundings, THOTH_MODELS_DIR=str(trial.surroundings.place / "none")) as server:
        server.until("all workers", lambda: server.log().count("the model cannot be loaded") == WORKERS)
        assert server.request("/health")[0] == 200
        status, _process, body = server.request("/ready")
        assert status == 503
        assert str(trial.surroundings.place / "none") in json.loads(body)["reason"]
        assert server.request("/embed", ["a text"])[0] == 503
        # One of them at least: a worker that has had enough may still answer the next request.
        server.until("a successor", lambda: server.log().count("the model cannot be loaded") > WORKERS)
        assert server.request("/health")[0] == 200
        server.stop()


def test_the_backend_of_the_guide(trial: Trial, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Django with four workers and two threads, as the migration guide makes it, which indexes in a thread as well."""
    tree = migrated(tmp_path / "migrated")
    service = tree / SERVICES["thoth_be"]
    cache = Path(pytestconfig.cache.mkdir("thoth-qdrant"))
    packages = [unpacked(pin, cache, tmp_path / "packages") for pin in (THOTH_QDRANT, ITS_CLIENT)]
    settings = trial.surroundings.place / "recorded.conf.py"
    settings.write_text(f"def post_worker_init(worker):\n    pass\n{_RECORDED}", encoding="utf-8")
    wsgi = "from Thoth.wsgi import application as documented\n" + _SUBJECT.partition("documented\n")[2]
    (trial.surroundings.place / "subject.py").write_text(wsgi, encoding="utf-8")
    columns = runpy.run_path(str(service / "thoth_ai_backend/schema.py"))["COLUMNS"]
    texts = {f"{table}.{name}": text for table, described in columns.items() for name, text in described.items()}
    names, documents = list(texts), [f"{name}: {text}" for name, text in texts.items()]
    vectors = load_embedding("mini", root=trial.surroundings.bundle, variants=["onnx-fp32"]).encode(documents)
    expected = vectors @ vectors.T

    with qdrant_serving() as qdrant:
        places = [trial.surroundings.environment()["PYTHONPATH"], str(service), *map(str, packages)]
        more = {**LOCAL, "PYTHONPATH": os.pathsep.join(places), "QDRANT": f"127.0.0.1:{qdrant.port}"}
        more |= {"SECRET_KEY": "bait", "CONNECTIONS_WANTED": str(qdrant.port)}
        recycling = (
            "--max-requests=30",
            "--max-requests-jitter=6",
        )  # thoth-qdrant takes seconds to import: few workers
        command = gunicorn("subject", f"--config={settings}", "--threads=2", "--timeout=120", *recycling)
        with WebServer(command, trial.surroundings, **more) as server:
            server.until("the workers", lambda: len(trial.surroundings.recorded()) >= WORKERS)
            assert server.request("/preprocessing/1", {})[0] == 202
            server.until("the index", lambda: qdrant.counts() == {"shop-mini": {"column_name": len(names)}})

            def once(number: int) -> str:
                row = number % len(names)
                status, process, body = server.request(f"/columns/1?query={quote(documents[row])}")
                assert status == 200, f"{status}: {body[:200]!r}"
                found = [expected[row][names.index(name)] for name in json.loads(body)["found"]]
                wanted = np.sort(expected[row])[::-1][:5]
                wanted = wanted[wanted >= 0.5]
                np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)
                return process

            answers = ask(REQUESTS // 4, CLIENTS, once)
            server.stop()
    # How long a worker takes to begin is for the greater part what thoth-qdrant imports: no figure of ours.
    assert not answers.lost, f"{answers.lost}\n{server.log()[-6000:]}"
    assert len(trial.surroundings.recorded()) > WORKERS
    watched, tried = trial.surroundings.connections()
    assert watched >= 1
    assert tried == []
    trial.ledger.add(f"Django, gunicorn 4 x 2 gthread, Qdrant: {answers.count} requests in {answers.seconds:.1f} s")
    assert "Using worker: gthread" in server.log()


def test_memory_with_and_without_preload(trial: Trial, mini_bundle: Path) -> None:
    taken = {}
    for what, busy in (("without", None), ("with", 0)):
        place = trial.surroundings.place / what
        place.mkdir()
        write(place, busy)
        surroundings = Surroundings(place, mini_bundle, trial.surroundings.endpoint)
        command = gunicorn("subject", *(() if busy is None else ("--preload",)))
        with WebServer(command, surroundings) as server:
            server.until_ready(WORKERS)
            for _ in range(4 * WORKERS):
                assert server.request("/embed", list(trial.golden.texts[:40]))[0] == 200
            workers = pss(surroundings.recorded())
            taken[what] = sum(pss({server.process.pid, *descendants(server.process.pid)}).values())
            server.stop()
        assert len(workers) == WORKERS
        each = statistics.mean(workers.values())
        trial.ledger.add(f"PSS {what} --preload: {each / 1e6:.0f} MB per worker, {taken[what] / 1e6:.0f} MB in all")
    raw = _raw_worker(mini_bundle)
    trial.ledger.add(f"PSS of one process with plain sentence-transformers: {raw / 1e6:.0f} MB")
    # Four workers and their master take less than one process of what they replace.
    assert all(whole < raw for whole in taken.values()), (taken, raw)


_RAW = """
import sys
from sentence_transformers import SentenceTransformer
SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True).encode(["a text"] * 40)
print(next(int(line.split()[1]) * 1024 for line in open("/proc/self/smaps_rollup") if line.startswith("Pss:")))
"""


def _raw_worker(bundle: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _RAW, str(bundle / "mini" / "source")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return int(done.stdout.split()[-1])
