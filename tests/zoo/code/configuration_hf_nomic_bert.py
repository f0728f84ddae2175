"""Configuration with the keys of GPT-2, as the published ones have."""

from transformers import PretrainedConfig


class NomicBertConfig(PretrainedConfig):
    model_type = "nomic_bert"
    attribute_map = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}

    def __init__(
        self,
        vocab_size=30528,
        n_embd=768,
        n_layer=12,
        n_head=12,
        n_inner=3072,
        n_positions=2048,
        activation_function="gelu",
        type_vocab_size=2,
        layer_norm_epsilon=1e-12,
        rotary_emb_base=10000,
        qkv_proj_bias=True,
        mlp_fc1_bias=True,
        mlp_fc2_bias=True,
        moe_every_n_layers=0,
        num_experts=0,
        moe_top_k=0,
        pad_token_id=0,
        **more,
    ):
        super().__init__(pad_token_id=pad_token_id, **more)
        self.vocab_size = vocab_size
        self.n_embd = n_embd
        self.n_layer = n_layer
        self.n_head = n_head
        self.n_inner = n_inner
        self.n_positions = n_positions
        self.activation_function = activation_function
        self.type_vocab_size = type_vocab_size
        self.layer_norm_epsilon = layer_norm_epsilon
        self.rotary_emb_base = rotary_emb_base
        self.qkv_proj_bias = qkv_proj_bias
        self.mlp_fc1_bias = mlp_fc1_bias
        self.mlp_fc2_bias = mlp_fc2_bias
        self.moe_every_n_layers = moe_every_n_layers
        self.num_experts = num_experts
        self.moe_top_k = moe_top_k
