"""The environments of the peers: each its own, because what they pin contradicts each other."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.processes import SubjectError, run

_INSTALL_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What a peer needs.

    Attributes:
        requirements: For pip, all that matters pinned.
        removed: What the requirements bring along, and must go again.
    """

    requirements: tuple[str, ...]
    removed: tuple[str, ...] = ()


# Not held to constraints.txt: fastembed wants huggingface-hub 1.x, and optimum-intel a transformers before 5.6.
# The libraries that do the work are the same releases as in constraints.txt wherever the peer permits it.
PEERS = {
    "fastembed": Environment(
        requirements=("fastembed==0.9.1", "onnxruntime==1.32.0", "tokenizers==0.23.3", "numpy==2.4.6")
    ),
    "openvino": Environment(
        requirements=(
            "sentence-transformers[openvino]==6.2.0",
            "torch==2.13.0",
            "transformers==5.5.4",
            "optimum-intel==2.2.0",
            "openvino==2026.4.1",
            "nncf==3.4.0",
            "numpy==2.4.6",
        ),
        # Built for the CUDA build of torch, it cannot be imported beside the CPU build; texts do not need it.
        removed=("torchvision",),
    ),
}


def prepare_environment(name: str, work: Path) -> Path:
    """Make the environment ``name`` unless it is there already, and return its interpreter.

    Raises:
        SubjectError: It could not be installed; the message says why.
    """
    if name == "main":
        return Path(sys.executable)
    environment = PEERS[name]
    directory = work / "environments" / name
    python = directory / "bin" / "python"
    stamp = directory / "requirements.json"
    wanted = json.dumps([sys.version, environment.requirements, environment.removed])
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    shutil.rmtree(directory, ignore_errors=True)
    try:
        run([sys.executable, "-m", "venv", directory], timeout=120)
        pip: list[str | Path] = [python, "-m", "pip"]
        run([*pip, "install", "--quiet", *environment.requirements], timeout=_INSTALL_SECONDS)
        if environment.removed:
            run([*pip, "uninstall", "--quiet", "--yes", *environment.removed], timeout=120)
    except SubjectError as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise SubjectError(f"could not be installed: {error}") from error
    stamp.write_text(wanted, encoding="utf-8")
    return python
