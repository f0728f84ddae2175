"""``thoth-models verify | list | doctor | embed``: thin; one verb, one library call.

Exit codes: 0 done, 1 verification failed, 2 bad usage, 4 anything else. (3, a source failed, is the builder's.)
``doctor --quick`` is for health checks of containers, which know 0 and 1 only: it has 1 for everything but bad usage.
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
from thoth_models.cgroups import cpu_quota, memory_limit
from thoth_models.command import FAILED, print_json, run_command
from thoth_models.doctor import check_answer, check_quickly, check_variants, names_to_check
from thoth_models.environment import available_cores, usable_cores
from thoth_models.errors import (
    BundleError,
    CallerError,
    FallbackWarning,
    InvalidInputError,
    ManifestError,
    Problem,
    VerificationError,
)
from thoth_models.loading import ROOT_VARIABLE, bundle_root, load_embedding
from thoth_models.offline import offline_state
from thoth_models.textfiles import blocks, given, open_texts, replaced_at_end, write_jsonl
from thoth_models.verify import open_bundle, verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models.embedding import Embedding, FloatArray
    from thoth_models.info import EmbeddingInfo
    from thoth_models.manifest import Manifest

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
    model.add_argument("--same-space", action="store_true", help="refuse a stand-in of another embedding space")
    model.add_argument("--expect-space", help="refuse any other embedding space than this one")
    model.add_argument("--timeout", type=float, default=60.0, help="seconds until loading is given up (default: 60)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("verify", parents=[common], help="compare every file of the bundle with its manifest")
    command.add_argument("--strict", action="store_true", help="files that others may write are errors")
    command.set_defaults(run=_verify)

    command = commands.add_parser("list", parents=[common], help="list the models of the bundle")
    command.set_defaults(run=_list)

    command = commands.add_parser(
        "doctor", parents=[common, model], help="show environment and bundle, and encode the golden texts"
    )
    scope = command.add_mutually_exclusive_group()
    scope.add_argument("--all", action="store_true", help="check every variant of the model, not only what answers")
    scope.add_argument(
        "--quick",
        action="store_true",
        help="for health checks: whether the files of what would answer are there; loads nothing, exits with 0 or 1",
    )
    command.set_defaults(run=_doctor)

    command = commands.add_parser("embed", parents=[common, model], help="encode texts")
    command.add_argument("input", nargs="?", default="-", help="a file of texts; - for standard input (default)")
    command.add_argument("--text", action="append", help="a text to encode instead of a file; repeat for several")
    command.add_argument(
        "--input-format",
        choices=("lines", "jsonl"),
        help='one text a line, or one JSON value a line: a string, or an object with the key "text" '
        "(default: by the file's ending, else lines)",
    )
    command.add_argument(
        "--output", default="-", help="a file ending in .npy or .jsonl; - for JSONL on standard output"
    )
    command.add_argument("--batch-size", type=int, help="most texts per batch (default: what suits the backend)")
    command.add_argument("--prompt-name", help="the model's prompt to put before each text")
    command.add_argument("--no-normalize", action="store_true", help="the model's own output, not made unit length")
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
    bundle = open_bundle(bundle_root(options.root))
    rows = _model_rows(bundle.manifest)
    if options.json:
        print_json({"root": str(bundle.root), "bundle_digest": bundle.bundle_digest.hex, "models": rows})
        return DONE
    for row in rows:
        mark = " (default)" if row["default"] else ""
        print(f"{row['name']}{mark}")
        if row["aliases"]:
            print(f"  aliases     {', '.join(row['aliases'])}")
        if row["absent"]:
            standing_in = ", ".join(row["alternates"]) or "nothing"
            print(f"  absent      its sources did not answer at build time; standing in: {standing_in}")
            continue
        print(f"  origin      {row['origin']}")
        print(f"  licence     {row['license'] or 'not stated'}")
        print(f"  vectors     {row['dimension']} dimensions, {'unit length' if row['normalize'] else 'not normalised'}")
        print(f"  input       {row['max_seq_length'] or 'any number of'} tokens")
        print(f"  variants    {', '.join(row['variants'])}")
        for name, accuracy in row["accuracy"].items():
            if accuracy is not None:
                print(f"              {name}: cosine at least {accuracy['minimum_cosine']:.5f} to the reference")
        print(f"  space       {row['space']}")
    return DONE


def _model_rows(manifest: Manifest) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for model in manifest.models.values():
        row: dict[str, Any] = {
            "name": model.name,
            "default": model.name == manifest.default,
            "aliases": list(model.aliases),
            "alternates": [alternate.model for alternate in model.alternates],
            "dimension": model.dimension,
            "absent": model.built is None,
        }
        if (built := model.built) is not None:
            origin = built.origin
            row |= {
                "origin": f"{origin.kind}:{origin.id}" + (f"@{origin.revision}" if origin.revision else ""),
                "license": built.license,
                "max_seq_length": built.max_seq_length,
                "pooling": built.pooling,
                "normalize": built.normalize,
                "space": built.space.hex,
                "variants": [variant.name for variant in built.variants],
                "accuracy": {
                    variant.name: None if variant.accuracy is None else dataclasses.asdict(variant.accuracy)
                    for variant in built.variants
                },
            }
        rows.append(row)
    return rows


def _doctor(options: argparse.Namespace) -> int:
    if options.quick:
        return _doctor_quick(options)
    import numpy as np  # noqa: PLC0415 - a health check does without it

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
    bundle = {
        "bundle_digest": report.bundle_digest.hex,
        "verified": f"{report.files} files, {report.bytes:,} bytes in {report.seconds:.2f} s",
        "warnings": [str(warning) for warning in report.warnings],
        "models": [row["name"] + (" (absent)" if row["absent"] else "") for row in _model_rows(report.manifest)],
    }
    if not options.json:
        _print_facts(bundle)
    checks = check_variants(root, options.model, timeout=options.timeout) if options.all else []
    if checks and not options.json:
        _print_facts({"golden": [str(check) for check in checks]})
    embedding = _load(options)
    vector = embedding.encode(_DOCTOR_SENTENCE)
    if not options.all:
        checks = check_answer(embedding)
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
        # One is what a bundle with a default has; without one, every model has to be able to answer.
        tables = [dataclasses.asdict(check) for check in checks]
        print_json({"ok": True, **(tables[0] if len(tables) == 1 else {"models": tables})})
    else:
        for check in checks:
            print(f"ok: {check}")
    return DONE


def _cores() -> str:
    quota = cpu_quota()
    said = "no CPU quota" if quota is None else f"a CPU quota of {quota:g}"
    return f"{usable_cores()} usable ({available_cores()} available, {said})"


def _embed(options: argparse.Namespace) -> int:
    import numpy as np  # noqa: PLC0415 - a health check does without it

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
