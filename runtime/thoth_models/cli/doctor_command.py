"""``thoth-models doctor``: the environment, the bundle, and whether its models are right on this machine."""

from __future__ import annotations

import dataclasses
import platform
import sys
import warnings
from importlib import metadata
from typing import TYPE_CHECKING, Any

from thoth_models.cli.command import DONE, FAILED, diverted_output, print_json, print_note
from thoth_models.cli.doctor import check_answer, check_quickly, check_variants, names_to_check
from thoth_models.cli.failures import ABSENT_MODEL, NO_STAND_IN, OTHER_VECTORS
from thoth_models.cli.model_options import load_as_asked, place_of
from thoth_models.errors import Attempt, FallbackWarning, InvalidInputError
from thoth_models.process.cgroups import cpu_quota, memory_limit
from thoth_models.process.environment import available_cores, usable_cores
from thoth_models.process.offline import offline_state
from thoth_models.process.task import call_within
from thoth_models.verification.report_file import read_report
from thoth_models.verification.verify import verify

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from thoth_models.bundle.report import Report
    from thoth_models.cli.doctor import GoldenCheck, QuickCheck
    from thoth_models.process.environment import BundlePlace

_LIBRARIES = (
    "numpy", "onnxruntime", "tokenizers", "torch", "sentence-transformers", "transformers", "huggingface-hub",
    "cryptography",
)  # fmt: skip
_SENTENCE = "thoth-models encodes this sentence to see whether the bundle answers."


def run_doctor(options: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if options.strict and not options.all:
        raise InvalidInputError("--strict: expected --all beside it, found it alone")
    if options.quick:
        return _quick(options)
    place = place_of(options)
    # Printed as it is found out, so that a failure further down does not hide what came before.
    found = _environment(place)
    _print(options, found)
    report = verify(
        place.path,
        expect_digest=place.expect_digest,
        min_release=place.min_release,
        trust=place.trust,
        timeout=options.verify_timeout,
    )
    measured, note = read_report(report.root, report.bundle_digest)
    print_note(note)
    bundle = {
        "bundle_digest": report.bundle_digest.hex,
        "release": report.manifest.release or "not stated",
        "verified": f"{report.files} files, {report.bytes:,} bytes in {report.seconds:.2f} s",
        "signed_by": report.signed_by or "not checked, or not trusted",
        "warnings": [str(warning) for warning in report.warnings],
        "models": [
            model.name + (" (absent)" if model.built is None else "") for model in report.manifest.models.values()
        ],
    }
    _print(options, bundle)
    checks: Sequence[GoldenCheck] = ()
    answer: dict[str, Any] = {}
    if options.all:
        with diverted_output():
            checks = check_variants(place, report.manifest, options.model, report=measured, timeout=options.timeout)
        _print(options, {"golden": checks})
    # In a bundle without a default, no model answers where none is named.
    if not options.all or options.model is not None or report.manifest.default is not None:
        answered, answer = _answer(options, measured)
        if not options.all:
            checks = answered
            _print(options, {"golden": checks})
    answer["offline_after_loading"] = offline_state()
    return _conclude(options, {**found, **bundle}, checks, answer)


def _conclude(
    options: argparse.Namespace, found: dict[str, Any], checks: Sequence[GoldenCheck], answer: dict[str, Any]
) -> int:
    wrong = [check for check in checks if check.variant is not None and not check.is_well]
    unanswered = [check.model for check in checks if check.variant is None and not check.is_well]
    absent = [check.model for check in checks if options.strict and check.state == "absent"]
    code = FAILED if wrong or unanswered or absent else DONE
    if options.json:
        golden = [dataclasses.asdict(check) for check in checks]
        print_json({"ok": code == DONE, **found, "golden": golden, **answer})
        return code
    if "info" in answer:
        info = answer["info"]
        info["attempts"] = [Attempt(**tried) for tried in info["attempts"]]
        if info["fallback"] is not None:
            del info["attempts"]  # the reason of the fallback has them
    _print(options, answer)
    complaints = [
        (wrong, "a variant does not give the golden vectors on this machine", OTHER_VECTORS),
        (unanswered, f"expected a model to stand in, found none for {', '.join(unanswered)}", NO_STAND_IN),
        (absent, f"expected every model in the bundle, found {', '.join(absent)} absent", ABSENT_MODEL),
    ]
    for concerned, complaint, next_step in complaints:
        if concerned:
            print(f"thoth-models: {complaint}\nhint: {next_step}", file=sys.stderr)
    return code


def _answer(options: argparse.Namespace, measured: Report | None) -> tuple[list[GoldenCheck], dict[str, Any]]:
    """Load the model that answers, and return how its golden texts come out, and what it is."""
    import numpy as np  # noqa: PLC0415 - a health check does not need it

    with diverted_output(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)  # the facts have it
        embedding = load_as_asked(options)
        vector = embedding.encode(_SENTENCE)
        # With --all, its variant is among those that were checked.
        checks = [] if options.all else check_answer(embedding, measured)
    length = float(np.linalg.norm(vector))
    return checks, {
        "answer": f"{vector.shape[0]} dimensions, length {length:.6f}",
        "info": dataclasses.asdict(embedding.info),
    }


def _environment(place: BundlePlace) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": _cores(),
        "memory_limit": "none" if (limit := memory_limit()) is None else f"{limit:,} bytes",
        "libraries": {name: _version(name) for name in ("thoth-models", *_LIBRARIES)},
        "offline_before_loading": offline_state(),
        "root": str(place.path),
        "expected_digest": place.expect_digest or "any",
        "min_release": place.min_release or "any",
        "signature": "not checked" if place.trust is None else f"{place.trust.policy}, by {place.trust.path}",
    }


def _cores() -> str:
    quota = cpu_quota()
    said = "no CPU quota" if quota is None else f"a CPU quota of {quota:g}"
    return f"{usable_cores()} usable ({available_cores()} available, {said})"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _quick(options: argparse.Namespace) -> int:
    place = place_of(options)

    def check_all() -> list[QuickCheck]:
        return [
            check_quickly(
                place,
                name,
                variants=options.variant,
                same_space=options.same_space,
                expect_space=options.expect_space,
            )
            for name in names_to_check(place, options.model)
        ]

    checks = call_within(options.timeout, f"checking {place.path}", "looking at its files", check_all)
    if options.json:
        # A bundle with a default has one check; without a default, every model has to be able to answer.
        found = [dataclasses.asdict(check) for check in checks]
        print_json({"ok": True, **(found[0] if len(found) == 1 else {"models": found})})
    else:
        for check in checks:
            print(f"ok: {check}")
    return DONE


def _print(options: argparse.Namespace, facts: dict[str, Any]) -> None:
    if not options.json:
        _print_facts(facts)
        sys.stdout.flush()


def _print_facts(facts: dict[str, Any], indent: str = "") -> None:
    for key, value in facts.items():
        if isinstance(value, dict):
            print(f"{indent}{key}:")
            _print_facts(value, indent + "  ")
        elif isinstance(value, (list, tuple)):
            shown = [str(item) for item in value] or ["none"]
            separator = " " if len(shown) == 1 else f"\n{indent}  "
            print(separator.join([f"{indent}{key}:", *shown]))
        else:
            print(f"{indent}{key}: {value}")
