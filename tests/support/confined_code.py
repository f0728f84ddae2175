"""Run Python source in the sandbox of the compiler, in a process of its own, as root or as a user without privileges.

Run as a script by :func:`run_code` with one argument, the JSON of an order. Without torch, so a run takes 0.1 seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = ("root", "root of a container", "unprivileged")
_OF_CONTAINERS = (
    *("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "net_bind_service"),
    *("net_raw", "sys_chroot", "mknod", "audit_write", "setfcap"),
)
"""Capabilities that Docker leaves to root: neither to read what is private, nor to make namespaces."""
_SOMEBODY = 4242
_SECONDS = 60
SOMETHING_OPEN = 50
"""A descriptor of the home directory that the process has, from which the child is forked."""


@dataclass(frozen=True)
class Workplace:
    """A directory of a user that runs code: a home, a job with a scratch directory, and an interpreter to run it with.

    Attributes:
        root: The directory.
        command: What starts an interpreter as that user.
        packages: Value of PYTHONPATH for it.
        user: One of :data:`USERS`.
    """

    root: Path
    command: tuple[str, ...]
    packages: str
    user: str

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def job(self) -> Path:
        return self.root / "job"

    @property
    def scratch(self) -> Path:
        return self.job / "scratch"


@contextmanager
def workplace_of(user: str) -> Iterator[Workplace | None]:
    """Make a workplace; None if this machine cannot run code as that user."""
    with tempfile.TemporaryDirectory(prefix="confined-") as name:
        root = Path(name)
        made = _workplace(root, user)
        if made is not None:
            for place in (made.home, made.scratch):
                place.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                root.chmod(0o755)
            if os.geteuid() == 0 and user == "unprivileged":
                for place in (root, *root.rglob("*")):
                    os.chown(place, _SOMEBODY, _SOMEBODY)
        yield made


def _workplace(root: Path, user: str) -> Workplace | None:
    import thoth_models_builder

    packages = root / "packages"
    own = Path(thoth_models_builder.__file__).parent
    for part in ("__init__.py", "compile/__init__.py", "compile/errors.py", "compile/sandbox"):
        source, target = own / part, packages / own.name / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    is_root = os.geteuid() == 0
    if user == ("root" if is_root else "unprivileged"):
        return Workplace(root, (sys.executable,), str(packages), user)
    if not is_root:
        return None
    other = ("setpriv", f"--reuid={_SOMEBODY}", f"--regid={_SOMEBODY}", "--clear-groups")
    kept = ",".join(f"+{name}" for name in _OF_CONTAINERS)
    changed = other if user == "unprivileged" else ("setpriv", f"--bounding-set=-all,{kept}")
    # The interpreter of the tests may be in a directory that is private to root.
    is_private = any(not _is_open(Path(path)) for path in (sys.executable, sys.base_prefix, os.__file__))
    for interpreter in ["/usr/bin/python3"] if is_private else [sys.executable]:
        probe = [*other, interpreter, "-c", "import sys; assert sys.version_info >= (3, 11)"]
        if subprocess.run(probe, capture_output=True, check=False, timeout=_SECONDS).returncode == 0:
            return Workplace(root, (*changed, interpreter), str(packages), user)
    return None


def _is_open(path: Path) -> bool:
    return all(place.stat().st_mode & stat.S_IXOTH for place in path.resolve().parents)


@dataclass(frozen=True)
class Outcome:
    """What became of some code.

    Attributes:
        error: The message of the sandbox; None if the code succeeded.
        output: All that it and the sandbox wrote.
    """

    error: str | None
    output: str


def run_code(place: Workplace, code: str, **order: Any) -> Outcome:
    """Run Python source at a workplace.

    Args:
        place: The workplace.
        code: The source; ``scratch``, ``job`` and ``home`` are paths in it.
        order: ``confined`` (true), ``memory`` (bytes), ``readable`` (paths), ``without`` (names of protections
            that are left out), ``patterns`` of results.
    """
    with start_code(place, code, **order) as run:
        output, errors = run.communicate(timeout=_SECONDS)
    *lines, last = output.splitlines() or [""]
    assert last.startswith("{"), f"{run.returncode}: {output}{errors}"
    return Outcome(json.loads(last)["error"], "\n".join(lines) + errors)


def start_code(place: Workplace, code: str, **order: Any) -> subprocess.Popen[str]:
    """Start what :func:`run_code` runs."""
    document = {"code": code, "job": str(place.job), "home": str(place.home), **order}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place.home),
        "PYTHONPATH": place.packages,
        "SECRET": "s3cret",
    }
    return subprocess.Popen(
        [*place.command, str(_script(place)), json.dumps(document)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=place.root,
    )


def _script(place: Workplace) -> Path:
    script = place.root / "packages" / "confined_code.py"
    if not script.exists():
        shutil.copyfile(__file__, script)
        script.chmod(0o644)
    return script


def _main(order: dict[str, Any]) -> None:
    from thoth_models_builder.compile.errors import SandboxError
    from thoth_models_builder.compile.sandbox import confine, supervise
    from thoth_models_builder.compile.sandbox.results import remove_tree, take_results

    job, home = Path(order["job"]), Path(order["home"])
    scratch = job / "scratch"
    scratch.mkdir(exist_ok=True)
    names = {"scratch": scratch, "job": job, "home": home, "parent": os.getpid(), "__name__": "code"}
    os.dup2(os.open(home, os.O_RDONLY), SOMETHING_OPEN)
    for name in order.get("without", ()):
        _leave_out(name, confine, supervise)

    def work() -> None:
        exec(order["code"], names)  # noqa: S102 - this is what the sandbox is for

    error = None
    try:
        if order.get("confined", True):
            readable = [Path(path) for path in order.get("readable", ())]
            limits = confine.Limits(memory=order.get("memory", 2**28), disk=2**20, entries=500)
            try:
                supervise.run_confined(work, scratch=scratch, outside=job, readable=readable, limits=limits)
                taken = take_results(scratch, job / "results", order.get("patterns", {}), frozenset())
                print("taken", taken)  # noqa: T201
            finally:
                remove_tree(scratch)
        else:
            work()
    except SandboxError as problem:
        error = str(problem)
    sys.stdout.flush()
    print(json.dumps({"error": error}))  # noqa: T201


def _leave_out(name: str, confine: Any, supervise: Any) -> None:
    """Take one protection away, to see that something notices."""
    if name == "filter":
        confine.install_filter = lambda: None
    elif name == "files":
        confine.FileAccess.enforce = lambda _self: None
    elif name == "user":
        confine._become = lambda _user, _needed: None
    elif name in ("capabilities", "capset"):
        confine._set_capabilities = lambda _kept: -1 if name == "capset" else 0
    elif name == "limits":
        confine._limit = lambda _limits: None
    elif name == "environment":
        confine._clean_environment = lambda _scratch: None
    elif name == "watch":
        supervise._excess = lambda *_: None
    elif name == "descriptors":
        confine.os.closerange = lambda *_: None
    elif name == "proof":
        supervise.prove_confinement = lambda *_: None
    else:
        raise AssertionError(name)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
