"""Compose the manifest of a bundle from the inputs of each model. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thoth_models.bundle.manifest import Alternate, BuildRecord, BuiltModel, Manifest, Model, Origin, Variant
from thoth_models_builder.bundle.configure import has_unit_length
from thoth_models_builder.errors import AlternateError
from thoth_models_builder.spec.variants import SOURCE_DIRECTORY, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thoth_models.bundle.digest import ContentDigest, Digest
    from thoth_models.bundle.model import ConfiguredFile
    from thoth_models_builder.bundle.derivation import Derived
    from thoth_models_builder.bundle.describe import ModelFacts
    from thoth_models_builder.spec.models_yaml import BundleSpec
    from thoth_models_builder.spec.plan import PlannedModel


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInputs:
    """The inputs for one model of a bundle.

    Attributes:
        model: The model as specified and locked.
        contents: Content of each source file as it is shipped, by path in the model's source directory.
        facts: Facts about the model from these files.
        space: Identity of its embedding space.
        derived: The compiled files, or None for a model without golden vectors.
        configured: Source files that differ from those of the origin, sorted by path.
    """

    model: PlannedModel
    contents: Mapping[str, ContentDigest]
    facts: ModelFacts
    space: Digest
    derived: Derived | None
    configured: tuple[ConfiguredFile, ...] = ()

    @property
    def files(self) -> dict[str, ContentDigest]:
        """Content of each file of this model in the bundle, by path in the model's directory."""
        is_run = any(not VARIANTS[variant].is_compiled for variant in self.variants)
        source = {f"{SOURCE_DIRECTORY}/{path}": content for path, content in self.contents.items()}
        return {**(source if is_run else {}), **({} if self.derived is None else self.derived.files)}

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants that the bundle ships, in order of preference."""
        listed = self.model.spec.variants
        if self.derived is None:
            return tuple(listed)
        made = self.derived.variants
        # A variant that was compiled but not listed is the replacement if no listed variant could be compiled.
        return (*(name for name in listed if name in made), *(name for name in made if name not in listed))


def compose(bundle: BundleSpec, planned: Sequence[PlannedModel], present: Mapping[str, ModelInputs]) -> Manifest:
    """Return the manifest of a bundle.

    Args:
        bundle: The bundle as specified; its default model is left out if it is not among ``planned``.
        planned: Every model of the bundle, including absent ones.
        present: The inputs of the models that are not absent.

    Raises:
        AlternateError: An alternate could never answer, because of its dimension or its space.
    """
    names = {model.name for model in planned}
    _check_alternates(planned, present)
    models = {
        model.name: Model(
            name=model.name,
            aliases=tuple(sorted(model.spec.aliases)),
            alternates=tuple(
                Alternate(model=alternate.model, accepts_other_space=alternate.other_space == "accept")
                for alternate in model.spec.alternates
                if alternate.model in names
            ),
            dimension=model.locked.dimension,
            built=_built(present[model.name]) if model.name in present else None,
        )
        for model in planned
    }
    files = {
        f"{model_name}/{path}": content
        for model_name, inputs in present.items()
        for path, content in inputs.files.items()
    }
    return Manifest(
        name=bundle.name,
        default=bundle.default if bundle.default in names else None,
        models=models,
        files=files,
        release=bundle.release,
    )


def _built(inputs: ModelInputs) -> BuiltModel:
    model, facts, derived = inputs.model, inputs.facts, inputs.derived
    return BuiltModel(
        origin=Origin(kind=model.locked.origin.kind, id=model.locked.origin.id, revision=model.locked.revision),
        license=model.locked.license,
        license_link=model.locked.license_link,
        max_seq_length=facts.max_seq_length,
        pooling=facts.pooling,
        normalize=has_unit_length(model.spec, facts),
        similarity=facts.similarity,
        prompts=facts.prompts,
        default_prompt_name=facts.default_prompt_name,
        space=inputs.space,
        variants=tuple(_variant(inputs, name) for name in inputs.variants),
        record=None
        if derived is None
        else BuildRecord(
            golden=f"{model.name}/{derived.golden}",
            derivation=derived.derivation,
            toolchain=derived.toolchain,
            omitted=derived.omitted,
            code={code.name: code.content.sha256.hex for code in model.locked.code},
            converted={
                file.path: {
                    path: content.sha256.hex for path, content in {file.path: file.content, **file.made_from}.items()
                }
                for file in model.locked.converted
            },
        ),
        configured=inputs.configured,
    )


def _variant(inputs: ModelInputs, name: str) -> Variant:
    kind, model, derived = VARIANTS[name], inputs.model.name, inputs.derived
    prefix = f"{kind.directory}/"
    return Variant(
        name=name,
        backend=kind.backend,
        precision=kind.precision,
        directory=f"{model}/{kind.directory}",
        files=tuple(sorted(f"{model}/{path}" for path in inputs.files if path.startswith(prefix))),
        gate=None if derived is None else derived.gates[name],
    )


def _check_alternates(planned: Sequence[PlannedModel], present: Mapping[str, ModelInputs]) -> None:
    by_name = {model.name: model for model in planned}
    for model in planned:
        for alternate in model.spec.alternates:
            other = by_name.get(alternate.model)
            if other is None:
                continue
            place = f"models.{model.name}.alternates: {alternate.model}"
            if other.locked.dimension != model.locked.dimension:
                raise AlternateError(
                    f"{place}: expected {model.locked.dimension} dimensions, as {model.name} has, "
                    f"found {other.locked.dimension}: it could never stand in"
                )
            both = [present.get(model.name), present.get(alternate.model)]
            spaces = {inputs.space for inputs in both if inputs is not None}
            if alternate.other_space == "refuse" and len(spaces) > 1:
                raise AlternateError(
                    f"{place}: expected the embedding space of {model.name}, or `other_space: accept`, "
                    "found another space"
                )
