"""What a child of fork may use, and what a fork waits for; real forks of processes whose backends are fakes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.forks import BOUND, CONTROL_BOUND, Child, run_forks
from thoth_models.process import fork as forking
from thoth_models.process.fork import prepare_load

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("found", "inherited", "left"),
    [
        ("true", True, "false"),
        ("1", True, "false"),
        ("YES", True, "false"),
        ("true", False, "true"),
        ("false", True, "false"),
        ("off", True, "off"),
        ("", True, ""),
        (None, True, None),
    ],
)
def test_threads_of_tokenizers_are_not_asked_for_in_a_child(
    monkeypatch: pytest.MonkeyPatch, found: str | None, left: str | None, *, inherited: bool
) -> None:
    monkeypatch.setattr(forking, "_has_inherited_tokenizers", inherited)
    monkeypatch.setattr(forking, "_half_imported", ())
    # So that what the code sets is undone.
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "before")
    if found is None:
        monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    else:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", found)
    prepare_load()
    assert os.environ.get("TOKENIZERS_PARALLELISM") == left


# --- real forks, without heavy libraries ---

_FAKES = """
import hashlib
import numpy as np
from pathlib import Path
from thoth_models import load_embedding, LoadTimeout, ModelUnavailableError, VerificationError
from thoth_models import backends

class Fake:
    def encode(self, texts, *, prompt, batch_size, show_progress_bar):
        return np.ones((len(texts), 8), np.float32)

made = []
def load_backend(verified):
    made.append(os.getpid())
    return Fake()

backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: load_backend))
root, bound = Path(sys.argv[1]), float(sys.argv[2])

def works():
    assert embedding.encode(["a"]).shape == (1, 8)

def refused(kind, *words):
    def work():
        started = time.monotonic()
        try:
            embedding.encode(["a"])
        except kind as error:
            assert all(word in str(error) for word in words), error
        else:
            raise AssertionError("nothing was refused")
        assert time.monotonic() - started < bound / 2
    return work
"""

_VERIFIED_AGAIN = (
    _FAKES
    + """
embedding = load_embedding("mini", root=root, variants=["torch-fp32"])
def once():
    works(); works()
    assert made == [os.getppid(), os.getpid()], made
results = [in_child(once, bound)]
weights = root / "mini/source/model.safetensors"
weights.chmod(0o644)
data = weights.read_bytes()
weights.write_bytes(bytes([data[0] ^ 1]) + data[1:])
weights.chmod(0o444)
results.append(in_child(refused(VerificationError, "mini/source/model.safetensors: changed: expected sha256"), bound))
works()
report(results)
"""
)


def assert_well(children: list[Child], count: int, errors: str) -> None:
    assert [(child.outcome, child.status) for child in children] == [("ended", 0)] * count, errors


@pytest.mark.hostile
def test_a_child_verifies_again(run_python: Run, bundle: Path) -> None:
    children, errors = run_forks(run_python, _VERIFIED_AGAIN, str(bundle), str(BOUND))
    assert_well(children, 2, errors)


_REPLACED = (
    _FAKES
    + """
embedding = load_embedding("mini", root=root)
other, same = Path(sys.argv[3]), Path(sys.argv[4])
root.rename(root.with_name("away"))
results = [in_child(refused(Exception, "expected a bundle directory"), bound)]
other.rename(root)
results.append(in_child(refused(VerificationError, "as it was loaded before this process was forked"), bound))
root.rename(root.with_name("again"))
same.rename(root)
results.append(in_child(works, bound))
report(results)
"""
)


@pytest.mark.hostile
def test_a_bundle_that_took_the_place_of_the_one_that_was_loaded(run_python: Run, tmp_path: Path) -> None:
    """Fine where the model is the same in it, byte for byte; refused where vectors might differ."""
    from tests.support.bundles import VariantPlan, invented_model, make_bundle

    mini = invented_model("mini")
    changed = type(mini)(name="mini", variants={"torch-fp32": VariantPlan(files={"modules.json": b"others\n"})})
    make_bundle(tmp_path / "bundle", [mini], default="mini")
    make_bundle(tmp_path / "other", [changed], default="mini")
    make_bundle(tmp_path / "same", [mini, invented_model("more")], default="more")
    children, errors = run_forks(
        run_python, _REPLACED, str(tmp_path / "bundle"), str(BOUND), str(tmp_path / "other"), str(tmp_path / "same")
    )
    assert_well(children, 3, errors)


_HANGS_IN_CHILD = (
    _FAKES
    + """
