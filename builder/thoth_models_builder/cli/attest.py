"""``thoth-bundle attest``: the attestations beside a bundle; and the options of ``verify`` that ask for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.cli.command import DONE, print_json
from thoth_models_builder.cli import terminal
from thoth_models_builder.cli.options import file_options, json_option, lock_path
from thoth_models_builder.cli.sign import keyless_of, signer_options
from thoth_models_builder.pipeline.signing import attest

if TYPE_CHECKING:
    import argparse

    from thoth_models.cli.command_help import Commands


def add_attest(commands: Commands) -> None:
    """Add ``attest``."""
    command = commands.add_parser(
        "attest",
        parents=[json_option(), file_options(), signer_options()],
        help="sign statements about a bundle: provenance, measured accuracy, licences",
    )
    command.add_argument("root", type=Path, nargs="?", default=Path("bundle"), help="the bundle (default: bundle)")
    command.add_argument(
        "--builder-id",
        required=True,
        metavar="URI",
        help="the platform that ran the build, such as the address of the CI's runner or workflow",
    )
    command.add_argument("--invocation-id", metavar="TEXT", help="what that platform calls the run")
    command.add_argument(
        "--attestations-file",
        type=Path,
        metavar="FILE",
        help="where to write the statements (default: BUNDLE.intoto.jsonl beside the bundle, where `verify` looks)",
    )
    command.set_defaults(run=_attest)


def add_attestation_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``verify`` that ask for attestations."""
    command.add_argument(
        "--attestations",
        action="store_true",
        help="require signed statements of provenance, accuracy and licences, and compare them with the bundle",
    )
    command.add_argument(
        "--attestations-file",
        type=Path,
        metavar="FILE",
        help="the attestations (default: BUNDLE.intoto.jsonl beside the bundle)",
    )


def _attest(options: argparse.Namespace) -> int:
    report = attest.attest(
        attest.AttestOptions(
            bundle=options.root,
            file=options.file,
            lock=lock_path(options),
            builder_id=options.builder_id,
            invocation_id=options.invocation_id,
            key=options.key,
            certificate=options.certificate,
            chain=options.chain,
            keyless=keyless_of(options),
            output=options.attestations_file,
        )
    )
    if options.json:
        print_json({"ok": True, **dataclasses.asdict(report)})
        return DONE
    state = "unchanged" if report.is_unchanged else "written"
    if report.without_digest:
        terminal.TerminalWatcher().note(
            f"without a digest, because other versions are installed here: {', '.join(report.without_digest)}"
        )
    terminal.show_text(
        f"{report.output}: {state}; {', '.join(report.attested)}, signed by {report.signed_by}\n"
        f"bundle digest {report.bundle_digest}\n"
    )
    return DONE
