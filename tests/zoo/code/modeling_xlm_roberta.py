"""An encoder like XLM-R with rotary positions, each of whose products may have a term of the row's task."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from .configuration_xlm_roberta import XLMRobertaFlashConfig


def by_task(layer, values, adapter_mask):
    """Apply a layer to the rows of each task with the weights of that task."""
    if adapter_mask is None:
        return layer(values)
    found = None
    for task in torch.unique(adapter_mask):
        rows = torch.nonzero(adapter_mask == task, as_tuple=True)[0]
        part = layer(values[rows], task_id=task)
        if found is None:
            found = torch.empty((*values.shape[: part.dim() - 1], part.shape[-1]), dtype=part.dtype)
        found[rows] = part
    return found


class Rotary(nn.Module):
    """Turns pairs of a head by angles that grow with the position; no checkpoint has the frequencies."""

    def __init__(self, size, base):
        super().__init__()
        frequencies = 1.0 / base ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
        self.register_buffer("inv_freq", frequencies, persistent=False)

    def forward(self, heads):
        places = torch.arange(heads.shape[2], dtype=torch.float32, device=heads.device)
        angles = torch.outer(places, self.inv_freq)
        cosine, sine = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()
        first, second = heads.chunk(2, dim=-1)
        return heads * cosine + torch.cat([-second, first], -1) * sine


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)

    def forward(self, input_ids, adapter_mask):
        types = torch.zeros_like(input_ids)
        words = by_task(self.word_embeddings, input_ids, adapter_mask)
        return words + by_task(self.token_type_embeddings, types, adapter_mask)


class Mixer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.num_attention_heads
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.rotary_emb = Rotary(config.hidden_size // self.heads, config.rotary_emb_base)

    def forward(self, hidden, mask, adapter_mask):
        batch, length, width = hidden.shape
        joined = by_task(self.Wqkv, hidden, adapter_mask).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = joined.permute(2, 0, 3, 1, 4).unbind(0)
        query, key = self.rotary_emb(query), self.rotary_emb(key)
        scores = query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5 + mask
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, width)
        return by_task(self.out_proj, mixed, adapter_mask)


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden, adapter_mask):
        inner = nn.functional.gelu(by_task(self.fc1, hidden, adapter_mask))
        return by_task(self.fc2, inner, adapter_mask)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.mixer = Mixer(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = Mlp(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden, mask, adapter_mask):
        hidden = self.norm1(hidden + self.mixer(hidden, mask, adapter_mask))
        return self.norm2(hidden + self.mlp(hidden, adapter_mask))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))


class XLMRobertaModel(PreTrainedModel):
    config_class = XLMRobertaFlashConfig
    base_model_prefix = "roberta"

    def __init__(self, config):
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.emb_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = Encoder(config)

    def forward(self, input_ids, attention_mask=None, adapter_mask=None, return_dict=True, **_):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden = self.emb_ln(self.embeddings(input_ids, adapter_mask))
        mask = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        for layer in self.encoder.layers:
            hidden = layer(hidden, mask, adapter_mask)
        return BaseModelOutput(last_hidden_state=hidden) if return_dict else (hidden,)
