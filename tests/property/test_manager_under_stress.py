"""The manager under everything at once: threads, random models, evictions, failures and forks, for a minute.

No deadlock, no wrong vector, never two loads of one variant at once, and never more memory than the budget. The process
is one of its own, so that a deadlock is a failure with the stacks of all threads, and forks leave this one alone.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from tests.support.bundles import invented_model, make_bundle, make_writable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

SECONDS = float(os.environ.get("THOTH_STRESS_SECONDS", "60"))
MODELS = 6

_SCRIPT = """
import collections, contextlib, faulthandler, gc, hashlib, json, os, random, signal, sys, threading, time, warnings
import numpy as np
lock = threading.RLock()
# Before the runtime's: hooks of forks run in reverse, and its own waits for threads that take this lock.
os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
# Now: a child that is forked while another thread imports cannot load a model, and says so.
import thoth_models.bundle.agreement, thoth_models.embedding, thoth_models.bundle.golden
from thoth_models import BackendError, EmbeddingManager, ManagerConfig, ModelUnavailableError
from thoth_models import backends
from thoth_models.manager.memory import resident_bytes
from thoth_models.verification.verify import open_bundle

root, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
# Whoever deadlocks is ended, and says where it stood.
faulthandler.dump_traceback_later(seconds + 40, exit=True)
warnings.simplefilter("ignore")
loading = collections.Counter()
problems, counts = [], collections.Counter()

def vector(model, text, prompt):
    data = hashlib.shake_256(f"{model} {prompt or ''}{text}".encode()).digest(8)
    return np.frombuffer(data, dtype=np.uint8).astype(np.float32) - 128

class Fake:
    def __init__(self, model):
        self.model = model
        self.pid = os.getpid()

    def encode(self, texts, *, prompt, batch_size, show_progress_bar):
        if self.pid != os.getpid():
            problems.append("a child used what its parent made")
        if random.random() < 0.02:
            raise BackendError("by chance, while encoding")
        if random.random() < 0.3:
            time.sleep(random.random() / 500)
        return np.stack([vector(self.model, text, prompt) for text in texts])

def load_backend(verified):
    place = (os.getpid(), verified.model.name, verified.variant.name)
    with lock:
        loading[place] += 1
        if loading[place] > 1:
            problems.append(f"{place}: {loading[place]} loads at once")
        counts["loads"] += 1
    try:
        time.sleep(random.random() / 100)
        if random.random() < 0.1:
            counts["failed loads"] += 1
            raise BackendError("by chance, while loading")
        return Fake(verified.model.name)
    finally:
        with lock:
            loading[place] -= 1

backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: load_backend))
manifest = open_bundle(root).manifest
names = sorted(manifest.models)
size = max(resident_bytes(manifest, variant) for name in names for variant in manifest.models[name].built.variants)
# Room for half of them, so that there is always one that has to go.
budget = size * len(names) // 2
manager = EmbeddingManager(ManagerConfig(root=root, memory_budget=budget, timeout=30))

def once(chance):
    name = chance.choice(names)
    texts = [f"text {chance.randrange(1000)}" for _ in range(chance.choice([0, 1, 1, 1, 2, 3, 20]))]
    prompt = chance.choice([None, None, "query: "])
    try:
        what = chance.random()
        if what < 0.7:
            found = manager.encode(texts, name, prompt=prompt, normalize_embeddings=False)
        elif what < 0.85:
            kept = manager.get_model(name)
            time.sleep(chance.random() / 200)
            found = kept.encode(texts, prompt=prompt, normalize_embeddings=False)
        elif what < 0.95:
            with manager.use(name) as embedding:
                found = embedding.encode(texts, prompt=prompt, normalize_embeddings=False)
        else:
            manager.unload(chance.choice([None, name]))
            return
    except (BackendError, ModelUnavailableError) as error:
        if "by chance" not in str(error):
            problems.append(repr(error))
        counts["errors"] += 1
        return
    except BaseException as error:
        problems.append(repr(error))
        return
    wanted = [vector(name, text, prompt) for text in texts]
    if not np.array_equal(found, np.stack(wanted) if wanted else np.empty((0, 8))):
        problems.append(f"{name}: wrong vectors")
    counts["calls"] += 1

def drive(number, until):
    chance = random.Random(f"{seed} {os.getpid()} {number}")
    while time.monotonic() < until and not problems:
        once(chance)

def watch(until):
    while time.monotonic() < until:
        stats = manager.stats()
        held = sum(model.resident_bytes for model in stats.models.values())
        if max(held, stats.reserved_bytes) > budget:
            problems.append(f"{held} and {stats.reserved_bytes} bytes, of {budget}")
        counts["evictions"] = sum(model.evictions for model in stats.models.values())
        time.sleep(0.002)

def threads(count, until):
    started = [threading.Thread(target=drive, args=(number, until), daemon=True) for number in range(count)]
    for thread in started:
        thread.start()
    return started

def fork():
    child = os.fork()
    if child == 0:
        # The thread that would tell of a deadlock is the parent's. A signal does it here, and ends the child.
        faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
        signal.alarm(30)
        until = time.monotonic() + 0.3
        for thread in threads(4, until):
            thread.join()
        for problem in problems:
            print("in a child:", problem, file=sys.stderr, flush=True)
        os._exit(1 if problems else 0)
    _, status = os.waitpid(child, 0)
    counts["forks"] += 1
    if status != 0:
        problems.append(f"a child ended with {status}")

end = time.monotonic() + seconds
driving = [*threads(16, end), threading.Thread(target=watch, args=(end,), daemon=True)]
driving[-1].start()
while time.monotonic() < end and not problems:
    fork()
for thread in driving:
    thread.join(20)
    if thread.is_alive():
        problems.append("a thread that does not end")
gc.collect()
if any(model.uses for model in manager.stats().models.values()):
    problems.append(f"uses that have no end: {manager.stats()}")
print(json.dumps({"problems": problems[:10], **counts}))
sys.stdout.flush()
os._exit(0)
"""


def test_threads_models_evictions_failures_and_forks(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    root = tmp_path / "bundle"
    make_bundle(root, [invented_model(f"model-{number}", variants=("torch-fp32",)) for number in range(MODELS)])
    seed = int.from_bytes(os.urandom(4))
    done = run_python(*("-W", "ignore::DeprecationWarning", "-c", _SCRIPT, str(root), str(SECONDS), str(seed)))
    make_writable(root)
    assert done.returncode == 0, f"seed {seed}: {done.stderr[-6000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["problems"] == [], f"seed {seed}: {done.stderr[-6000:]}"
    # What would make it pass without having tested anything.
    assert found["calls"] > 50 * SECONDS
    assert found["evictions"] > SECONDS
    assert found["failed loads"] > 0
    assert found["forks"] > SECONDS / 10
