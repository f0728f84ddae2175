"""What compiling may find out; only for use between the modules of this room."""

from __future__ import annotations


class NotExportableError(Exception):
    """A pipeline cannot be written as one ONNX graph; the message says why."""
