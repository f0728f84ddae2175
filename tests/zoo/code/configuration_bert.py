"""Configuration of a BERT without position embeddings, under the model type of BERT."""

from transformers import PretrainedConfig


class JinaBertConfig(PretrainedConfig):
    model_type = "bert"

    def __init__(
        self,
        vocab_size=30528,
        hidden_size=512,
        num_hidden_layers=4,
        num_attention_heads=8,
        intermediate_size=2048,
        max_position_embeddings=8192,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
        pad_token_id=0,
        feed_forward_type="geglu",
        attn_implementation=None,
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
        self.feed_forward_type = feed_forward_type
