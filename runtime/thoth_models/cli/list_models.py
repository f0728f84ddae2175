"""``thoth-models list``: the models of the manifest, with the figures of the report beside the bundle."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from thoth_models.cli.command import print_json, print_note
from thoth_models.process.task import call_within
from thoth_models.verification.report_file import read_report
from thoth_models.verification.verify import open_place

if TYPE_CHECKING:
    from thoth_models.bundle.accuracy import Accuracy
    from thoth_models.bundle.manifest import Manifest
    from thoth_models.bundle.report import Report
    from thoth_models.process.environment import BundlePlace
    from thoth_models.verification.report_file import FoundReport
    from thoth_models.verification.verify import OpenBundle


_SECONDS: Final = 60.0
"""Deadline of reading a manifest, that of loading a model by default."""


def _read(place: BundlePlace) -> tuple[OpenBundle, FoundReport]:
    bundle = open_place(place)
    return bundle, read_report(bundle.root, bundle.bundle_digest)


def list_models(place: BundlePlace, *, as_json: bool) -> None:
    """Print the models of a bundle.

    Raises:
        BundleError: The bundle is missing, or its manifest is malformed or changed.
        LoadTimeout: The manifest could not be read in time.
    """
    bundle, found = call_within(_SECONDS, f"listing {place.path}", "reading the manifest", lambda: _read(place))
    rows = _model_rows(bundle.manifest, found.report)
    if as_json:
        print_json(
            {
                "root": str(bundle.root),
                "bundle_digest": bundle.bundle_digest.hex,
                "release": bundle.manifest.release,
                "models": rows,
                "report_note": found.note,
            }
        )
        return
    print_note(found.note)
    if bundle.manifest.release is not None:
        print(f"release {bundle.manifest.release}")
    for row in rows:
        mark = " (default)" if row["default"] else ""
        print(f"{row['name']}{mark}")
        if row["aliases"]:
            print(f"  aliases     {', '.join(row['aliases'])}")
        if row["absent"]:
            standing_in = ", ".join(row["alternates"]) or "nothing"
            print(f"  absent      no source delivered it at build time; standing in: {standing_in}")
            continue
        print(f"  origin      {row['origin']}")
        print(f"  licence     {row['license'] or 'not stated'}")
        print(f"  vectors     {row['dimension']} dimensions, {'unit length' if row['normalize'] else 'not normalised'}")
        print(f"  input       {row['max_seq_length'] or 'any number of'} tokens")
        if row["configured"]:
            print(f"  configured  {', '.join(row['configured'])} (not as the origin has them)")
        print(f"  variants    {', '.join(row['variants'])}")
        for name, gate in row["gates"].items():
            if gate is not None:
                accuracy = row["accuracy"][name]
                then = "not measured here" if accuracy is None else f"measured {accuracy['minimum_cosine']:.5f}"
                required = f"cosine to the reference at least {gate['required_cosine']:.5f}"
                print(f"              {name}: {required}; {then}")
        print(f"  space       {row['space']}")


def _model_rows(manifest: Manifest, report: Report | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for model in manifest.models.values():
        row: dict[str, Any] = {
            "name": model.name,
            "default": model.name == manifest.default,
            "aliases": list(model.aliases),
            "alternates": [alternate.model for alternate in model.alternates],
            "dimension": model.dimension,
            "absent": model.built is None,
        }
        if (built := model.built) is not None:
            origin = built.origin
            row |= {
                "origin": f"{origin.kind}:{origin.id}" + (f"@{origin.revision}" if origin.revision else ""),
                "license": built.license,
                "max_seq_length": built.max_seq_length,
                "pooling": built.pooling,
                "normalize": built.normalize,
                "space": built.space.hex,
                "configured": {file.path: list(file.reasons) for file in built.configured},
                "variants": [variant.name for variant in built.variants],
                "gates": {
                    variant.name: None if variant.gate is None else dataclasses.asdict(variant.gate)
                    for variant in built.variants
                },
                "accuracy": {
                    variant.name: _summary(None if report is None else report.of(model.name, variant.name))
                    for variant in built.variants
                },
            }
        rows.append(row)
    return rows


def _summary(accuracy: Accuracy | None) -> dict[str, float] | None:
    return None if accuracy is None else accuracy.summary()
