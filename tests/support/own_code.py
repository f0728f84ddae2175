"""A model with code of its own: an encoder like BERT, with linear biases (ALiBi) in the place of position embeddings.

No library has it, as with jina-embeddings-v2. Both files are what such repositories have; hostile ones put more into
the second.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.support import tiny_models
from tests.support.tiny_models import DIMENSION, TinyModel
from thoth_models.bundle.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURATION = '''\
"""Sizes of an encoder with linear biases."""

from transformers import PretrainedConfig


class AlibiConfig(PretrainedConfig):
    model_type = "alibi_encoder"

    def __init__(self, vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, **more):
        super().__init__(**more)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
'''

MODELING = '''\
"""An encoder with linear biases instead of positions."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_alibi import AlibiConfig


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.projection = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.first, self.second = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(self, hidden, bias):
        batch, tokens, width = hidden.shape
        parts = self.projection(hidden).view(batch, tokens, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = queries @ keys.transpose(-1, -2) / (width // self.heads) ** 0.5 + bias
        mixed = (scores.softmax(-1) @ values).transpose(1, 2).reshape(batch, tokens, width)
        hidden = self.norms[0](hidden + self.output(mixed))
        return self.norms[1](hidden + self.second(nn.functional.gelu(self.first(hidden))))


class AlibiModel(PreTrainedModel):
    config_class = AlibiConfig
    base_model_prefix = "alibi"

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, return_dict=True, **_):
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        distance = (places[:, None] - places[None, :]).abs().to(self.words.weight.dtype)
        heads = self.config.num_attention_heads
        slopes = torch.tensor([2.0 ** -(1 + head) for head in range(heads)], device=input_ids.device)
        bias = -slopes[:, None, None] * distance
        hidden = self.words(input_ids)
        mask = (1 - attention_mask[:, None, None, :].to(hidden.dtype)) * -10000.0
        for layer in self.layers:
            hidden = layer(hidden, bias + mask)
        return BaseModelOutputWithPooling(last_hidden_state=hidden)
'''

AUTO_MAP = {"AutoConfig": "configuration_alibi.AlibiConfig", "AutoModel": "modeling_alibi.AlibiModel"}


CUSTOM_MODULE = '''\
"""The first module of the pipeline, as repositories bring it to set their own defaults."""

from sentence_transformers.models import Transformer as Plain


class Transformer(Plain):
    def forward(self, features, **options):
        return super().forward({name: value for name, value in features.items() if name != "task"}, **options)
'''


def with_custom_module(model: TinyModel, directory: Path) -> TinyModel:
    """Copy a model with code, and make its first module a class of its own."""
    shutil.copytree(model.directory, directory)
    (directory / "custom_st.py").write_text(CUSTOM_MODULE, encoding="utf-8")
    modules = json.loads((directory / "modules.json").read_bytes())
    modules[0]["type"] = "custom_st.Transformer"
    (directory / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    return replace(model, directory=directory)


def code_of(*, more: str = "") -> dict[str, str]:
    """Return the Python files of the model; ``more`` runs when the model is imported."""
    return {"configuration_alibi.py": CONFIGURATION, "modeling_alibi.py": f"{MODELING}\n\n{more}"}


def listed(code: dict[str, str], prefix: str = "") -> dict[str, str]:
    """Return what models.yaml lists for files."""
    return {f"{prefix}{name}": Digest.of(text.encode()).hex for name, text in code.items()}


def make_model_with_code(directory: Path, *, prefix: str = "", more: str = "") -> TinyModel:
    """Write the model.

    Args:
        directory: Where; its Python files are only written without a ``prefix``.
        prefix: Repository of the code in ``auto_map``, with the two hyphens.
        more: Source that runs when the model is imported.
    """
    import torch
    from safetensors.torch import save_file
    from sentence_transformers.base.modules import Normalize

    vocabulary = tiny_models._wordpiece_vocabulary()
    # Everything but the encoder is as in a model with BERT.
    with tiny_models._checkpoint(
        tiny_models._bert(len(vocabulary), seed=21), tiny_models._bert_tokenizer(vocabulary, 64)
    ) as checkpoint:
        tiny_models._save(checkpoint, directory, 64, "mean", [Normalize()])
    names: dict[str, Any] = {}
    exec(CONFIGURATION.replace("from transformers import", "from transformers.configuration_utils import"), names)  # noqa: S102
    exec(MODELING.replace("from .configuration_alibi import AlibiConfig", ""), names)  # noqa: S102
    config = names["AlibiConfig"](vocab_size=len(vocabulary), hidden_size=DIMENSION)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(22)
        model = names["AlibiModel"](config)
    save_file(model.state_dict(), directory / "model.safetensors", metadata={"format": "pt"})
    written = {
        "model_type": "alibi_encoder",
        "architectures": ["AlibiModel"],
        "vocab_size": len(vocabulary),
        "hidden_size": DIMENSION,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "torch_dtype": "float32",
        "auto_map": {key: f"{prefix}{name}" for key, name in AUTO_MAP.items()},
    }
    (directory / "config.json").write_text(json.dumps(written, indent=2), encoding="utf-8")
    if not prefix:
        for name, text in code_of(more=more).items():
            (directory / name).write_text(text, encoding="utf-8")
    return TinyModel(directory, max_seq_length=64, pooling="mean", has_normalize=True)
