"""Nomic's BERT: rotary positions, and gated layers, or experts of which each token has the best two in some layers."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from .configuration_hf_nomic_bert import NomicBertConfig


def rotated(vectors, angles):
    first, second = vectors.chunk(2, dim=-1)
    return vectors * angles.cos() + torch.cat((-second, first), dim=-1) * angles.sin()


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.n_embd)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.n_embd)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.n_head
        self.Wqkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.qkv_proj_bias)
        self.out_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.qkv_proj_bias)

    def forward(self, hidden, angles, mask):
        batch, length, width = hidden.shape
        query, key, value = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.Wqkv(hidden).chunk(3, dim=-1)
        )
        scores = rotated(query, angles) @ rotated(key, angles).transpose(-1, -2)
        weights = (scores / (width // self.heads) ** 0.5 + mask).softmax(-1)
        return self.out_proj((weights @ value).transpose(1, 2).reshape(batch, length, width))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc1 = nn.Linear(config.n_embd, config.n_inner, bias=config.mlp_fc1_bias)
        self.fc2 = nn.Linear(config.n_inner, config.n_embd, bias=config.mlp_fc2_bias)

    def forward(self, hidden):
        return self.fc2(nn.functional.gelu(self.fc1(hidden)))


class GatedFeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc11 = nn.Linear(config.n_embd, config.n_inner, bias=config.mlp_fc1_bias)
        self.fc12 = nn.Linear(config.n_embd, config.n_inner, bias=config.mlp_fc1_bias)
        self.fc2 = nn.Linear(config.n_inner, config.n_embd, bias=config.mlp_fc2_bias)

    def forward(self, hidden):
        return self.fc2(self.fc11(hidden) * nn.functional.silu(self.fc12(hidden)))


class Router(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer = nn.Linear(config.n_embd, config.num_experts, bias=False)
        self.count = config.moe_top_k

    def forward(self, hidden):
        weights = self.layer(hidden).softmax(-1)
        least = weights.topk(self.count, dim=-1).values[..., -1:]
        return torch.where(weights >= least, weights, torch.zeros_like(weights))


class ExpertWeights(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(config.num_experts * config.n_inner, config.n_embd))
        self.w2 = nn.Parameter(torch.empty(config.num_experts * config.n_inner, config.n_embd))


class Experts(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.mlp = ExpertWeights(config)
        self.bias = nn.Parameter(torch.zeros(config.n_embd))
        self.count = config.num_experts

    def forward(self, hidden, weights):
        made = torch.zeros_like(hidden)
        for number, (first, second) in enumerate(zip(self.mlp.w1.chunk(self.count), self.mlp.w2.chunk(self.count))):
            made = made + nn.functional.gelu(hidden @ first.T) @ second * weights[..., number : number + 1]
        return made + self.bias


class MixtureOfExperts(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.router = Router(config)
        self.experts = Experts(config)

    def forward(self, hidden):
        return self.experts(hidden, self.router(hidden))


class Layer(nn.Module):
    def __init__(self, config, has_experts):
        super().__init__()
        self.attn = Attention(config)
        plain = GatedFeedForward if config.activation_function == "swiglu" else FeedForward
        self.mlp = MixtureOfExperts(config) if has_experts else plain(config)
        self.norm1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.norm2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(self, hidden, angles, mask):
        hidden = self.norm1(hidden + self.attn(hidden, angles, mask))
        return self.norm2(hidden + self.mlp(hidden))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        every = config.moe_every_n_layers
        self.layers = nn.ModuleList(
            Layer(config, every > 0 and number % every == 1) for number in range(config.n_layer)
        )


class NomicBertModel(PreTrainedModel):
    config_class = NomicBertConfig
    base_model_prefix = "bert"

    def __init__(self, config, add_pooling_layer=False, safe_serialization=None):
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.emb_ln = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.encoder = Encoder(config)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, **_):
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden = self.embeddings.word_embeddings(input_ids) + self.embeddings.token_type_embeddings(token_type_ids)
        hidden = self.emb_ln(hidden)
        size = self.config.n_embd // self.config.n_head
        steps = self.config.rotary_emb_base ** (-torch.arange(0, size, 2, device=input_ids.device).float() / size)
        places = torch.arange(input_ids.shape[1], device=input_ids.device).float()
        angles = (places[:, None] * steps[None, :]).repeat(1, 2).to(hidden.dtype)
        mask = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        for layer in self.encoder.layers:
            hidden = layer(hidden, angles, mask)
        return BaseModelOutput(last_hidden_state=hidden)
