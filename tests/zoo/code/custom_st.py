"""A first module that derives from none of the library's, and passes a task to its encoder with each call.

As published: it names ``cache_dir`` beside arguments that may contain it, and texts lose white space at their ends.
"""

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer


class Transformer(nn.Module):
    def __init__(
        self,
        model_name_or_path,
        max_seq_length=None,
        model_args=None,
        tokenizer_args=None,
        config_args=None,
        cache_dir=None,
        **_,
    ):
        super().__init__()
        options = dict(model_args or {})
        place = model_name_or_path
        self.default_task = options.pop("default_task", None)
        self.config = AutoConfig.from_pretrained(place, cache_dir=cache_dir, **(config_args or {}))
        self.tasks = self.config.lora_adaptations
        if self.default_task not in (None, *self.tasks):
            raise ValueError(f"no task {self.default_task!r}")
        self.auto_model = AutoModel.from_pretrained(place, config=self.config, cache_dir=cache_dir, **options)
        self.tokenizer = AutoTokenizer.from_pretrained(place, cache_dir=cache_dir, **(tokenizer_args or {}))
        limits = (self.config.max_position_embeddings, self.tokenizer.model_max_length)
        self.max_seq_length = max_seq_length or min(limits)

    def forward(self, features, task=None):
        task = task or self.default_task
        chosen = {}
        if task:
            rows = features["input_ids"].size(0)
            chosen["adapter_mask"] = torch.full((rows,), self.tasks.index(task), dtype=torch.int32)
        features["token_embeddings"] = self.auto_model(**features, **chosen, return_dict=False)[0]
        return features

    def get_word_embedding_dimension(self):
        return self.config.hidden_size

    def tokenize(self, texts, padding=True):
        stripped = [str(text).strip() for text in texts]
        limit = {"truncation": "longest_first", "max_length": self.max_seq_length}
        return dict(self.tokenizer(stripped, padding=padding, return_tensors="pt", **limit))

    @classmethod
    def load(cls, input_path):
        return cls(input_path)
