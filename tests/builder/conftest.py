"""Fixtures of tests that build bundles."""

from tests.support.builder_fixtures import (
    _nothing_from_outside,
    command,
    find_links,
    hub,
    local,
    no_hub,
    objects,
    place,
    project,
)

__all__ = [
    "_nothing_from_outside",
    "command",
    "find_links",
    "hub",
    "local",
    "no_hub",
    "objects",
    "place",
    "project",
]
