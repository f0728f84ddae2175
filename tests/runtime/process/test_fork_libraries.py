"""Children of ``fork`` with the real libraries, each beside what the library alone does in the same place.

A control that no longer hangs is a skip with its timing: then the protection can go, or the test says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import onnx_models
from tests.support.bundles import make_bundle, make_writable
from tests.support.forks import BOUND, CONTROL_BOUND, Child, run_forks

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def onnx_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("onnx")
    plan = onnx_models.plan(onnx_models.variant_files(directory))
    make_bundle(directory / "bundle", [plan], default="mini")
    yield directory / "bundle"
    make_writable(directory / "bundle")


def assert_well(children: list[Child], count: int, errors: str) -> None:
    assert [(child.outcome, child.status) for child in children] == [("ended", 0)] * count, errors
    assert all(child.seconds < BOUND for child in children)


def assert_control(children: list[Child]) -> None:
    """The unprotected library hangs, or dies of a signal, in the same place."""
    [child] = children
    if (child.outcome, child.status) == ("ended", 0):
        pytest.skip(f"the control no longer hangs: it ended well in {child.seconds:.1f} s")
    assert child.outcome == "hangs" or child.status & 0x7F, child


_USED = """
import numpy as np
from thoth_models import load_embedding
root, bound = sys.argv[1], float(sys.argv[2])
embedding = load_embedding(root=root)
texts = ["water river", "river", "a b c d e f g"] * 200
before = embedding.encode(texts)

def same():
    assert np.abs(embedding.encode(texts) - before).max() < 1e-6

