"""Configuration of the architecture that is published as "new"."""

from transformers import PretrainedConfig


class NewConfig(PretrainedConfig):
    model_type = "new"

    def __init__(
        self,
        vocab_size=30528,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=8192,
        type_vocab_size=1,
        layer_norm_eps=1e-12,
        rope_theta=10000.0,
        rope_scaling=None,
        pad_token_id=0,
        unpad_inputs=False,
        use_memory_efficient_attention=False,
        **more,
    ):
        super().__init__(pad_token_id=pad_token_id, **more)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.layer_norm_eps = layer_norm_eps
        # Under names that transformers does not rewrite.
        self.base = rope_theta
        self.stretch = (rope_scaling or {}).get("factor", 1.0)
        self.unpad_inputs = unpad_inputs
        self.use_memory_efficient_attention = use_memory_efficient_attention
