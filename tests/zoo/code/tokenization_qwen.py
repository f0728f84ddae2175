"""The tokenizer of a repository that brings code for it, of which nothing differs."""

from transformers import Qwen2Tokenizer


class Qwen2TokenizerFast(Qwen2Tokenizer):
    pass
