"""``thoth-models verify | list | doctor | embed``: one command, one library call.

Exit codes: 0 done, 1 verification failed, 2 wrong usage, 4 any other error. (3, a source failed, is the builder's.)
``doctor --quick`` is for health checks of containers, which only know 0 and 1: it exits with 1 for any error except
wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thoth_models import __version__
from thoth_models.cli.command import FAILED, print_json, print_note, run_command
from thoth_models.cli.doctor import check_answer, check_quickly, check_variants, names_to_check
from thoth_models.cli.list_models import list_models
from thoth_models.cli.text_io import blocks, given, open_texts, replaced_at_end, write_jsonl
from thoth_models.errors import (
    BundleError,
    CallerError,
    FallbackWarning,
    InvalidInputError,
    ManifestError,
    Problem,
    VerificationError,
)
from thoth_models.loading.load import load_embedding
from thoth_models.process.cgroups import cpu_quota, memory_limit
from thoth_models.process.environment import ROOT_VARIABLE, available_cores, bundle_root, usable_cores
from thoth_models.process.offline import offline_state
from thoth_models.verification.report_file import read_report
from thoth_models.verification.verify import verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models.embedding import Embedding
    from thoth_models.info import EmbeddingInfo
    from thoth_models.types import FloatArray

DONE, VERIFICATION_FAILED, BAD_USAGE = 0, 1, 2
UNHEALTHY = 1

_LIBRARIES = (
    "numpy", "onnxruntime", "tokenizers", "torch", "sentence-transformers", "transformers", "huggingface-hub",
)  # fmt: skip
_DOCTOR_SENTENCE = "thoth-models encodes this sentence to see whether the bundle answers."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)

    def run() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("always", FallbackWarning)
            warnings.showwarning = _show_warning
            return int(options.run(options))

    def report(error: Exception) -> int:
        code = _report_error(error, as_json=options.json)
        return UNHEALTHY if getattr(options, "quick", False) else code

    return run_command(run, report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="thoth-models", description="Check and use a bundle of embedding models.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", type=Path, help=f"the bundle directory (default: {ROOT_VARIABLE}, else /models)")
    common.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("--model", help="model name or alias (default: the bundle's default)")
    model.add_argument("--variant", action="append", help="a variant to accept; repeat in order of preference")
    model.add_argument("--same-space", action="store_true", help="refuse a fallback of another embedding space")
    model.add_argument("--expect-space", help="refuse any embedding space except this one")
    model.add_argument("--timeout", type=float, default=60.0, help="deadline of loading, in seconds (default: 60)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("verify", parents=[common], help="compare every file of the bundle with its manifest")
    command.add_argument(
        "--strict", action="store_true", help="files that users other than the owner may write are errors"
    )
    command.set_defaults(run=_verify)

    command = commands.add_parser("list", parents=[common], help="list the models of the bundle")
    command.set_defaults(run=_list)

    command = commands.add_parser(
        "doctor", parents=[common, model], help="show environment and bundle, and encode the golden texts"
    )
    scope = command.add_mutually_exclusive_group()
    scope.add_argument(
        "--all", action="store_true", help="check every variant of the model, not only the one that answers"
    )
    scope.add_argument(
        "--quick",
        action="store_true",
        help="for health checks: whether the files of a variant that can answer are present; exits with 0 or 1",
    )
    command.set_defaults(run=_doctor)

    command = commands.add_parser("embed", parents=[common, model], help="encode texts")
    command.add_argument("input", nargs="?", default="-", help="a file of texts; - for standard input (default)")
    command.add_argument("--text", action="append", help="a text to encode instead of a file; repeat for several")
    command.add_argument(
        "--input-format",
        choices=("lines", "jsonl"),
        help='one text per line, or one JSON value per line: a string, or an object with the key "text" '
        "(default: by the file's extension, else lines)",
    )
    command.add_argument(
        "--output", default="-", help="a file ending in .npy or .jsonl; - for JSONL on standard output"
    )
    command.add_argument(
        "--batch-size", type=int, help="maximum number of texts per batch (default: the backend's choice)"
    )
    command.add_argument("--prompt-name", help="the model's prompt to add before each text")
    command.add_argument(
        "--no-normalize", action="store_true", help="the model's own output, not normalised to unit length"
    )
    command.add_argument("--truncate-dim", type=int, help="keep this many leading dimensions")
    command.set_defaults(run=_embed)
    return parser


def _verify(options: argparse.Namespace) -> int:
    report = verify(bundle_root(options.root), strict=options.strict)
    if options.json:
        print_json(
            {
                "ok": True,
                "root": str(report.root),
                "bundle_digest": report.bundle_digest.hex,
                "set_digest": report.set_digest.hex,
                "files": report.files,
                "bytes": report.bytes,
                "warnings": [dataclasses.asdict(warning) for warning in report.warnings],
                "seconds": report.seconds,
            }
        )
    else:
        for warning in report.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print(f"{report.root}: {report.files} files, {report.bytes:,} bytes verified in {report.seconds:.2f} s")
        print(f"bundle digest {report.bundle_digest}")
        print(f"set digest    {report.set_digest}")
    return DONE


def _list(options: argparse.Namespace) -> int:
    list_models(bundle_root(options.root), as_json=options.json)
    return DONE


def _doctor(options: argparse.Namespace) -> int:
    if options.quick:
        return _doctor_quick(options)
    import numpy as np  # noqa: PLC0415 - a health check does not need it

    root = bundle_root(options.root)
    # Printed as it is found out, so that a failure further down does not hide what came before.
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": _cores(),
        "memory_limit": "none" if (limit := memory_limit()) is None else f"{limit:,} bytes",
        "libraries": {name: _version(name) for name in ("thoth-models", *_LIBRARIES)},
        "offline_before_loading": offline_state(),
        "root": str(root),
    }
    if not options.json:
        _print_facts(facts)
    report = verify(root)
    measured, note = read_report(report.root, report.bundle_digest)
    print_note(note)
    bundle = {
        "bundle_digest": report.bundle_digest.hex,
        "verified": f"{report.files} files, {report.bytes:,} bytes in {report.seconds:.2f} s",
        "warnings": [str(warning) for warning in report.warnings],
        "models": [
            model.name + (" (absent)" if model.built is None else "") for model in report.manifest.models.values()
        ],
    }
    if not options.json:
        _print_facts(bundle)
    checks = check_variants(root, options.model, timeout=options.timeout) if options.all else []
    if checks and not options.json:
        _print_facts({"golden": [str(check) for check in checks]})
    embedding = _load(options)
    vector = embedding.encode(_DOCTOR_SENTENCE)
    if not options.all:
        checks = check_answer(embedding, measured)
        if not options.json:
            _print_facts({"golden": [str(check) for check in checks]})
    answer = {
        "answer": f"{vector.shape[0]} dimensions, length {float(np.linalg.norm(vector)):.6f}",
        "offline_after_loading": offline_state(),
        "info": _info(embedding.info),
    }
    is_well = all(check.is_well for check in checks)
    if options.json:
        golden = [dataclasses.asdict(check) for check in checks]
        print_json({"ok": is_well, **facts, **bundle, "golden": golden, **answer})
    else:
        _print_facts(answer)
        if not is_well:
            print("thoth-models: a variant does not give the golden vectors on this machine", file=sys.stderr)
    return DONE if is_well else FAILED


def _doctor_quick(options: argparse.Namespace) -> int:
    root = bundle_root(options.root)
    checks = [
        check_quickly(
            root,
            name,
            variants=options.variant,
            same_space=options.same_space,
            expect_space=options.expect_space,
        )
        for name in names_to_check(root, options.model)
    ]
    if options.json:
        # A bundle with a default has one check; without a default, every model has to be able to answer.
        found = [dataclasses.asdict(check) for check in checks]
        print_json({"ok": True, **(found[0] if len(found) == 1 else {"models": found})})
    else:
        for check in checks:
            print(f"ok: {check}")
    return DONE


def _cores() -> str:
    quota = cpu_quota()
    said = "no CPU quota" if quota is None else f"a CPU quota of {quota:g}"
    return f"{usable_cores()} usable ({available_cores()} available, {said})"


def _embed(options: argparse.Namespace) -> int:
    import numpy as np  # noqa: PLC0415 - a health check does not need it

    output = None if options.output == "-" else Path(options.output)
    if output is not None and output.suffix not in (".npy", ".jsonl"):
        raise InvalidInputError(f"--output: expected a file ending in .npy or .jsonl, or -, found {options.output!r}")
    if options.text is not None and options.input != "-":
        raise InvalidInputError(f"expected texts by --text or a file of them, found both: {options.input!r}")
    with open_texts(options.input, options.input_format) if options.text is None else given(options.text) as texts:
        embedding = _load(options)

        def encode(block: list[str]) -> FloatArray:
            return embedding.encode(
                block,
                batch_size=options.batch_size,
                prompt_name=options.prompt_name,
                normalize_embeddings=False if options.no_normalize else None,
                truncate_dim=options.truncate_dim,
            )

        if output is None:
            if write_jsonl(sys.stdout.buffer, map(encode, blocks(texts))) == 0:
                print("no texts: standard input was empty; `docker run` needs -i, or use --text", file=sys.stderr)
            return DONE
        with replaced_at_end(output) as file:
            if output.suffix == ".npy":
                vectors = np.concatenate([encode([]), *map(encode, blocks(texts))])
                np.save(file, vectors)
                count = len(vectors)
            else:
                count = write_jsonl(file, map(encode, blocks(texts)))
    if options.json:
        print_json({"ok": True, "output": str(output), "texts": count, "info": _info(embedding.info)})
    else:
        print(f"{output}: {count} vectors of {embedding.info.model}/{embedding.info.variant}")
    return DONE


def _load(options: argparse.Namespace) -> Embedding:
    return load_embedding(
        options.model,
        root=options.root,
        variants=options.variant,
        same_space=options.same_space,
        expect_space=options.expect_space,
        timeout=options.timeout,
    )


def _info(info: EmbeddingInfo) -> dict[str, Any]:
    return dataclasses.asdict(info)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _print_facts(facts: dict[str, Any], indent: str = "") -> None:
    for key, value in facts.items():
        if isinstance(value, dict):
            print(f"{indent}{key}:")
            _print_facts(value, indent + "  ")
        elif isinstance(value, (list, tuple)):
            shown = [
                f"{item['model']}/{item['variant']}: {item['reason']}" if isinstance(item, dict) else str(item)
                for item in value
            ]
            print(f"{indent}{key}: {'; '.join(shown) or 'none'}")
        else:
            print(f"{indent}{key}: {value}")
    sys.stdout.flush()


def _show_warning(message: Warning | str, *_details: object, **_more: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _report_error(error: Exception, *, as_json: bool) -> int:
    code = _exit_code(error)
    if as_json:
        problems: Sequence[Problem] = error.problems if isinstance(error, VerificationError) else ()
        print_json(
            {
                "ok": False,
                "error": type(error).__name__,
                "message": str(error),
                "problems": [dataclasses.asdict(problem) for problem in problems],
            }
        )
    else:
        print(f"thoth-models: {error}", file=sys.stderr)
        if isinstance(error, BundleError) and not isinstance(error, (VerificationError, ManifestError)):
            print(f"hint: build one with `thoth-bundle build`, or set --root or {ROOT_VARIABLE}", file=sys.stderr)
    return code


def _exit_code(error: Exception) -> int:
    if isinstance(error, (VerificationError, ManifestError)):
        return VERIFICATION_FAILED
    if isinstance(error, CallerError):
        return BAD_USAGE
    return FAILED
