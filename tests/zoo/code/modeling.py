"""The architecture that is published as "new": rotary positions, one matrix for query, key and value, gated layers."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from .configuration import NewConfig


def rotated(vectors, angles):
    first, second = vectors.chunk(2, dim=-1)
    return vectors * angles.cos() + torch.cat((-second, first), dim=-1) * angles.sin()


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.type_vocab_size > 0:
            self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.types = config.type_vocab_size

    def forward(self, input_ids, token_type_ids):
        hidden = self.word_embeddings(input_ids)
        if self.types > 0:
            hidden = hidden + self.token_type_embeddings(token_type_ids)
        return self.LayerNorm(hidden)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden, angles, mask):
        batch, length, width = hidden.shape
        query, key, value = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv_proj(hidden).chunk(3, dim=-1)
        )
        scores = rotated(query, angles) @ rotated(key, angles).transpose(-1, -2)
        weights = (scores / (width // self.heads) ** 0.5 + mask).softmax(-1)
        return self.o_proj((weights @ value).transpose(1, 2).reshape(batch, length, width))


class GatedLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.up_gate_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden):
        up, gate = self.up_gate_proj(hidden).chunk(2, dim=-1)
        return self.down_proj(nn.functional.gelu(gate) * up)


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = Attention(config)
        self.mlp = GatedLayer(config)
        self.attn_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden, angles, mask):
        hidden = self.attn_ln(hidden + self.attention(hidden, angles, mask))
        return self.mlp_ln(hidden + self.mlp(hidden))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class NewPreTrainedModel(PreTrainedModel):
    config_class = NewConfig
    base_model_prefix = "new"


class NewModel(NewPreTrainedModel):
    def __init__(self, config, add_pooling_layer=False):
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, **_):
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden = self.embeddings(input_ids, token_type_ids)
        size = self.config.hidden_size // self.config.num_attention_heads
        stretch = self.config.stretch
        steps = (self.config.base * stretch) ** (-torch.arange(0, size, 2, device=input_ids.device).float() / size)
        steps = steps / stretch ** (2 / size)
        places = torch.arange(input_ids.shape[1], device=input_ids.device).float()
        angles = (places[:, None] * steps[None, :]).repeat(1, 2).to(hidden.dtype)
        mask = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        for layer in self.encoder.layer:
            hidden = layer(hidden, angles, mask)
        return BaseModelOutput(last_hidden_state=hidden)


class NewForTokenClassification(NewPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.new = NewModel(config)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()
