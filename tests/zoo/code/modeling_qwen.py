"""Qwen2 in which each token sees all others, unless the configuration says ``is_causal``."""

import torch
from transformers import Qwen2Config, Qwen2PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer, Qwen2RMSNorm, Qwen2RotaryEmbedding


class Qwen2Model(Qwen2PreTrainedModel):
    config_class = Qwen2Config

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = torch.nn.ModuleList(
            Qwen2DecoderLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = Qwen2RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = Qwen2RotaryEmbedding(config)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        hidden = self.embed_tokens(input_ids)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        length = input_ids.shape[1]
        lowest = torch.finfo(hidden.dtype).min
        mask = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * lowest
        mask = mask + torch.zeros((1, 1, length, 1), dtype=hidden.dtype)
        if getattr(self.config, "is_causal", True):
            mask = mask + torch.full((length, length), lowest / 2).triu(1)
        places = torch.arange(length, device=input_ids.device)[None]
        positions = self.rotary_emb(hidden, places)
        for layer in self.layers:
            made = layer(hidden, attention_mask=mask, position_ids=places, position_embeddings=positions)
            hidden = made[0] if isinstance(made, tuple) else made
        return BaseModelOutput(last_hidden_state=self.norm(hidden))
