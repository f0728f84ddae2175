"""Another tokenizer under the space of the first one: a bundle that is consistent in everything else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.bundles import make_bundle, make_writable, seal, tiny_plan
from thoth_models import ModelUnavailableError, SpaceMismatchError, VerificationError, load_embedding, verify
from thoth_models.cli.main import main
from thoth_models_builder.cli.main import main as builder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tiny_models import TinyModel
    from thoth_models.bundle.digest import Digest
    from thoth_models.bundle.manifest import Manifest

pytestmark = [pytest.mark.torch, pytest.mark.hostile]


def space_in(manifest: Manifest) -> Digest:
    built = manifest.models["mini"].built
    assert built is not None
    return built.space


def with_two_tokens_exchanged(tiny: TinyModel, root: Path) -> Manifest:
    """Write a bundle of a model whose tokenizer gives "water" the number of "bread", and the other way round."""
    plan = tiny_plan("mini", tiny)
    files = dict(plan.variants["torch-fp32"].files)
    document = json.loads((tiny.directory / "tokenizer.json").read_bytes())
    vocabulary = document["model"]["vocab"]
    vocabulary["water"], vocabulary["bread"] = vocabulary["bread"], vocabulary["water"]
    files["tokenizer.json"] = json.dumps(document).encode()
    swapped = replace(plan.variants["torch-fp32"], files=files)
    return make_bundle(root, [replace(plan, variants={"torch-fp32": swapped})], default="mini")


def test_a_swapped_tokenizer_under_the_space_of_the_other_one(
    wordpiece_model: TinyModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = space_in(make_bundle(tmp_path / "published", [tiny_plan("mini", wordpiece_model)], default="mini"))
    root = tmp_path / "swapped"
    manifest = with_two_tokens_exchanged(wordpiece_model, root)
    own = space_in(manifest)
    assert own != published
    # Under its own space it is another model, which an index of the first one refuses.
    verify(root)
    load_embedding(root=root, expect_space=own.hex)
    with pytest.raises(SpaceMismatchError):
        load_embedding(root=root, expect_space=published.hex)
    # Sealed again with the space of the first one, as if nothing had happened.
    model = manifest.models["mini"]
    assert model.built is not None
    lying = replace(model, built=replace(model.built, space=published))
    seal(root, replace(manifest, models={"mini": lying}))
    said = f"space: expected the embedding space {published} of 'mini', as the manifest states it, found {own}"
    for expected in (None, published.hex):
        with pytest.raises(ModelUnavailableError, match=said):
            load_embedding(root=root, expect_space=expected)
    with pytest.raises(VerificationError, match=said):
        verify(root)
    assert (main(["verify", "--root", str(root)]), builder(["verify", str(root)])) == (1, 1)
    assert capsys.readouterr().err.replace("\n", " ").count(said) == 2
    make_writable(root)
