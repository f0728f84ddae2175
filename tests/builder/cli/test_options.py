"""The options that commands share: their values, and what is refused."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from thoth_models_builder.cli import options
from thoth_models_builder.sources.limits import Limits


def parsed(*arguments: str) -> argparse.Namespace:
    parents = [options.json_option(), options.file_options(), options.store_option(), options.limit_options()]
    return argparse.ArgumentParser(parents=parents).parse_args(arguments)


def test_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THOTH_STORE", "somewhere")
    found = parsed()
    assert (found.file, options.lock_path(found)) == (Path("models.yaml"), Path("models.lock"))
    assert options.store_of(found) == Path("somewhere")
    assert options.limits_of(found) == Limits()
    assert not found.json


def test_the_lock_is_beside_the_specification() -> None:
    assert options.lock_path(parsed("--file=a/b.yaml")) == Path("a/models.lock")
    assert options.lock_path(parsed("--file=a/b.yaml", "--lock=c")) == Path("c")
    assert options.store_of(parsed("--store=s")) == Path("s")


def test_limits() -> None:
    found = options.limits_of(parsed("--attempts=7", "--connect-timeout=0.5", "--wheel-deadline=9"))
    assert (found.attempts, found.connect, found.wheel_deadline) == (7, 0.5, 9)


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (options.positive, "0", "expected a positive number, found 0"),
        (options.positive, "inf", "expected a positive number, found inf"),
        (options.days, "-1", "expected a number of at least 0, found -1"),
        (options.count, "1.5", "expected an integer of at least 1, found 1.5"),
        (options.days, "x", "expected a number, found x"),
    ],
)
def test_numbers_that_are_refused(read: object, text: str, message: str) -> None:
    assert callable(read)
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        read(text)
