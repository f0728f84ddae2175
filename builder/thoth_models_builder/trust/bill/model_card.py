"""The ``modelCard`` of a model in a bill of materials, as JSON: task, architecture, measured accuracy and limits.

Pure. cyclonedx-python-lib 11 has no types for this part of CycloneDX (https://cyclonedx.org/docs/1.6/json/, modelCard),
so it is written here, and the library's own schema is what the tests compare it with. Only what the bundle says is
stated: it says neither how a model was trained nor with which data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thoth_models.bundle.manifest import BuiltModel, Model, Variant
    from thoth_models.bundle.report import Report
    from thoth_models_builder.trust.bill.source_facts import SourceFacts

Json = dict[str, object]

TASK: Final = "feature-extraction"
"""The Hub's word for what all models of a bundle do (https://huggingface.co/tasks/feature-extraction)."""

_FIGURES: Final = {
    "minimum_cosine": ("cosine to the reference vectors of sentence-transformers in fp32, minimum", 5),
    "mean_cosine": ("cosine to the reference vectors of sentence-transformers in fp32, mean", 5),
    "largest_difference": ("difference of a component from the reference vectors, largest", 9),
    "neighbour_agreement": ("share of the ten nearest texts in a corpus that are those of the reference", 3),
}
"""The measured figures: what each is called in a card, and its decimals in ``report.json``."""

_REQUIRED_COSINE: Final = "cosine to the reference vectors of sentence-transformers in fp32, required minimum"
_REQUIRED_AGREEMENT: Final = "share of the ten nearest texts in a corpus that are those of the reference, required"


def model_card(model: Model, built: BuiltModel, report: Report | None, facts: SourceFacts) -> Json:
    """Return the card of a model that is in the bundle.

    Args:
        model: The model.
        built: Its files and settings.
        report: The measured figures of the bundle, or None; the gates that variants passed are stated either way.
        facts: What its source files say.
    """
    parameters: Json = {
        "task": TASK,
        "architectureFamily": facts.family,
        "modelArchitecture": facts.architecture,
        "inputs": [{"format": "text"}],
        "outputs": [{"format": _output(model, built)}],
    }
    metrics = [metric for variant in built.variants for metric in _metrics(model, variant, report)]
    return {
        "bom-ref": f"card:{model.name}",
        "modelParameters": {name: value for name, value in parameters.items() if value is not None},
        **({"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {}),
        "considerations": {
            "technicalLimitations": list(_limits(built)),
            **({"performanceTradeoffs": tradeoffs} if (tradeoffs := list(_tradeoffs(built))) else {}),
        },
    }


def _output(model: Model, built: BuiltModel) -> str:
    length = ", unit length" if built.normalize else ""
    return f"vector of {model.dimension} float32{length}"


def _metrics(model: Model, variant: Variant, report: Report | None) -> Iterator[Json]:
    def metric(kind: str, value: float, decimals: int) -> Json:
        return {"type": kind, "value": f"{value:.{decimals}f}", "slice": variant.name}

    measured = None if report is None else report.of(model.name, variant.name)
    if measured is not None:
        for name, value in measured.summary().items():
            yield metric(_FIGURES[name][0], value, _FIGURES[name][1])
    if variant.gate is not None:
        yield metric(_REQUIRED_COSINE, variant.gate.required_cosine, 5)
        if variant.gate.required_agreement is not None:
            yield metric(_REQUIRED_AGREEMENT, variant.gate.required_agreement, 3)


def _limits(built: BuiltModel) -> Iterator[str]:
    if built.max_seq_length is None:
        yield "Texts of any number of tokens are accepted."
    else:
        yield f"Texts are truncated to {built.max_seq_length} tokens, prompt included: what follows has no influence."
    yield f"Vectors are meant to be compared by {built.similarity}, and only with vectors of the same embedding space."
    if prompts := sorted(name for name, text in built.prompts.items() if text):
        yield f"Texts need the prompt of their role: {', '.join(prompts)}."
    if built.record is not None:
        for name, reason in sorted(built.record.omitted.items()):
            yield f"The variant {name} could not be built: {reason}"


def _tradeoffs(built: BuiltModel) -> Iterator[str]:
    for variant in built.variants:
        if variant.precision == "int8":
            yield f"{variant.name}: weights in int8 give vectors that differ slightly from those of the other variants."
