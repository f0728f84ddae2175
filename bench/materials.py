"""What must be there before anything is measured: environments, bundles, and the forms that the peers load.

All of it is kept in the work directory and found there by the next run. What cannot be made is a failure of the
subjects that need it, and of no others.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.environments import PEERS, prepare_environment
from bench.processes import SubjectError, run
from bench.shapes import SHAPES
from bench.subjects import MINI, SUBJECTS, SYNTHETIC, VARIANTS, Places, Subject, subjects_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_HERE = Path(__file__).parent
ROOT = _HERE.parent
_BUILD_SECONDS = 3600.0
"""A model of 2.3 GB takes half an hour where two cores are busy with other things too."""
_PEERS_SCRIPT = _HERE / "peers.py"


@dataclass
class Materials:
    """What was prepared.

    Attributes:
        places: Where it is.
        pythons: Interpreter of each environment that could be made.
        bundles: For each model whose bundle could be built, what the build said of it.
        failures: Why a subject cannot be measured, by its name.
    """

    places: Places
    pythons: dict[str, Path] = field(default_factory=dict)
    bundles: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def ready(self, model: str) -> list[Subject]:
        """Return the subjects of a model that can be measured."""
        return [subject for subject in subjects_of(model) if subject.name not in self.failures]


def prepare(work: Path, log_progress: Callable[[str], None]) -> Materials:
    """Make all that is not there yet."""
    materials = Materials(Places(work=work))
    for model in (MINI, SYNTHETIC):
        log_progress(f"bundle of {model}")
        prepare_bundle(model, materials)
    prepare_environments(SUBJECTS, materials, log_progress)
    prepare_peers(MINI, materials, log_progress)
    return materials


def prepare_environments(
    subjects: Iterable[Subject], materials: Materials, log_progress: Callable[[str], None]
) -> None:
    """Make the environments that these subjects live in."""
    users: dict[str, list[Subject]] = {}
    for subject in subjects:
        users.setdefault(subject.environment, []).append(subject)
    for name, its_users in users.items():
        log_progress(f"environment of {name}")
        try:
            materials.pythons[name] = prepare_environment(name, materials.places.work)
        except SubjectError as error:
            materials.failures |= {subject.name: str(error) for subject in its_users}


def prepare_peers(model: str, materials: Materials, log_progress: Callable[[str], None]) -> None:
    """Write the forms of a model that the peers load."""
    for subject in materials.ready(model):
        if subject.environment in PEERS:
            log_progress(f"{model} for {subject.way}")
            try:
                _write_peer(subject, materials)
            except SubjectError as error:
                materials.failures[subject.name] = f"the model could not be converted: {error}"


def builder(command: str, specification: Path, work: Path, *more: str | Path) -> list[str | Path]:
    """Return the command line of ``thoth-bundle lock`` or ``build`` for a specification in a directory of its own."""
    places = [f"--file={specification}", f"--store={work / 'store'}"]
    return [sys.executable, "-m", "thoth_models_builder", command, *places, *more]


def specification_of(model: str, places: Places) -> Path:
    """Return the models.yaml of the bundle of one model."""
    return places.work / "specifications" / model / "models.yaml"


def prepare_bundle(model: str, materials: Materials) -> None:
    """Build the bundle of a model with all its variants, or else with those that can be built."""
    listed = VARIANTS[model]
    without_int8 = tuple(variant for variant in listed if variant != "onnx-int8")
    reasons: list[str] = []
    for variants in dict.fromkeys((listed, without_int8, ("torch-fp32",))):
        try:
            materials.bundles[model] = _build(model, variants, materials.places)
            break
        except SubjectError as error:
            reasons.append(str(error))
    bundle = materials.bundles.get(model, {"variants": (), "notes": ()})
    reason = "; ".join(reasons[:1] or bundle["notes"])
    for subject in subjects_of(model):
        # The files that a peer is given come with torch-fp32.
        if (subject.variant or "torch-fp32") not in bundle["variants"]:
            materials.failures[subject.name] = f"not in the bundle: {reason}"


def _build(model: str, variants: Sequence[str], places: Places) -> dict[str, Any]:
    """Lock and build a bundle, and return what is to be known of it."""
    specification = _specify(model, variants, places)
    if model != MINI:
        run(builder("lock", specification, places.work), timeout=_BUILD_SECONDS)
    output = places.bundle(model)
    output.parent.mkdir(parents=True, exist_ok=True)
    command = builder("build", specification, places.work, "--json", f"--output={output}")
    report: dict[str, Any] = json.loads(run(command, timeout=_BUILD_SECONDS).stdout)
    (built,) = report["models"]
    kept = {key: report[key] for key in ("bundle_digest", "set_digest", "notes")}
    return {**kept, **{key: built[key] for key in ("variants", "accuracy", "space")}}


def _specify(model: str, variants: Sequence[str], places: Places) -> Path:
    """Write the models.yaml of a bundle; for the real model the lock as well, whose bytes are the repository's."""
    specification = specification_of(model, places)
    specification.parent.mkdir(parents=True, exist_ok=True)
    if model == MINI:
        entry = json.loads((ROOT / "models.lock").read_bytes())["models"][MINI]
        lock = {"version": 1, "models": {MINI: {**entry, "variants": sorted(variants)}}}
        specification.with_name("models.lock").write_text(json.dumps(lock), encoding="utf-8")
        sources = entry["sources"]
    else:
        sources = [{"directory": str(write_invented(model, places))}]
    settings: dict[str, Any] = {"sources": sources, "variants": list(variants)}
    if model in SHAPES:
        # Vectors of random weights lie close together, so that rounding changes which are the nearest.
        settings["int8_floor"] = {"minimum_cosine": 0, "neighbour_agreement": 0}
    document = {
        "version": 1,
        "bundle": {"name": "thoth-models-bench", "default": model},
        "models": {model: settings},
    }
    specification.write_text(json.dumps(document, indent=2), encoding="utf-8")  # JSON is YAML
    return specification


def write_invented(model: str, places: Places) -> Path:
    """Write a model of random weights unless it is there, and return its directory."""
    module, *arguments = ("bench.synthetic",) if model == SYNTHETIC else ("bench.shapes", model)
    target = places.work / model
    stamp = target.with_suffix(".made-of.json")
    sources = [place.read_text(encoding="utf-8") for place in (_HERE / "shapes.py", _HERE / "synthetic.py")]
    made_of = json.dumps([*sources, version("torch"), version("transformers")])
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != made_of:
        shutil.rmtree(target, ignore_errors=True)
        run([sys.executable, "-m", module, *arguments, target], timeout=_BUILD_SECONDS)
        stamp.write_text(made_of, encoding="utf-8")
    return target


def _write_peer(subject: Subject, materials: Materials) -> None:
    target = materials.places.peer(subject.way, subject.model)
    stamp = target.with_suffix(".json")
    made_of = json.dumps([materials.bundles[subject.model]["set_digest"], PEERS[subject.environment].requirements])
    if target.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == made_of:
        return
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    # What fastembed loads is exported with torch, which its own environment does not have.
    python = materials.pythons["openvino" if subject.way == "openvino" else "main"]
    source = materials.places.source(subject.model)
    run([python, _PEERS_SCRIPT, subject.way, source, target], timeout=_BUILD_SECONDS)
    stamp.write_text(made_of, encoding="utf-8")


def remove_tree(place: Path) -> None:
    """Remove a directory that may contain a bundle, whose directories are read-only."""
    for directory, _, _ in os.walk(place):
        Path(directory).chmod(0o755)
    shutil.rmtree(place, ignore_errors=True)
