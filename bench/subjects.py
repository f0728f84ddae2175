"""What is measured: each subject, the environment it lives in, and what its worker has to load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.shapes import SHAPES
from bench.texts import FIRST_TEXT

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE = "raw"
"""The subject that all others are compared with, in vectors and in figures."""

MINI = "mini"
SYNTHETIC = "synthetic-multilingual"
"""The model of random weights with the shape of paraphrase-multilingual-MiniLM-L12-v2."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One way to make vectors of one model.

    Attributes:
        way: Which way, such as ``raw`` or ``onnx-fp32``.
        title: The same for people.
        model: Name of the model.
        environment: Name of the environment whose interpreter runs it, see :mod:`bench.environments`.
        loader: Name of the loader of ``worker.py``.
        variant: Variant of this project that it loads, or None for a peer.
    """

    way: str
    title: str
    model: str
    environment: str
    loader: str
    variant: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is a variant of this project as it ships."""
        return self.loader in ("thoth-models", "thoth-models-manager")

    @property
    def name(self) -> str:
        """Model and way, as measurements name it."""
        return f"{self.model}/{self.way}"


def _ours(model: str, variant: str) -> Subject:
    title = f"thoth-models {variant}"
    return Subject(way=variant, title=title, model=model, environment="main", loader="thoth-models", variant=variant)


def _prepacked(model: str) -> Subject:
    return Subject(
        way="onnx-fp32-prepacked",
        title="the same with prepacking on",
        model=model,
        environment="main",
        loader="thoth-models-prepacked",
        variant="onnx-fp32",
    )


def _managed(model: str, variant: str) -> Subject:
    return Subject(
        way=f"{variant}-manager",
        title=f"thoth-models {variant}, EmbeddingManager",
        model=model,
        environment="main",
        loader="thoth-models-manager",
        variant=variant,
    )


def _fastembed(model: str) -> Subject:
    return Subject(way="fastembed", title="fastembed", model=model, environment="fastembed", loader="fastembed")


def _raw(model: str) -> Subject:
    return Subject(
        way=REFERENCE, title="sentence-transformers", model=model, environment="main", loader="sentence-transformers"
    )


SUBJECTS = (
    _raw(MINI),
    _fastembed(MINI),
    Subject(way="openvino", title="OpenVINO (fp32)", model=MINI, environment="openvino", loader="openvino"),
    _ours(MINI, "onnx-fp32"),
    _prepacked(MINI),
    _ours(MINI, "onnx-int8"),
    _ours(MINI, "torch-fp32"),
    _managed(MINI, "onnx-fp32"),
    _managed(MINI, "torch-fp32"),
    _raw(SYNTHETIC),
    _ours(SYNTHETIC, "onnx-fp32"),
    _prepacked(SYNTHETIC),
)

SHAPE_SUBJECTS = tuple(
    subject
    for shape in SHAPES.values()
    for subject in (
        _raw(shape.name),
        *([_fastembed(shape.name)] if shape.is_for_fastembed else []),
        _ours(shape.name, "onnx-fp32"),
        _ours(shape.name, "onnx-int8"),
    )
)
"""What ``--shapes`` measures, in a run of its own."""

_ALL = ("onnx-fp32", "onnx-int8", "torch-fp32")
VARIANTS = {MINI: _ALL, SYNTHETIC: ("onnx-fp32", "torch-fp32"), **dict.fromkeys(SHAPES, _ALL)}
"""What the bundle of each model has; torch-fp32 brings along the files that plain sentence-transformers loads."""


def subjects_of(model: str) -> list[Subject]:
    """Return the subjects of a model, the reference first."""
    return [subject for subject in (*SUBJECTS, *SHAPE_SUBJECTS) if subject.model == model]


def is_called_at_once(subject: Subject) -> bool:
    """Return whether it is measured with single texts of many callers at once: one variant, alone and managed."""
    return subject.is_ours and subject.variant == "onnx-fp32"


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the files of the subjects are.

    Attributes:
        work: Directory that is kept from run to run.
    """

    work: Path

    def bundle(self, model: str) -> Path:
        """Return the bundle that has one model."""
        return self.work / "bundles" / model

    def source(self, model: str) -> Path:
        """Return the model as plain sentence-transformers loads it."""
        return self.bundle(model) / model / "source"

    def peer(self, way: str, model: str) -> Path:
        """Return the form of a model that a peer loads."""
        return self.work / "peers" / f"{model}-{way}"


def task_of(subject: Subject, places: Places, threads: int) -> dict[str, Any]:
    """Return what the worker of a subject is told to load."""
    task: dict[str, Any] = {"loader": subject.loader, "text": FIRST_TEXT, "threads": threads}
    if subject.variant is not None:
        return {**task, "path": str(places.bundle(subject.model)), "model": subject.model, "variant": subject.variant}
    if subject.way == REFERENCE:
        return {**task, "path": str(places.source(subject.model))}
    if subject.way == "fastembed":
        # What the others read from the files of the model.
        shape = SHAPES.get(subject.model)
        dimension, pooling = (384, "mean") if shape is None else (shape.dimension, shape.pooling)
        task = {**task, "dimension": dimension, "pooling": pooling, "normalize": True}
    return {**task, "path": str(places.peer(subject.way, subject.model))}
