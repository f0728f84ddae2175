"""The options that say which bundle a command uses, and which model it loads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from thoth_models.cli.command_help import release_number
from thoth_models.loading.load import load_embedding
from thoth_models.process.environment import DIGEST_VARIABLE, MIN_RELEASE_VARIABLE, ROOT_VARIABLE, bundle_place

if TYPE_CHECKING:
    from thoth_models.embedding import Embedding
    from thoth_models.process.environment import BundlePlace


def bundle_options() -> argparse.ArgumentParser:
    """Return a parser of the options of all commands, to be the parent of a command's parser."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", type=Path, help=f"the bundle directory (default: {ROOT_VARIABLE}, else /models)")
    common.add_argument(
        "--expect-digest",
        "--expect",
        metavar="DIGEST",
        help=f"refuse any bundle except the one of this bundle digest (default: {DIGEST_VARIABLE}, else any)",
    )
    common.add_argument(
        "--min-release",
        type=release_number,
        metavar="NUMBER",
        help=f"refuse a bundle of a lower release, or without one (default: {MIN_RELEASE_VARIABLE}, else any)",
    )
    common.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    return common


def place_of(options: argparse.Namespace) -> BundlePlace:
    """Return the bundle that the options of :func:`bundle_options` name.

    Raises:
        InvalidInputError, EnvironmentFault: As for :func:`~thoth_models.process.environment.bundle_place`.
    """
    return bundle_place(options.root, options.expect_digest, options.min_release)


def model_options() -> argparse.ArgumentParser:
    """Return a parser of these options, to be the parent of a command's parser."""
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("--model", help="model name or alias (default: the bundle's default)")
    model.add_argument("--variant", action="append", help="a variant to accept; repeat in order of preference")
    model.add_argument("--same-space", action="store_true", help="refuse a fallback of another embedding space")
    model.add_argument("--expect-space", help="refuse any embedding space except this one")
    model.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="deadline of loading (default: 60)"
    )
    return model


def load_as_asked(options: argparse.Namespace) -> Embedding:
    """Load the model that the options name."""
    return load_embedding(
        options.model,
        root=options.root,
        variants=options.variant,
        same_space=options.same_space,
        expect_space=options.expect_space,
        expect_digest=options.expect_digest,
        min_release=options.min_release,
        timeout=options.timeout,
    )
