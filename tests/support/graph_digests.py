"""What becomes of exported graphs on this processor: ``python -m tests.support.graph_digests DIRECTORY…``.

Each directory has a ``raw.onnx``. It is optimised, and quantised and optimised, as the compiler does; printed are the
digests of all files that come of it. A module of its own, without torch, so that an emulator can run it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from thoth_models_builder.compile.errors import NotExportableError
from thoth_models_builder.compile.graphs.writing import finish_graph
from thoth_models_builder.compile.quantize import quantize_graph


def digests(raw: Path) -> dict[str, str]:
    """Return the sha256 of each file that is made of a raw graph."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "fp32").mkdir()
        finish_graph(raw, place / "fp32/model.onnx")
        try:
            quantize_graph(raw, place / "int8.onnx")
        except NotExportableError as error:
            return {**_hashed(place), "int8": str(error)}
        (place / "int8").mkdir()
        finish_graph(place / "int8.onnx", place / "int8/model.onnx", precision="int8")
        return _hashed(place)


def _hashed(place: Path) -> dict[str, str]:
    files = sorted(path for path in place.rglob("*") if path.is_file())
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    json.dump({Path(name).name: digests(Path(name) / "raw.onnx") for name in sys.argv[1:]}, sys.stdout)