embedding = load_embedding("mini", root=root, timeout=1.0)
backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: lambda verified: time.sleep(600)))
results = [in_child(refused(LoadTimeout, "did not finish within 1 s; it was loading mini/", "load_backend"), bound)]
report(results)
"""
)


def test_the_deadline_of_the_caller_is_that_of_the_child(run_python: Run, bundle: Path) -> None:
    children, errors = run_forks(run_python, _HANGS_IN_CHILD, str(bundle), str(BOUND))
    assert_well(children, 1, errors)


_GUARDED = (
    _FAKES
    + """
from thoth_models.process import offline
entered, leave = threading.Event(), threading.Event()
def slow(verified):
    entered.set()
    leave.wait(60)
    return Fake()
backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: slow))
def load():
    try:
        load_embedding("mini", root=root, timeout=0.5)  # a fork waits no longer for what hangs
    except LoadTimeout:
        pass
loader = threading.Thread(target=load)
loader.start()
entered.wait(30)
embedding = None
def child():
    global embedding
    # The locks that the loading thread could hold, held: in the child nobody gives them back.
    assert offline._patch_users == 0 and threading.Thread.start is offline._original_start
    backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: load_backend))
    embedding = load_embedding("mini", root=root)
    works()
    assert threading.Thread.start is offline._original_start
offline._hook_lock.acquire(); offline._patch_lock.acquire()
results = [in_child(child, bound)]
offline._hook_lock.release(); offline._patch_lock.release()
leave.set()
loader.join()
report(results)
"""
)


def test_a_fork_while_another_thread_loads(run_python: Run, bundle: Path) -> None:
    children, errors = run_forks(run_python, _GUARDED, str(bundle), str(BOUND))
    assert_well(children, 1, errors)


_HELD_OFF = """
from thoth_models.process import fork as forking
made, held, log = [], threading.Event(), []

def make(name, seconds):
    with forking.no_fork(30):
        log.append(name + " begins")
        held.set()
        time.sleep(seconds)
        log.append(name + " ends")

def later():
    time.sleep(0.1)  # while the fork waits
    make("second", 0.0)

def handler(*_):
    child = os.fork()  # a fork while its thread waits to fork
    if child == 0:
        os._exit(0 if log == ["first begins", "first ends"] else 1)
    made.append(os.waitpid(child, 0)[1])

def child():
    # Nothing was in the middle of it, and nothing keeps this process from doing the same.
    assert log == ["first begins", "first ends"], log
    make("child", 0.0)
    assert in_child(lambda: None, float(sys.argv[1]))["status"] == 0

first = threading.Thread(target=make, args=("first", 0.5))
first.start()
held.wait(30)
second = threading.Thread(target=later)
second.start()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
results = [in_child(child, float(sys.argv[1]))]
first.join(); second.join()
assert made == [0], made
assert log == ["first begins", "first ends", "second begins", "second ends"], log
report(results)
"""


def test_a_fork_waits_until_no_model_is_being_made(run_python: Run) -> None:
    """A lock of the library's, held by a thread that the child does not have, would keep it from ever making one."""
    children, errors = run_forks(run_python, _HELD_OFF, str(BOUND))
    assert_well(children, 1, errors)


_MADE_AT_ONCE = (
    _FAKES
    + """
entered, made = threading.Event(), []
def slow(verified):
    entered.set()
    time.sleep(0.5)
    made.append(True)
    return Fake()
backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: slow))
loader = threading.Thread(target=lambda: load_embedding("mini", root=root))
loader.start()
entered.wait(30)
def child():
    assert made
results = [in_child(child, bound)]
loader.join()
report(results)
"""
)


def test_making_a_model_holds_forks_off(run_python: Run, bundle: Path) -> None:
    children, errors = run_forks(run_python, _MADE_AT_ONCE, str(bundle), str(BOUND))
    assert_well(children, 1, errors)


