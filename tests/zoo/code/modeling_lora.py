"""Adapters of low rank for each task, beside every table and product of an encoder.

As published: neither class calls ``post_init``.
"""

import torch
from torch import nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from .configuration_xlm_roberta import XLMRobertaFlashConfig
from .modeling_xlm_roberta import XLMRobertaModel


class Adapters(nn.Module):
    """Leaves a weight as it is, and has the two factors of what each task adds to it."""

    def __init__(self, layer, tasks, rank, alpha):
        super().__init__()
        rows, columns = layer.weight.shape
        is_table = isinstance(layer, nn.Embedding)
        first, second = ((rows, rank), (rank, columns)) if is_table else ((rank, columns), (rows, rank))
        self.lora_A = nn.Parameter(torch.randn(tasks, *first))
        self.lora_B = nn.Parameter(torch.zeros(tasks, *second))
        self.scaling, self.is_table = alpha / rank, is_table

    def forward(self, weight):
        return weight

    def added(self, task):
        factors = (self.lora_A[task], self.lora_B[task])
        return self.scaling * torch.matmul(*(factors if self.is_table else factors[::-1]))


def add_adapters(module, config):
    if not isinstance(module, nn.Linear | nn.Embedding):
        return
    adapters = Adapters(module, len(config.lora_adaptations), config.lora_rank, config.lora_alpha)
    parametrize.register_parametrization(module, "weight", adapters)

    def forward(values, task_id=None):
        weight = module.weight if task_id is None else module.weight + adapters.added(task_id)
        if adapters.is_table:
            return nn.functional.embedding(values, weight)
        return nn.functional.linear(values, weight, module.bias)

    module.forward = forward


class XLMRobertaLoRA(PreTrainedModel):
    config_class = XLMRobertaFlashConfig
    base_model_prefix = "roberta"

    def __init__(self, config):
        super().__init__(config)
        self.roberta = XLMRobertaModel(config)
        self.apply(lambda module: add_adapters(module, config))

    def forward(self, *arguments, **options):
        return self.roberta(*arguments, **options)
