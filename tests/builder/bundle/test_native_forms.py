"""transformers, given the native form of a configuration, computes what the published code computes.

The reference is written out here from the formulas: rotary positions, attention in both directions, normalisation after
each residual, a gated layer. The weights have the published names, so the test also fails if transformers stops reading
them.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.published_configs import ARCTIC_M_V2, GTE_EN, GTE_MULTILINGUAL, NOMIC
from thoth_models_builder.bundle.architectures import native_form

if TYPE_CHECKING:
    from pathlib import Path

    import torch

pytestmark = pytest.mark.torch

WIDTH, HEADS, INNER, LAYERS, ROWS = 64, 4, 256, 2, 128
SMALL_NOMIC = {"n_embd": WIDTH, "n_head": HEADS, "n_inner": INNER, "n_layer": LAYERS, "vocab_size": ROWS}
SMALL_GTE = {
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "vocab_size": ROWS,
}

NOMIC_NAMES = {
    "norm": "emb_ln",
    "layer": "encoder.layers",
    "qkv": "attn.Wqkv",
    "out": "attn.out_proj",
    "norm1": "norm1",
    "norm2": "norm2",
    "down": "mlp.fc2",
}
GTE_NAMES = {
    "norm": "embeddings.LayerNorm",
    "layer": "encoder.layer",
    "qkv": "attention.qkv_proj",
    "out": "attention.o_proj",
    "norm1": "attn_ln",
    "norm2": "mlp_ln",
    "down": "mlp.down_proj",
}


class Reference:
    """A small model with random weights, and what the published formulas make of them."""

    def __init__(self, config: dict[str, Any]) -> None:
        import torch

        self.config = config
        self.is_gte = config["model_type"] != "nomic_bert"
        self.names = GTE_NAMES if self.is_gte else NOMIC_NAMES
        self.weights: dict[str, torch.Tensor] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            self._make()

    def _make(self) -> None:
        import torch

        self.weights["embeddings.word_embeddings.weight"] = torch.randn(ROWS, WIDTH)
        if self.config["type_vocab_size"]:
            shape = (self.config["type_vocab_size"], WIDTH)
            self.weights["embeddings.token_type_embeddings.weight"] = torch.randn(*shape)
        self._norm(self.names["norm"])
        for index in range(LAYERS):
            layer = f"{self.names['layer']}.{index}."
            self._linear(layer + self.names["qkv"], 3 * WIDTH, WIDTH, bias=self.is_gte)
            self._linear(layer + self.names["out"], WIDTH, WIDTH, bias=self.is_gte)
            self._linear(layer + self.names["down"], WIDTH, INNER, bias=self.is_gte)
            self._norm(layer + self.names["norm1"])
            self._norm(layer + self.names["norm2"])
            if self.is_gte:
                self._linear(f"{layer}mlp.up_gate_proj", 2 * INNER, WIDTH, bias=False)
            else:
                self._linear(f"{layer}mlp.fc11", INNER, WIDTH, bias=False)
                self._linear(f"{layer}mlp.fc12", INNER, WIDTH, bias=False)

    def _linear(self, name: str, rows: int, columns: int, *, bias: bool) -> None:
        import torch

        self.weights[f"{name}.weight"] = torch.randn(rows, columns) / math.sqrt(columns)
        if bias:
            self.weights[f"{name}.bias"] = torch.randn(rows) / 10

    def _norm(self, name: str) -> None:
        import torch

        self.weights[f"{name}.weight"] = 1 + torch.randn(WIDTH) / 10
        self.weights[f"{name}.bias"] = torch.randn(WIDTH) / 10

    def frequencies(self) -> torch.Tensor:
        import torch

        head = WIDTH // HEADS
        exponents = torch.arange(0, head, 2).float() / head
        if not self.is_gte:
            return torch.pow(float(self.config["rotary_emb_base"]), -exponents)
        factor = (self.config["rope_scaling"] or {"factor": 1.0})["factor"]
        return torch.pow(self.config["rope_theta"] * factor, -exponents) / float(factor ** (2 / head))

    def hidden_states(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        import torch
        from torch.nn import functional

        def linear(values: torch.Tensor, name: str) -> torch.Tensor:
            return functional.linear(values, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

        def norm(values: torch.Tensor, name: str) -> torch.Tensor:
            weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
            return functional.layer_norm(values, (WIDTH,), weight, bias, 1e-12)

        def rotated(values: torch.Tensor) -> torch.Tensor:
            first, second = values.chunk(2, -1)
            return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)

        batch, length = ids.shape
        angles = torch.outer(torch.arange(length).float(), self.frequencies())
        cosine, sine = angles.cos()[None, :, None], angles.sin()[None, :, None]
        states = self.weights["embeddings.word_embeddings.weight"][ids]
        if self.config["type_vocab_size"]:
            states = states + self.weights["embeddings.token_type_embeddings.weight"][0]
        states = norm(states, self.names["norm"])
        for index in range(LAYERS):
            layer = f"{self.names['layer']}.{index}."
            shape = (batch, length, HEADS, WIDTH // HEADS)
            query, key, value = (
                part.view(shape) for part in torch.split(linear(states, layer + self.names["qkv"]), WIDTH, -1)
            )
            scores = torch.einsum("bqhd,bkhd->bhqk", rotated(query), rotated(key)) / math.sqrt(shape[-1])
            scores = scores.masked_fill(mask[:, None, None, :] == 0, -1e30)
            mixed = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value).reshape(batch, length, WIDTH)
            states = norm(states + linear(mixed, layer + self.names["out"]), layer + self.names["norm1"])
            if self.is_gte:
                up, gate = torch.split(linear(states, f"{layer}mlp.up_gate_proj"), INNER, -1)
                gated = functional.gelu(gate) * up
            else:
                gated = functional.silu(linear(states, f"{layer}mlp.fc12")) * linear(states, f"{layer}mlp.fc11")
            states = norm(states + linear(gated, layer + self.names["down"]), layer + self.names["norm2"])
        return states


@pytest.mark.parametrize(
    ("config", "prefix"),
    [
        ({**NOMIC, **SMALL_NOMIC}, ""),
        ({**NOMIC, **SMALL_NOMIC, "rotary_emb_base": 10_000}, ""),
        ({**ARCTIC_M_V2, **SMALL_GTE}, ""),
        # Published with the prefix of the model that it was cut out of.
        ({**GTE_MULTILINGUAL, **SMALL_GTE}, "new."),
        ({**GTE_EN, **SMALL_GTE}, ""),
    ],
    ids=["nomic-embed-text-v1.5", "another-base", "arctic-embed-m-v2.0", "gte-multilingual-base", "gte-base-en-v1.5"],
)
def test_both_give_the_same_hidden_states(config: dict[str, Any], prefix: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers.models.auto.modeling_auto import AutoModel

    form = native_form(config)
    assert form is not None
    reference = Reference(config)
    save_file(
        {f"{prefix}{name}": weight.contiguous() for name, weight in reference.weights.items()},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    (tmp_path / "config.json").write_text(json.dumps(dict(form.config)), encoding="utf-8")
    model, loading = AutoModel.from_pretrained(tmp_path, trust_remote_code=False, output_loading_info=True)
    assert not any(loading.values()), loading
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(8)
        for length, padding in ((40, 25), (2500, 0)):
            ids = torch.randint(2, ROWS, (2, length))
            mask = torch.ones_like(ids)
            mask[1, length - padding :] = 0
            found = model.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
            difference = (found - reference.hidden_states(ids, mask)) * mask[..., None]
            assert difference.abs().max() < 1e-4