_ELSEWHERE = """
from thoth_models import BackendError
from thoth_models.backends.fork_safe import ForkSafeBackend

class Native:
    # What hangs where a process destroys it that did not make it.
    def __init__(self):
        self.pid = os.getpid()
    def encode(self, texts, **options):
        raise BackendError("with its frames")
    def __del__(self):
        while os.getpid() != self.pid:
            time.sleep(1)

local = threading.local()
ready, leave = threading.Event(), threading.Event()

def in_a_local():
    local.model = ForkSafeBackend(Native(), lambda: None)
    ready.set()
    leave.wait(60)

def in_an_error():
    try:
        ForkSafeBackend(Native(), lambda: None).encode([], prompt=None, batch_size=None, show_progress_bar=False)
    except BackendError:
        ready.set()
        leave.wait(60)

thread = threading.Thread(target={"local": in_a_local, "error": in_an_error}[sys.argv[2]])
thread.start()
ready.wait(30)
results = [in_child(lambda: None, float(sys.argv[1]))]
leave.set()
thread.join()
report(results)
"""


@pytest.mark.parametrize("where", ["local", "error"])
def test_what_only_another_thread_has_is_not_destroyed_in_a_child(run_python: Run, where: str) -> None:
    """The interpreter does that before it calls anybody, so it has to be held on to before the fork."""
    children, errors = run_forks(run_python, _ELSEWHERE, str(BOUND), where)
    assert_well(children, 1, errors)


_ORDER = """
import os
order = []
register = os.register_at_fork
os.register_at_fork = lambda **hooks: (order.append(hooks), register(**hooks))[1]
import thoth_models.process.fork
import concurrent.futures.thread, logging
before = thoth_models.process.fork._before_fork
ours = next(number for number, hooks in enumerate(order) if hooks.get("before") is before)
assert not any("before" in hooks for hooks in order[ours + 1:]), order
report([])
"""


def test_locks_that_a_load_may_need_are_taken_after_it(run_python: Run) -> None:
    """Hooks run in reverse: those of the standard library's must be registered before ours."""
    run_forks(run_python, _ORDER)


_COLLECTING = """
import gc, weakref
if sys.argv[2] == "ours":
    import thoth_models

class Slow:
    def __del__(self):
        begun.set()
        time.sleep(0.5)

class Plain:
    pass

def garbage(kind):
    thing = kind()
    thing.itself = thing
    return weakref.ref(thing)

def child():
    left = garbage(Plain)
    gc.collect()
    assert left() is None

begun = threading.Event()
gc.disable()  # or this thread may be the one that collects it
garbage(Slow)
collecting = threading.Thread(target=gc.collect)
collecting.start()
begun.wait(30)
gc.enable()
results = [in_child(child, float(sys.argv[1]))]
collecting.join()
report(results)
"""


@pytest.mark.parametrize("what", ["ours", "control"])
def test_a_fork_while_another_thread_collects_garbage(run_python: Run, what: str) -> None:
    """The note that it does stays in the child for ever, where nobody does: it would never collect any."""
    children, errors = run_forks(run_python, _COLLECTING, str(BOUND), what)
    if what == "ours":
        assert_well(children, 1, errors)
    elif children[0].status == 0:
        pytest.skip("the control collects garbage now")


_IMPORTING = (
    _FAKES
    + """
began = sys.argv[3]
os.environ["BEGAN"] = began
threading.Thread(target=lambda: __import__("safetensors"), daemon=True).start()
while not os.path.exists(began):
    time.sleep(0.01)

def ours():
    try:
        load_embedding("mini", root=root, timeout=bound)
    except ModelUnavailableError as error:
        assert "forked while another thread of its parent was importing safetensors" in str(error), error
    else:
        raise AssertionError("nothing was refused")

def control():
    import safetensors

report([in_child(ours if sys.argv[4] == "ours" else control, bound)])
"""
)


@pytest.mark.parametrize("what", ["ours", "control"])
def test_a_fork_while_another_thread_imports(run_python: Run, bundle: Path, tmp_path: Path, what: str) -> None:
    """The lock of the module is held for ever: the import in the control waits for it, ours says so at once."""
    (tmp_path / "safetensors.py").write_text(
        "import os, pathlib, time\npathlib.Path(os.environ['BEGAN']).touch()\ntime.sleep(600)\n", encoding="utf-8"
    )
    script = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n" + _IMPORTING
    bound = BOUND if what == "ours" else CONTROL_BOUND
    children, errors = run_forks(run_python, script, str(bundle), str(bound), str(tmp_path / "began"), what)
    if what == "ours":
        assert_well(children, 1, errors)
    elif children[0].outcome != "hangs":
        pytest.skip(f"the control no longer hangs: it ended in {children[0].seconds:.1f} s")
