"""The process that compiles one model: ``python -m thoth_models_builder.compile.worker STEP DIRECTORY``.

A process of its own because torch takes hundreds of megabytes and a second or more to import, has settings for the
whole process, and may run out of memory; the builder waits for this one with a deadline. DIRECTORY is a bundle with one
model that has nothing but its source files; when both steps are done, it is a bundle with every variant that could be
made, each measured through the runtime itself.

Steps:
    golden: Writes the golden vectors. Run with the processor's special instructions off and one thread, as far as the
        libraries let themselves be told, so that the vectors do not depend on the machine.
    variants: Exports, quantises, measures, and writes the manifest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thoth_models.agreement import compare, neighbour_agreement, recorded
from thoth_models.digest import hash_file
from thoth_models.golden import GOLDEN_NAME, Golden
from thoth_models.loading import load_embedding
from thoth_models.manifest import CHECKSUMS_NAME, MANIFEST_NAME, Manifest, Variant
from thoth_models.offline import assert_offline, enforce_offline, network_guard
from thoth_models_builder.compile.errors import NotExportableError
from thoth_models_builder.compile.texts import corpus, golden_texts
from thoth_models_builder.variants import GRAPH_NAME, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thoth_models.accuracy import Accuracy
    from thoth_models.embedding import FloatArray
    from thoth_models.manifest import BuiltModel, Model

_LOAD_SECONDS = 600.0
"""For one variant to load while it is measured; the builder's own deadline ends a worker that takes longer."""


def main(arguments: Sequence[str]) -> int:
    """Run one step."""
    step, directory, *listed = arguments
    _end_with_the_builder()
    # Those of libraries about each other; what matters is measured.
    warnings.simplefilter("ignore")
    enforce_offline()
    with network_guard():
        job = Job(Path(directory))
        if step == "golden":
            job.write_golden()
        else:
            job.write_variants(listed)
    assert_offline()
    return 0


class Job:
    """One model to compile, in a directory that becomes a bundle."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = Manifest.from_bytes((root / MANIFEST_NAME).read_bytes())
        (self.name,) = self.manifest.models
        self.place = root / self.name
        self.source = (self.place / "source").resolve()

    @property
    def model(self) -> Model:
        """The one model, as the manifest says so far."""
        return self.manifest.models[self.name]

    @property
    def built(self) -> BuiltModel:
        """What there is of it so far."""
        built = self.model.built
        if built is None:
            raise AssertionError("a job without source files")
        return built

    def write_golden(self) -> None:
        """Encode the golden texts with sentence-transformers."""
        # Each step imports what it needs: the other one would wait for it in vain.
        from thoth_models_builder.compile.reference import Reference  # noqa: PLC0415

        texts = golden_texts(self.built.max_seq_length, self.built.prompts)
        golden = Golden(
            texts=tuple(text for _, text in texts),
            prompts=tuple(prompt for prompt, _ in texts),
            vectors=Reference(self.source).encode(texts),
        )
        (self.place / GOLDEN_NAME).write_bytes(golden.to_bytes())

    def write_variants(self, listed: Sequence[str]) -> None:
        """Make and measure the variants that are ``listed``."""
        made: list[str] = []
        omitted: dict[str, str] = {}
        raw = self.root / "work" / GRAPH_NAME
        for name in listed:
            try:
                self._make(name, raw)
            except NotExportableError as error:
                omitted[name] = str(error)
                shutil.rmtree(self.place / VARIANTS[name].directory, ignore_errors=True)
            else:
                made.append(name)
        if not made:
            # Sentence-transformers itself can always run it: it has just made the golden vectors.
            made = ["torch-fp32"]
        self._seal(made, omitted, {})
        golden = Golden.from_bytes((self.place / GOLDEN_NAME).read_bytes(), dimension=self.model.dimension)
        from thoth_models_builder.compile.reference import Reference  # noqa: PLC0415

        usual = Reference(self.source).encode_corpus(corpus())
        self._seal(made, omitted, {name: self._measure(name, golden, usual) for name in made})

    def _make(self, name: str, raw: Path) -> None:
        kind = VARIANTS[name]
        if not kind.is_compiled:
            return
        import onnx  # noqa: PLC0415

        from thoth_models_builder.compile.export import (  # noqa: PLC0415
            export_graph,
            load_reference,
            write_tokenizer,
        )
        from thoth_models_builder.compile.graphs import finish_graph, write_graph  # noqa: PLC0415

        target = self.place / kind.directory
        model = load_reference(self.source)
        if not raw.exists():
            # Under its final name only when it was found to say what the modules say: another variant is made of it.
            unproved = raw.with_name("unproved.onnx")
            raw.parent.mkdir(exist_ok=True)
            export_graph(model, unproved)
            write_graph(onnx.load(unproved), raw)
        graph = raw
        if kind.precision == "int8":
            from thoth_models_builder.compile.quantize import quantize_graph  # noqa: PLC0415

            graph = raw.with_name("int8.onnx")
            quantize_graph(raw, graph)
        target.mkdir()
        write_tokenizer(model, target)
        finish_graph(graph, target / GRAPH_NAME)

    def _measure(self, name: str, golden: Golden, usual: FloatArray) -> Accuracy:
        """Return how closely a variant follows the references, loaded and asked as a service would."""
        embedding = load_embedding(self.name, root=self.root, variants=[name], timeout=_LOAD_SECONDS)
        found = np.empty_like(golden.vectors)
        # Prompt by prompt, because a call has one for all of its texts.
        for prompt in dict.fromkeys(golden.prompts):
            rows = [row for row, other in enumerate(golden.prompts) if other == prompt]
            texts = [golden.texts[row] for row in rows]
            found[rows] = embedding.encode(texts, prompt=prompt, normalize_embeddings=False)
        agreement = compare(golden.vectors, found)
        if not np.isfinite(found).all():
            raise ArithmeticError(f"{name}: expected finite numbers in every golden vector, found others: {agreement}")
        print(f"{name}: {agreement}; the worst is {golden.texts[agreement.worst][:60]!r}")  # noqa: T201 - the log
        neighbours = neighbour_agreement(usual, embedding.encode(corpus(), prompt="", normalize_embeddings=False))
        return recorded(agreement, neighbours, 0.0)

    def _seal(self, names: Sequence[str], omitted: dict[str, str], measured: dict[str, Accuracy]) -> None:
        """Write the manifest of what is there now, so that the runtime loads from it."""
        proof = self.built.proof
        if proof is None:
            raise AssertionError("a job without a place for its golden vectors")
        files = {}
        for path in sorted(self.place.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    files[str(path.relative_to(self.root))] = hash_file(file)
        variants = []
        for name in names:
            directory = f"{self.name}/{VARIANTS[name].directory}"
            variants.append(
                Variant(
                    name=name,
                    backend=VARIANTS[name].backend,
                    precision=VARIANTS[name].precision,
                    directory=directory,
                    files=tuple(path for path in files if path.startswith(f"{directory}/")),
                    accuracy=measured.get(name),
                )
            )
        built = replace(self.built, variants=tuple(variants), proof=replace(proof, omitted=omitted))
        model = replace(self.model, built=built)
        self.manifest = replace(self.manifest, models={self.name: model}, files=files)
        (self.root / MANIFEST_NAME).write_bytes(self.manifest.to_bytes())
        (self.root / CHECKSUMS_NAME).write_bytes(self.manifest.checksums())


def _end_with_the_builder() -> None:
    """End this process when the builder's end of standard input closes, which it does however the builder ends."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os._exit(1)

    threading.Thread(target=wait, name="end-with-the-builder", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
