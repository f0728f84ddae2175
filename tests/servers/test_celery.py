"""Celery's prefork pool, with a broker of files, which needs nothing installed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from celery import Celery

from tests.servers import documented
from tests.servers.driving import CLIENTS, LIMIT, REQUESTS
from tests.servers.serving import ANSWER_SECONDS, TOLERANCE, Service, ask, difference

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.driving import Trial

pytestmark = [pytest.mark.servers, pytest.mark.onnx]

WORKERS = 4
_SUBJECT = """
import os, uuid
from pathlib import Path
import numpy as np
from celery.signals import worker_process_init
from tests.servers.recording import beginning, record

begun = {}

@worker_process_init.connect
def begin(**_):
    begun.update(beginning())

from tasks import app, embed

@worker_process_init.connect
def end(**_):
    record(begun)

QUEUE, CONTROL, RESULTS = (Path(name).absolute() for name in ("queue", "control", "results"))
app.conf.broker_transport_options = {
    "data_folder_in": str(QUEUE),
    "data_folder_out": str(QUEUE),
    "control_folder": str(CONTROL),
    "polling_interval": 0.01,
}

@app.task(name="index")
def index(number, texts):
    # Into files, as an indexing service puts them into its database: whole, and beside those of a second run, if any.
    temporary = RESULTS / f"{uuid.uuid4()}.npy"
    np.save(temporary, np.array(embed(texts), dtype=np.float32))
    (RESULTS / str(number)).mkdir(exist_ok=True)
    temporary.rename(RESULTS / str(number) / f"{os.getpid()}-{temporary.name}")

if os.environ.get("USED_BEFORE"):
    embed(["used in the main process, before it forks"])
"""


class Client:
    """Sends tasks; each thread through files of its own, which become visible to the worker when they are whole."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._own = threading.local()

    def send(self, name: str, *arguments: Any) -> None:
        if not hasattr(self._own, "app"):
            self._own.app, self._own.out = self._make()
        self._own.app.send_task(name, arguments, ignore_result=True)
        for message in self._own.out.iterdir():
            message.rename(self._place / "queue" / message.name)

    def _make(self) -> tuple[Celery, Path]:
        out = self._place / f"out-{threading.get_ident()}"
        out.mkdir()
        app = Celery(f"client-{threading.get_ident()}", broker="filesystem://", set_as_current=False)
        folders = {"data_folder_in": out, "data_folder_out": out, "control_folder": self._place / "control"}
        app.conf.broker_transport_options = {name: str(folder) for name, folder in folders.items()}
        return app, out


@pytest.mark.parametrize("used_before", ["", "1"], ids=["loaded-by-children", "used-by-the-main-process"])
def test_no_task_is_lost(used_before: str, trial: Trial) -> None:
    tasks, limit = (REQUESTS // 4, LIMIT // 4) if used_before else (REQUESTS, LIMIT)
    place = trial.surroundings.place
    documented.write(place, "tasks.py")
    (place / "subject.py").write_text(_SUBJECT, encoding="utf-8")
    for name in ("queue", "control", "results"):
        (place / name).mkdir()
    client, results = Client(place), place / "results"
    options = [f"--concurrency={WORKERS}", f"--max-tasks-per-child={limit}"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=INFO"]
    command = ["-m", "celery", "-A", "subject", "worker", "--pool=prefork", *options, *quiet]

    def once(number: int) -> str:
        row = number % len(trial.golden.texts)
        client.send("index", number, [trial.golden.texts[row]])
        deadline = time.monotonic() + ANSWER_SECONDS
        while not (found := list((results / str(number)).glob("*.npy"))):
            assert time.monotonic() < deadline, f"task {number} was lost"
            time.sleep(0.005)
        distance = difference(np.load(found[0]), trial.golden.vectors[row : row + 1])
        assert distance < TOLERANCE, f"task {number}: another vector, by {distance}"
        return found[0].name.partition("-")[0]

    environment = {"CELERY_BROKER_URL": "filesystem://", "USED_BEFORE": used_before}
    with Service(command, trial.surroundings, **environment) as service:
        service.until("the worker", lambda: len(trial.surroundings.recorded()) >= WORKERS)
        answers = ask(tasks, CLIENTS, once)
        service.stop()
    what = f"Celery, {WORKERS} processes{', model used before the fork' if used_before else ''}"
    trial.check(what, answers, WORKERS, service.log())
    # Done once each, although a task that is lost with its process would be done again.
    assert [len(list(place.iterdir())) for place in results.iterdir()] == [1] * tasks
    for facts in trial.surroundings.recorded().values():
        assert facts["begins_loaded"] == facts["inherited"] == bool(used_before)
