"""The options that say which model a command loads."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from thoth_models.loading.load import load_embedding

if TYPE_CHECKING:
    from thoth_models.embedding import Embedding


def model_options() -> argparse.ArgumentParser:
    """Return a parser of these options, to be the parent of a command's parser."""
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("--model", help="model name or alias (default: the bundle's default)")
    model.add_argument("--variant", action="append", help="a variant to accept; repeat in order of preference")
    model.add_argument("--same-space", action="store_true", help="refuse a fallback of another embedding space")
    model.add_argument("--expect-space", help="refuse any embedding space except this one")
    model.add_argument("--timeout", type=float, default=60.0, help="deadline of loading, in seconds (default: 60)")
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
        timeout=options.timeout,
    )