def threads():
    workers = [threading.Thread(target=same) for _ in range(4)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    same()

def idle():
    pass

def grandchild():
    same()
    assert in_child(same, bound)["status"] == 0

def anew():
    assert np.abs(load_embedding(root=root).encode(texts) - before).max() < 1e-6

def encode(number):
    return embedding.encode(texts)

def pool():
    import multiprocessing
    with multiprocessing.get_context("fork").Pool(2) as workers:
        for vectors in workers.map_async(encode, range(2)).get(bound):
            assert np.abs(vectors - before).max() < 1e-6

results = [in_child(work, bound) for work in (idle, same, threads, grandchild, anew)]
results.append(in_child(same, bound, leave=os._exit))
same()
pool()
report(results)
"""


@pytest.mark.onnx
@pytest.mark.parametrize("parallelism", [None, "true", "false"])
def test_a_child_of_a_process_that_used_onnx(run_python: Run, onnx_root: Path, parallelism: str | None) -> None:
    environment = {} if parallelism is None else {"TOKENIZERS_PARALLELISM": parallelism}
    children, errors = run_forks(run_python, _USED, str(onnx_root), str(BOUND), environment=environment)
    assert_well(children, 6, errors)


@pytest.mark.torch
def test_a_child_of_a_process_that_used_torch(run_python: Run, tiny_bundle: Path) -> None:
    # The worst case for the tokenizer; the others are above, where nothing else takes seconds to start.
    environment = {"TOKENIZERS_PARALLELISM": "true"}
    children, errors = run_forks(run_python, _USED, str(tiny_bundle), str(BOUND), environment=environment)
    assert_well(children, 6, errors)


# --- in the middle of something ---

_BUSY = """
import numpy as np
from thoth_models import load_embedding
root, bound, doing = sys.argv[1], float(sys.argv[2]), sys.argv[3]
embedding = load_embedding(root=root)
texts = ["water river", "river", "a b c d e f g"] * 50
before = embedding.encode(texts)
stop = threading.Event()

def encode():
    while not stop.is_set():
        embedding.encode(texts)

def load():
    while not stop.is_set():
        load_embedding(root=root).encode("water")

def same():
    assert np.abs(embedding.encode(texts) - before).max() < 1e-6
    assert np.abs(load_embedding(root=root).encode(texts) - before).max() < 1e-6

workers = [threading.Thread(target={"encode": encode, "load": load}[doing]) for _ in range(3)]
[worker.start() for worker in workers]
results = []
for number in range(int(sys.argv[4])):
    time.sleep(0.003 * (number % 7))
    results.append(in_child(same, bound))
    if results[-1]["outcome"] == "hangs":
        break
stop.set()
[worker.join() for worker in workers]
report(results)
"""


@pytest.mark.onnx
@pytest.mark.parametrize("doing", ["encode", "load"])
def test_a_fork_while_other_threads_use_onnx(run_python: Run, onnx_root: Path, doing: str) -> None:
    children, errors = run_forks(
        run_python, _BUSY, str(onnx_root), str(BOUND), doing, "20", environment={"TOKENIZERS_PARALLELISM": "true"}
    )
    assert_well(children, 20, errors)


@pytest.mark.torch
@pytest.mark.parametrize("doing", ["encode", "load"])
def test_a_fork_while_other_threads_use_torch(run_python: Run, tiny_bundle: Path, doing: str) -> None:
    children, errors = run_forks(run_python, _BUSY, str(tiny_bundle), str(BOUND), doing, "2")
    assert_well(children, 2, errors)


# --- torch of the application's own ---

_HOST = """
import torch
torch.set_num_threads(2)
root, bound, used = sys.argv[1], float(sys.argv[2]), sys.argv[3]

def compute():
    torch.randn(4_000_000).sin().sum()
    torch.randn(800, 800) @ torch.randn(800, 800)

if used == "used":
    compute()

def ours():
    import thoth_models
    embedding = thoth_models.load_embedding("mini", root=root, timeout=bound)
    assert embedding.encode(["water", "river"] * 500).shape == (1000, 32)
    print("threads", torch.get_num_threads(), file=sys.stderr)

results = [in_child(ours if sys.argv[4] == "ours" else compute, bound)]
report(results)
"""


@pytest.mark.torch
@pytest.mark.parametrize("used", ["used", "imported"])
def test_torch_that_the_application_used_before_the_fork(run_python: Run, tiny_bundle: Path, used: str) -> None:
    """The runtime is first imported in the child, so that nothing of it saw the fork. All threads are there."""
    children, errors = run_forks(run_python, _HOST, str(tiny_bundle), str(BOUND), used, "ours")
    assert_well(children, 1, errors)
    assert "threads 2" in errors


@pytest.mark.torch
def test_control_torch_alone_after_a_fork(run_python: Run, tiny_bundle: Path) -> None:
    children, _errors = run_forks(run_python, _HOST, str(tiny_bundle), str(CONTROL_BOUND), "used", "control")
    assert_control(children)


# --- what the others do alone ---

_TOKENIZERS = """
import tokenizers
tokenizer = tokenizers.Tokenizer.from_file(sys.argv[1] + "/mini/onnx-fp32/tokenizer.json")
encode = lambda: tokenizer.encode_batch_fast(["water river"] * 1000)
encode()
report([in_child(encode, float(sys.argv[2]), leave=os._exit)])
"""


@pytest.mark.onnx
def test_control_tokenizers_alone_after_a_fork(run_python: Run, onnx_root: Path) -> None:
    children, _errors = run_forks(
        *(run_python, _TOKENIZERS, str(onnx_root), str(CONTROL_BOUND)),
        environment={"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "2"},
    )
    assert_control(children)


_SESSION = """
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(sys.argv[1] + "/mini/onnx-fp32/model.onnx", options)
session.run(None, {value.name: np.ones((4, 4), np.int64) for value in session.get_inputs()})
time.sleep(0.5)

def destroy():
    global session
    del session

report([in_child(destroy, float(sys.argv[2]), leave=os._exit)])
"""


@pytest.mark.onnx
def test_control_onnxruntime_alone_after_a_fork(run_python: Run, onnx_root: Path) -> None:
    """Destroying an inherited session is enough."""
    children, _errors = run_forks(
        *(run_python, _SESSION, str(onnx_root), str(CONTROL_BOUND)), environment={"ORT_DISABLE_TELEMETRY": "1"}
    )
    assert_control(children)


_TELEMETRY = """
import onnxruntime
report([in_child(lambda: None, float(sys.argv[1]))])
"""


@pytest.mark.onnx
def test_control_onnxruntime_that_calls_home(run_python: Run, tmp_path: Path) -> None:
    """Importing it is enough: its thread is waited for when the child ends. Ours is the child above that is idle."""
    children, _errors = run_forks(
        *(run_python, _TELEMETRY, str(CONTROL_BOUND)),
        # onnxruntime sends no telemetry where CI is set.
        environment={"ORT_DISABLE_TELEMETRY": "0", "CI": "", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
    )
    assert_control(children)
