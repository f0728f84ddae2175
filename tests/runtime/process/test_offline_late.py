"""The switch against imports that come too early or too late, with the real libraries and a Hub that counts.

Each in an interpreter of its own, because the Hub library reads its variables once. The control is the same without us.
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.hub_simulator import SilentServer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]

_ASK = """
import json, os, sys, threading
root, order = sys.argv[1], sys.argv[2]

class Fake:
    def encode(self, texts, **options):
        import numpy as np
        return np.ones((len(texts), 8), np.float32)

def ours():
    from thoth_models import load_embedding
    from thoth_models import backends
    backends.BACKENDS.update(dict.fromkeys(backends.BACKENDS, lambda: lambda verified: Fake()))
    load_embedding("mini", root=root)

def ask():
    # What a library does that looks for an optional file; a thread, because the server never answers.
    from huggingface_hub import hf_hub_download, model_info
    outcome = []
    def run():
        for call in (lambda: hf_hub_download("some/model", "config.json"), lambda: model_info("some/model")):
            try:
                call()
                outcome.append("answered")
            except Exception as error:
                outcome.append(type(error).__name__)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(4)
    return outcome or ["waits"]

for step in order.split(","):
    if step == "hub":
        import huggingface_hub.constants
    elif step == "transformers":
        import transformers.utils.hub
    elif step == "ours":
        ours()
    elif step == "unset":
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            os.environ.pop(name, None)
    elif step == "forced-on":
        import huggingface_hub.constants as constants
        constants.HF_HUB_OFFLINE = False
    elif step == "ask":
        print(json.dumps(ask()), flush=True)
os._exit(0)
"""


def ask(run_python: Run, root: Path, home: Path, order: str, **variables: str) -> tuple[list[str], int]:
    """Return what the Hub library met when it was asked, and how many connections reached the server."""
    with SilentServer() as server:
        done = run_python(
            *("-c", _ASK, str(root), order),
            environment={"HF_ENDPOINT": server.endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "", **variables},
        )
        assert done.returncode == 0, done.stderr
        answer: list[str] = json.loads(done.stdout.splitlines()[-1])
        return answer, server.accepted


@pytest.mark.hostile
@pytest.mark.torch
@pytest.mark.parametrize(
    "order",
    [
        "ours,ask",  # imported after
        "hub,ours,ask",  # imported before: the variable alone would be too late
        "hub,transformers,ours,ask",
        "hub,ours,unset,ask",  # the variables are gone again, but what was read stays
        "ours,unset,ours,ask",  # set again by the next load
        "hub,ours,forced-on,ours,ask",
    ],
)
@pytest.mark.parametrize(
    "variables", [{}, {"HF_HUB_OFFLINE": "y"}, {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}]
)
def test_the_hub_is_never_asked(
    run_python: Run, bundle: Path, tmp_path: Path, order: str, variables: dict[str, str]
) -> None:
    answer, accepted = ask(run_python, bundle, tmp_path / "home", order, **variables)
    assert "waits" not in answer
    assert "answered" not in answer
    assert len(answer) == 2
    assert accepted == 0


@pytest.mark.torch
@pytest.mark.parametrize(
    "variables", [{}, {"HF_HUB_OFFLINE": "y"}, {"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "0"}]
)
def test_control_the_hub_is_asked_without_us(
    run_python: Run, bundle: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    answer, accepted = ask(run_python, bundle, tmp_path / "home", "hub,ask", **variables)
    if accepted == 0:
        pytest.skip(f"the control reaches no Hub any more, with {variables}: {answer}")
    assert answer == ["waits"]


@pytest.mark.torch
def test_control_a_variable_that_is_set_too_late(run_python: Run, bundle: Path, tmp_path: Path) -> None:
    """Setting the variable, as most do, after something imported the library."""
    script = _ASK.replace(
        'elif step == "unset":',
        'elif step == "late":\n        os.environ["HF_HUB_OFFLINE"] = "1"\n    elif step == "unset":',
    )
    with SilentServer() as server:
        done = run_python(
            *("-c", script, str(bundle), "hub,late,ask"),
            environment={"HF_ENDPOINT": server.endpoint, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": ""},
        )
        if server.accepted == 0:
            pytest.skip(f"the control reaches no Hub any more: {done.stdout}")
    assert json.loads(done.stdout) == ["waits"]


# --- onnxruntime ---

_ONNX = """
import os, sys, time
if sys.argv[1] == "ours":
    from thoth_models.process.offline import enforce_offline
    enforce_offline()
import onnxruntime
time.sleep(3)
print(len(os.listdir("/proc/self/task")))
"""


def calls_home(run_python: Run, home: Path, who: str) -> tuple[bool, list[str]]:
    """Return whether a process that imports onnxruntime looks up names or connects, and which files it leaves.

    The former only where there is strace: what its own client does raises no event of Python.
    """
    home.mkdir()
    trace = home.with_suffix(".trace")
    traced = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmmsg", "-o", str(trace)]
    command = [*(traced if shutil.which("strace") else []), sys.executable, "-c", _ONNX, who]
    done = run_python(
        *("-c", f"import os\nos.execvp({command[0]!r}, {command!r})"),
        # onnxruntime sends no telemetry where CI is set.
        environment={"ORT_DISABLE_TELEMETRY": "", "CI": "", "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")},
    )
    assert done.returncode == 0, done.stderr
    text = trace.read_text(encoding="utf-8", errors="replace") if trace.exists() else ""
    files = sorted(path.name for path in home.rglob("*") if path.is_file())
    return any("AF_INET" in line or "events" in line for line in text.splitlines()), files


@pytest.mark.hostile
@pytest.mark.onnx
def test_onnxruntime_does_not_call_home(run_python: Run, tmp_path: Path) -> None:
    assert calls_home(run_python, tmp_path / "ours", "ours") == (False, [])


@pytest.mark.onnx
def test_control_onnxruntime_calls_home(run_python: Run, tmp_path: Path) -> None:
    connects, files = calls_home(run_python, tmp_path / "control", "control")
    if not connects and not files:
        pytest.skip("the control does not call home: this build of onnxruntime has no telemetry")
    assert "deviceid" in files or connects
