"""``thoth-models verify | list | doctor | embed``: one command, one library call.

Exit codes are in :mod:`thoth_models.cli.failures`. (3, a source failed, is the builder's.)
``doctor --quick`` is for health checks of containers, which only know 0 and 1: it exits with 1 for any error except
wrong usage.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models import __version__
from thoth_models.cli.command import DONE, diverted_output, print_json, run_command
from thoth_models.cli.command_help import add_examples, command_parser
from thoth_models.cli.doctor_command import run_doctor
from thoth_models.cli.failures import EXIT_CODES, exit_code, next_step
from thoth_models.cli.list_models import list_models
from thoth_models.cli.model_options import bundle_options, load_as_asked, model_options, place_of
from thoth_models.cli.text_io import blocks, given, open_texts, replaced_at_end, write_jsonl
from thoth_models.errors import FallbackWarning, InvalidInputError, Problem, VerificationError
from thoth_models.verification.verify import VERIFY_SECONDS, verify

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from thoth_models.types import FloatArray

UNHEALTHY = 1

_GROUPS = {"the bundle": ("list", "verify", "doctor"), "vectors": ("embed",)}

_EXAMPLES = {
    "list": ("thoth-models list --root bundle",),
    "verify": ("thoth-models verify", "thoth-models verify --root bundle --strict"),
    "doctor": ("thoth-models doctor", "thoth-models doctor --all --json", "thoth-models doctor --quick --model mini"),
    "embed": (
        "thoth-models embed --text 'first name of the customer'",
        "thoth-models embed texts.txt --output vectors.npy",
        "thoth-models embed rows.jsonl --model mini --prompt-name query > vectors.jsonl",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    # Commands say themselves what happened; without a handler, Python would print events as well.
    logging.getLogger("thoth_models").addHandler(logging.NullHandler())

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
    parser = command_parser(
        "thoth-models", "Check and use a bundle of embedding models.", groups=_GROUPS, exit_codes=EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    common = bundle_options()
    model = model_options()
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("verify", parents=[common], help="compare every file of the bundle with its manifest")
    command.add_argument(
        "--strict", action="store_true", help="files that users other than the owner may write are errors"
    )
    command.add_argument(
        "--timeout",
        type=float,
        default=VERIFY_SECONDS,
        metavar="SECONDS",
        help=f"deadline of the command (default: {VERIFY_SECONDS:g})",
    )
    command.set_defaults(run=_verify)

    command = commands.add_parser("list", parents=[common], help="list the models of the bundle")
    command.set_defaults(run=_list)

    command = commands.add_parser(
        "doctor", parents=[common, model], help="show environment and bundle, and encode the golden texts"
    )
    scope = command.add_mutually_exclusive_group()
    scope.add_argument(
        "--all",
        action="store_true",
        help="check every variant of every model (with --model: of this one), not only the one that answers",
    )
    scope.add_argument(
        "--quick",
        action="store_true",
        help="for health checks: whether the files of a variant that can answer are present; exits with 0 or 1",
    )
    command.add_argument("--strict", action="store_true", help="with --all: an absent model is an error")
    command.add_argument(
        "--verify-timeout",
        type=float,
        default=VERIFY_SECONDS,
        metavar="SECONDS",
        help=f"deadline of comparing the files of the bundle (default: {VERIFY_SECONDS:g})",
    )
    command.set_defaults(run=run_doctor)

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
    add_examples(commands, _EXAMPLES)
    return parser


def _verify(options: argparse.Namespace) -> int:
    place = place_of(options)
    report = verify(
        place.path,
        strict=options.strict,
        expect_digest=place.expect_digest,
        min_release=place.min_release,
        trust=place.trust,
        timeout=options.timeout,
    )
    if options.json:
        print_json(
            {
                "ok": True,
                "root": str(report.root),
                "bundle_digest": report.bundle_digest.hex,
                "set_digest": report.set_digest.hex,
                "release": report.manifest.release,
                "signed_by": report.signed_by,
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
        if report.manifest.release is not None:
            print(f"release       {report.manifest.release}")
        if report.signed_by is not None:
            print(f"signed by     {report.signed_by}")
    return DONE


def _list(options: argparse.Namespace) -> int:
    list_models(place_of(options), as_json=options.json)
    return DONE


def _embed(options: argparse.Namespace) -> int:
    import numpy as np  # noqa: PLC0415 - a health check does not need it

    output = None if options.output == "-" else Path(options.output)
    if output is not None and output.suffix not in (".npy", ".jsonl"):
        raise InvalidInputError(f"--output: expected a file ending in .npy or .jsonl, or -, found {options.output!r}")
    if options.text is not None and options.input != "-":
        raise InvalidInputError(f"expected texts by --text or a file of them, found both: {options.input!r}")
    if output is not None and options.input != "-" and output.resolve() == Path(options.input).resolve():
        raise InvalidInputError(f"--output: expected another file than that of the texts, found {options.output!r}")
    with open_texts(options.input, options.input_format) if options.text is None else given(options.text) as texts:
        with diverted_output():
            embedding = load_as_asked(options)

        def encode(block: list[str]) -> FloatArray:
            with diverted_output():
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
        print_json({"ok": True, "output": str(output), "texts": count, "info": dataclasses.asdict(embedding.info)})
    else:
        print(f"{output}: {count} vectors of {embedding.info.model}/{embedding.info.variant}")
    return DONE


def _show_warning(message: Warning | str, *_details: object, **_more: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _report_error(error: Exception, *, as_json: bool) -> int:
    code = exit_code(error)
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
        print(f"hint: {next_step(error)}", file=sys.stderr)
    return code
