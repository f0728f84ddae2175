"""Write model directories as their publishers did: file names, keys and number formats of the time, not of today.

Weights are random, from a fixed seed, and large enough that attention, masks and positions decide the vectors: with
the usual small start values, a model that attends to the wrong tokens would give nearly the same vectors.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

WIDTH = 32
"""Length of a token vector in every model of the zoo."""

POOLING_FLAGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


@dataclass(frozen=True)
class Repository:
    """The directory of one published model, while it is written."""

    directory: Path

    def text(self, path: str, content: str) -> None:
        target = self.directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8", newline="\n")

    def json(self, path: str, value: object) -> None:
        self.text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def bytes(self, path: str, content: bytes) -> None:
        target = self.directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    # --- the files of sentence-transformers ---

    def modules(self, *steps: tuple[str, str], prefix: str = "sentence_transformers.models") -> None:
        """Write modules.json from pairs of path and class; a class with a dot is written as it is."""
        entries = [
            {"idx": index, "name": str(index), "path": path, "type": kind if "." in kind else f"{prefix}.{kind}"}
            for index, (path, kind) in enumerate(steps)
        ]
        self.json("modules.json", entries)

    def standard(
        self,
        pooling: str,
        *,
        max_seq_length: int | None,
        normalize: bool = False,
        lower: bool = False,
        flags: int = 4,
        include_prompt: bool | None = None,
    ) -> None:
        """Write the files of a Transformer, a Pooling and perhaps a Normalize.

        Args:
            pooling: The one flag that is set, such as ``mean_tokens``.
            max_seq_length: Of sentence_bert_config.json; None where the repository has no such file.
            normalize: Whether a Normalize follows.
            lower: ``do_lower_case`` of sentence_bert_config.json.
            flags: How many of the flags are written; early releases knew four, later ones six.
            include_prompt: Written where it is not None, as later releases do.
        """
        steps = [("", "Transformer"), ("1_Pooling", "Pooling")]
        self.modules(*steps, *([("2_Normalize", "Normalize")] if normalize else []))
        self.pooling(pooling, flags=flags, include_prompt=include_prompt)
        if max_seq_length is not None:
            self.json("sentence_bert_config.json", {"max_seq_length": max_seq_length, "do_lower_case": lower})

    def pooling(self, pooling: str, *, width: int = WIDTH, flags: int = 4, include_prompt: bool | None = None) -> None:
        assert pooling in POOLING_FLAGS[:flags]
        values: dict[str, Any] = {"word_embedding_dimension": width}
        values |= {f"pooling_mode_{name}": name == pooling for name in POOLING_FLAGS[:flags]}
        if include_prompt is not None:
            values["include_prompt"] = include_prompt
        self.json("1_Pooling/config.json", values)

    def library(
        self, versions: tuple[str, str, str] | None, *, prompts: Mapping[str, str] | None = None, **more: object
    ) -> None:
        """Write config_sentence_transformers.json.

        Args:
            versions: Releases of sentence-transformers, transformers and torch that saved the model.
            prompts: None where the release knew no prompts.
            **more: What later releases write: ``similarity_fn_name``, ``model_type``.
        """
        values: dict[str, object] = {}
        if versions is not None:
            names = ("sentence_transformers", "transformers", "pytorch")
            values["__version__"] = dict(zip(names, versions, strict=True))
        if prompts is not None:
            values |= {"prompts": prompts, "default_prompt_name": None}
        self.json("config_sentence_transformers.json", {**values, **more})

    def dense(
        self,
        path: str,
        sizes: tuple[int, int],
        seed: int,
        *,
        bias: bool = True,
        activation: str = "torch.nn.modules.linear.Identity",
        pickled: bool = False,
    ) -> None:
        import torch

        config = {"in_features": sizes[0], "out_features": sizes[1], "bias": bias, "activation_function": activation}
        self.json(f"{path}/config.json", config)
        generator = torch.Generator().manual_seed(seed)
        tensors = {"linear.weight": _random((sizes[1], sizes[0]), "linear.weight", generator)}
        if bias:
            tensors["linear.bias"] = _random((sizes[1],), "linear.bias", generator)
        self.weights(tensors, f"{path}/{'pytorch_model.bin' if pickled else 'model.safetensors'}")

    # --- weights ---

    def weights(self, tensors: Mapping[str, Tensor], path: str = "model.safetensors") -> None:
        """Write tensors as safetensors, or as a pickle where the name ends in ``.bin`` or ``.pt``."""
        import torch
        from safetensors.torch import save_file

        target = self.directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        separate = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
        if path.endswith((".bin", ".pt")):
            torch.save(separate, target)
        else:
            save_file(separate, target, metadata={"format": "pt"})

    def shards(self, tensors: Mapping[str, Tensor], count: int = 2) -> None:
        """Write tensors in several files with an index, as those of more than a few gigabytes are."""
        names = sorted(tensors)
        size = math.ceil(len(names) / count)
        weight_map: dict[str, str] = {}
        for number in range(count):
            file = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
            part = {name: tensors[name] for name in names[number * size : (number + 1) * size]}
            self.weights(part, file)
            weight_map |= dict.fromkeys(part, file)
        total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        self.json("model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def keys_of_class(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a config.json that the class of a configuration takes; the others are for the loader."""
    others = ("architectures", "attn_implementation", "auto_map", "torch_dtype")
    return {key: value for key, value in config.items() if key not in others}


def random_tensors(
    model: Any,
    seed: int,
    *,
    dtype: str = "float32",
    rename: Callable[[str], str | None] = lambda name: name,
    zero_centred_norms: bool = False,
) -> dict[str, Tensor]:
    """Return a tensor for each parameter of a model, by its name in the checkpoint.

    Args:
        model: A model of transformers, or one class of it with a head, whose parameters are named and shaped alike.
        seed: Seed of all numbers.
        dtype: Number format of the checkpoint.
        rename: Returns the published name of a parameter, or None for one that the checkpoint lacks.
        zero_centred_norms: Whether a norm's weight is added to one, as in Gemma.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    by_place: dict[int, Tensor] = {}
    for name, value in sorted(model.state_dict().items()):
        published = rename(name)
        # Tied parameters stay equal, under each of their names.
        made = by_place.get(value.data_ptr())
        if made is None:
            made = _random(tuple(value.shape), name, generator, zero_centred=zero_centred_norms)
            by_place[value.data_ptr()] = made
        if published is not None:
            tensors[published] = made.to(getattr(torch, dtype))
    return tensors


def random_named(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Return a tensor of each shape, by name, for checkpoints whose names no class at hand has."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return {name: _random(shape, name, generator) for name, shape in sorted(shapes.items())}


def position_ids(count: int) -> Tensor:
    """Return a buffer that older releases of transformers wrote into checkpoints."""
    import torch

    return torch.arange(count).reshape(1, count)


def _random(shape: Sequence[int], name: str, generator: Any, *, zero_centred: bool = False) -> Tensor:
    import torch

    noise: Tensor = torch.randn(shape, generator=generator)
    leaf = name.lower()
    if len(shape) == 1:
        is_norm = leaf.endswith("weight") and any(part in leaf for part in ("norm", "_ln", "ln_"))
        return noise * 0.1 + (1.0 if is_norm and not zero_centred else 0.0)
    if "embed" in leaf or "shared" in leaf:
        return noise * 0.7
    return noise * (1.2 / math.sqrt(shape[-1]))
