"""A first models.yaml: valid as it stands, and its comments are right when they are taken away."""

from __future__ import annotations

from tests.support.projects import REPOSITORY
from thoth_models_builder.spec.models_yaml import HubSource, parse_spec
from thoth_models_builder.spec.new_model import new_model
from thoth_models_builder.spec.starter import EXAMPLE, first_file


def test_the_example_is_the_model_of_this_repository() -> None:
    """The same commit and mirror as in models.yaml, which CI builds."""
    spec = parse_spec(first_file().encode(), "models.yaml")
    assert spec.models == {"mini": EXAMPLE}
    assert spec.bundle.default == "mini"
    ours = parse_spec((REPOSITORY / "models.yaml").read_bytes(), "models.yaml")
    assert ours.models["mini"].sources == EXAMPLE.sources
    assert spec.bundle.name == ours.bundle.name


def test_any_model_can_be_the_first() -> None:
    model = new_model(HubSource(hub="org/no", revision="1" * 40), ["torch-fp32"])
    spec = parse_spec(first_file("no", model).encode(), "models.yaml")
    assert (spec.models, spec.bundle.default) == ({"no": model}, "no")


def test_the_lines_in_comments_are_valid_as_well() -> None:
    text = first_file().replace("    # alternates:", "    alternates:").replace("    # when_un", "    when_un")
    text += "  other:\n    sources: [{directory: x}]\n    variants: [onnx-fp32]\n"
    spec = parse_spec(text.encode(), "models.yaml")
    assert spec.models["mini"].alternates[0].model == "other"
    assert spec.models["mini"].when_unavailable == "use-alternates"


def test_lines_fit_on_a_page() -> None:
    assert max(map(len, first_file().splitlines())) <= 120
