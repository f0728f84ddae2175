"""``thoth-bundle sign``: the signature beside a bundle; and the options of ``verify`` that ask for one."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.cli.command import DONE, print_json
from thoth_models_builder.cli import terminal
from thoth_models_builder.cli.options import json_option
from thoth_models_builder.errors import UsageError
from thoth_models_builder.pipeline.signing import sign

if TYPE_CHECKING:
    from thoth_models.cli.command_help import Commands


def add_sign(commands: Commands) -> None:
    """Add ``sign``."""
    command = commands.add_parser(
        "sign",
        parents=[json_option(), signer_options()],
        help="sign a bundle with a key or an identity, in the OpenSSF model-signing format",
    )
    command.add_argument("root", type=Path, nargs="?", default=Path("bundle"), help="the bundle (default: bundle)")
    command.add_argument(
        "--write-trust",
        type=Path,
        metavar="DIR",
        help="with --keyless: write the identity and the trust root there, for THOTH_TRUST",
    )
    command.add_argument(
        "--signature",
        type=Path,
        metavar="FILE",
        help="where to write the signature (default: BUNDLE.sig beside the bundle, where it is looked for)",
    )
    command.set_defaults(run=_sign)


def signer_options() -> argparse.ArgumentParser:
    """Return a parser of the options that say what is signed with, to be the parent of a command's parser."""
    options = argparse.ArgumentParser(add_help=False)
    how = options.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="the private key as PEM, of the curve P-256, P-384 or P-521; "
        f"{sign.PASSWORD_VARIABLE} has the password of an encrypted one",
    )
    how.add_argument(
        "--keyless",
        action="store_true",
        help="sign as the identity of this CI job, or of --identity-token, with a certificate and a log of Sigstore; "
        f"fails after {sign.SIGNING_DEADLINE:g} s",
    )
    options.add_argument("--certificate", type=Path, metavar="FILE", help="with --key: its certificate, as PEM")
    options.add_argument(
        "--chain",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="with --certificate: those between it and an authority, as PEM; repeat for several files",
    )
    options.add_argument(
        "--identity-token",
        type=Path,
        metavar="FILE",
        help="with --keyless: the identity token (default: that of the CI system)",
    )
    options.add_argument(
        "--trust-config",
        type=Path,
        metavar="FILE",
        help="with --keyless: services and trust root of a Sigstore instance (default: the public one)",
    )
    return options


def keyless_of(options: argparse.Namespace, *, write_trust: Path | None = None) -> sign.KeylessOptions | None:
    """Return how an identity signs; None to sign with a key.

    Raises:
        UsageError: There are options for an identity beside a key.
    """
    keyless = sign.KeylessOptions(
        token=options.identity_token, trust_config=options.trust_config, write_trust=write_trust
    )
    if options.keyless:
        return keyless
    if keyless != sign.KeylessOptions():
        raise UsageError("expected --keyless beside --identity-token, --trust-config and --write-trust, found --key")
    return None


def add_trust_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``verify`` that ask for a signature."""
    command.add_argument(
        "--trust",
        type=Path,
        metavar="PATH",
        help="require a signature by one of the public keys, certificates and identities in this file or directory "
        "(default: THOTH_TRUST, else signatures are not looked at)",
    )
    command.add_argument(
        "--signature", type=Path, metavar="FILE", help="the signature (default: BUNDLE.sig beside the bundle)"
    )


def _sign(options: argparse.Namespace) -> int:
    report = sign.sign(
        sign.SignOptions(
            bundle=options.root,
            key=options.key,
            certificate=options.certificate,
            chain=options.chain,
            keyless=keyless_of(options, write_trust=options.write_trust),
            output=options.signature,
        )
    )
    if options.json:
        print_json({"ok": True, **dataclasses.asdict(report)})
    else:
        state = "unchanged" if report.is_unchanged else "written"
        terminal.show_text(
            f"{report.output}: {state}; {report.files} files signed by {report.signed_by}\n"
            f"bundle digest {report.bundle_digest}\n"
            f"set digest    {report.set_digest}\n"
        )
    return DONE
