"""Errors of compiling, for use within this package."""

from __future__ import annotations


class NotExportableError(Exception):
    """A pipeline cannot be written as one ONNX graph; the message says why."""


class UnusableModelError(Exception):
    """A bundle must not contain the model in any variant, such as one without some of its weights."""


class SandboxError(Exception):
    """A model's own code cannot be confined on this machine, or did what the confinement does not allow."""


class ConfinedError(SandboxError):
    """The confined process failed, and has written its own error to the log already."""


class NotConfinedError(ConfinedError):
    """The process was not confined, and so did nothing."""
