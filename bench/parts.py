"""Measuring the rest of this project: verification, a build with nothing to do, and the builder's memory."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from bench.materials import builder, remove_tree, specification_of
from bench.processes import SubjectError, run
from bench.subjects import MINI

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.materials import Materials
    from bench.results import Results

VERIFY = "verify"
BUILDER = "builder"
"""The parts, as measurements name them."""

VERIFY_RATE = "bytes verified per second"
SHA256_RATE = "bytes hashed per second by one core"
SHA256_ALL_RATE = "bytes hashed per second by all cores"
VERIFY_SHARE = "share of cores x one core's rate that verify reaches"
SHA256_ALL_SHARE = "share of cores x one core's rate that hashing alone reaches"

BUILD_SECONDS = "build with nothing to do, whole process"
BUILD_OWN_SECONDS = "build with nothing to do, its own time"
BUILD_REWRITTEN = "files rewritten by a build with nothing to do"
LARGE_MEMORY = "memory above idle for a large file"
"""Most bytes above the builder's idle, over all commands that a large file passes through."""

_COMMAND_SECONDS = 600.0

# The peak of this very process: getrusage() also counts what its parent had in memory when it forked.
_WITH_PEAK = """
import sys
from thoth_models_builder.cli.main import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
print(peak.split()[1], file=sys.stderr)
sys.exit(code)
"""


def measure_verify(materials: Materials, results: Results, repetitions: int) -> None:
    """Measure ``verify`` of the bundle against hashlib on the same bytes, in a process of its own."""
    if MINI not in materials.bundles:
        results.fail("", VERIFY, "no bundle")
        return
    command: list[str | Path] = [sys.executable, "-m", "bench.hashing", materials.places.bundle(MINI), str(repetitions)]
    try:
        rounds = json.loads(run(command, timeout=_COMMAND_SECONDS).stdout)
    except SubjectError as error:
        results.fail("", VERIFY, str(error))
        return
    for repetition, rates in enumerate(rounds):
        cores = results.machine["cores"]
        results.add(VERIFY_RATE, VERIFY, repetition, rates["verify"])
        results.add(SHA256_RATE, VERIFY, repetition, rates["one"])
        results.add(SHA256_ALL_RATE, VERIFY, repetition, rates["all"])
        results.add(VERIFY_SHARE, VERIFY, repetition, rates["verify"] / (cores * rates["one"]))
        results.add(SHA256_ALL_SHARE, VERIFY, repetition, rates["all"] / (cores * rates["one"]))


def measure_build(materials: Materials, results: Results, repetitions: int) -> None:
    """Measure a build of what is there already: its time, and that it leaves every file as it was."""
    places = materials.places
    specification, output = specification_of(MINI, places), places.bundle(MINI)
    command = builder("build", specification, places.work, "--json", f"--output={output}")
    if MINI not in materials.bundles:
        results.fail("", BUILDER, "no bundle")
        return
    try:
        for repetition in range(repetitions):
            before = _states(output, specification.parent)
            started = time.monotonic()
            report = json.loads(run(command, timeout=_COMMAND_SECONDS).stdout)
            seconds = time.monotonic() - started
            after = _states(output, specification.parent)
            if not report["is_unchanged"]:
                results.fail(
                    BUILD_SECONDS, BUILDER, "expected a build with nothing to do, found one that did something"
                )
                return
            rewritten = {path for path in {*before, *after} if before.get(path) != after.get(path)}
            results.add(BUILD_SECONDS, BUILDER, repetition, seconds)
            results.add(BUILD_OWN_SECONDS, BUILDER, repetition, report["own_seconds"])
            results.add(BUILD_REWRITTEN, BUILDER, repetition, len(rewritten))
    except SubjectError as error:
        results.fail(BUILD_SECONDS, BUILDER, str(error))


def _states(*roots: Path) -> dict[str, tuple[int, int, int]]:
    """Return inode, size and time of change of everything below some directories, by path."""
    paths = [path for root in roots for path in (root, *root.rglob("*"))]
    return {str(path): (s.st_ino, s.st_size, s.st_mtime_ns) for path in paths for s in [path.lstat()]}


def measure_large(materials: Materials, results: Results, size: int, log_progress: Callable[[str], None]) -> None:
    """Measure the builder's memory while a model with one file of ``size`` bytes passes through every command.

    The file is sparse, with the header of safetensors; the store gets a real copy, which the bundle links to.
    """
    place = materials.places.work / "large"
    remove_tree(place)
    free = shutil.disk_usage(materials.places.work).free
    if free < 1.2 * size:
        results.fail(LARGE_MEMORY, BUILDER, f"expected {1.2 * size:.0f} bytes of free disk, found {free}")
        return
    try:
        specification = _write_large(place, size)
        idle = _peak(["schema"])
        steps: dict[str, list[str | Path]] = {
            "lock": builder("lock", specification, place)[3:],
            "build": builder("build", specification, place, f"--output={place / 'bundle'}")[3:],
            "build with nothing to do": builder("build", specification, place, f"--output={place / 'bundle'}")[3:],
            "verify": ["verify", place / "bundle"],
        }
        peaks: dict[str, int] = {}
        for name, arguments in steps.items():
            log_progress(f"memory of the builder, a file of {size / 1e9:.1f} GB: {name}")
            peaks[name] = _peak(arguments) - idle
            results.add(f"{LARGE_MEMORY}: {name}", BUILDER, 0, peaks[name])
        results.add(LARGE_MEMORY, BUILDER, 0, max(peaks.values()))
    except SubjectError as error:
        results.fail(LARGE_MEMORY, BUILDER, str(error))
    finally:
        remove_tree(place)


def _peak(arguments: list[str | Path]) -> int:
    """Run a command of the builder, and return the most memory that it had, in bytes."""
    finished = run([sys.executable, "-c", _WITH_PEAK, *arguments], timeout=_COMMAND_SECONDS)
    return int(finished.stderr.splitlines()[-1]) * 1024


def _write_large(place: Path, size: int) -> Path:
    """Write a model whose weights take ``size`` bytes, and its models.yaml; nothing can load it, nor has to."""
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling")])
    ]
    files: dict[str, Any] = {
        "modules.json": modules,
        "config.json": {"model_type": "bert", "hidden_size": 8, "max_position_embeddings": 64},
        "sentence_bert_config.json": {"max_seq_length": 16, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True},
        "tokenizer.json": {"version": "1.0"},
    }
    for name, content in files.items():
        file = place / "model" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
    header = json.dumps({"weight": {"dtype": "U8", "shape": [64], "data_offsets": [0, 64]}}).encode()
    with (place / "model" / "model.safetensors").open("wb") as weights:
        weights.write(len(header).to_bytes(8, "little") + header)
        weights.truncate(size)
    model = {"sources": [{"directory": "model"}], "variants": ["torch-fp32"], "golden": False}
    document = {"version": 1, "bundle": {"name": "large", "default": "large"}, "models": {"large": model}}
    specification = place / "models.yaml"
    specification.write_text(json.dumps(document), encoding="utf-8")
    return specification
