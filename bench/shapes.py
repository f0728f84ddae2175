"""Five popular shapes with random weights: what models beyond all-MiniLM cost, which depends on their shapes alone.

``python -m bench.shapes NAME DIRECTORY`` writes one, the same bytes every time for one release of torch. Layers,
widths, heads, positions, pooling and rows of the embedding table are those of the published configurations; weights are
random, and stored in fp32 also where the published ones are in bfloat16, so that both sides compute in fp32. All of
them have the synthetic model's kind of tokenizer, with as many entries as the shape has rows.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from bench.synthetic import pieces
from thoth_models_builder.compile.texts import golden_texts


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """One published model without its weights.

    Attributes:
        name: Name of the model in bundle and results.
        like: The published model.
        kind: ``model_type`` of its configuration in transformers.
        config: Keys of that configuration that differ from the defaults of the kind.
        width: Length of a token's vector.
        max_seq_length: Longest input in tokens.
        pooling: How token vectors become one.
        padding: Side on which its tokenizer pads.
        dense: Widths of the Dense layers after pooling, if any.
    """

    name: str
    like: str
    kind: str
    config: dict[str, Any]
    width: int
    max_seq_length: int
    pooling: Literal["cls", "mean", "lasttoken"]
    padding: Literal["left", "right"] = "right"
    dense: tuple[int, ...] = ()

    @property
    def long_tokens(self) -> int:
        """Tokens of the long text that is measured."""
        return min(self.max_seq_length, 8192)

    @property
    def is_for_fastembed(self) -> bool:
        """Whether fastembed has its pooling, and no module after that is missing there."""
        return self.pooling in ("cls", "mean") and not self.dense

    @property
    def dimension(self) -> int:
        """Length of its vectors."""
        return self.dense[-1] if self.dense else self.width


SHAPES: Final = {
    shape.name: shape
    for shape in (
        Shape(
            name="bge-base",
            like="BAAI/bge-base-en-v1.5",
            kind="bert",
            config={"vocab_size": 30522},
            width=768,
            max_seq_length=512,
            pooling="cls",
        ),
        Shape(
            name="bge-m3",
            like="BAAI/bge-m3",
            kind="xlm-roberta",
            config={
                "vocab_size": 250_002,
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "intermediate_size": 4096,
                "max_position_embeddings": 8194,
                "type_vocab_size": 1,
                "layer_norm_eps": 1e-05,
                "pad_token_id": 1,
                "bos_token_id": 0,
                "eos_token_id": 2,
            },
            width=1024,
            max_seq_length=8192,
            pooling="cls",
        ),
        Shape(
            name="modernbert-base",
            like="nomic-ai/modernbert-embed-base",
            kind="modernbert",
            config={"pad_token_id": 1, "bos_token_id": 0, "cls_token_id": 0, "eos_token_id": 2, "sep_token_id": 2},
            width=768,
            max_seq_length=8192,
            pooling="mean",
        ),
        Shape(
            name="qwen3-600m",
            like="Qwen/Qwen3-Embedding-0.6B",
            kind="qwen3",
            config={
                "vocab_size": 151_669,
                "hidden_size": 1024,
                "intermediate_size": 3072,
                "num_hidden_layers": 28,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "max_position_embeddings": 32_768,
                "rope_theta": 1_000_000,
                "tie_word_embeddings": True,
                "bos_token_id": 0,
                "eos_token_id": 2,
                "use_cache": False,
            },
            width=1024,
            max_seq_length=32_768,
            pooling="lasttoken",
            padding="left",
        ),
        Shape(
            name="embeddinggemma-300m",
            like="google/embeddinggemma-300m",
            kind="gemma3_text",
            config={
                "vocab_size": 262_144,
                "hidden_size": 768,
                "intermediate_size": 1152,
                "num_hidden_layers": 24,
                "num_attention_heads": 3,
                "num_key_value_heads": 1,
                "head_dim": 256,
                "max_position_embeddings": 2048,
                "sliding_window": 512,
                "query_pre_attn_scalar": 256,
                "use_bidirectional_attention": True,
                "pad_token_id": 1,
                "bos_token_id": 0,
                "eos_token_id": 2,
                "use_cache": False,
            },
            width=768,
            max_seq_length=2048,
            pooling="mean",
            dense=(3072, 768),
        ),
    )
}


def write_shape(shape: Shape, directory: Path) -> None:
    """Write a model of that shape as a directory that plain ``SentenceTransformer(path)`` loads."""
    import torch  # noqa: PLC0415 - the rest of the benchmarks reads this module without it
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    from sentence_transformers.base.modules import Dense, Normalize, Transformer  # noqa: PLC0415
    from sentence_transformers.sentence_transformer.modules import Pooling  # noqa: PLC0415
    from transformers.models.auto import AutoConfig, AutoModel  # noqa: PLC0415
    from transformers.models.xlm_roberta import XLMRobertaTokenizer  # noqa: PLC0415

    torch.manual_seed(14)
    configuration = AutoConfig.for_model(shape.kind, **shape.config)
    with tempfile.TemporaryDirectory(prefix="shape-checkpoint-", dir=directory.parent) as checkpoint:
        AutoModel.from_config(configuration, dtype=torch.float32).save_pretrained(checkpoint)
        rows = min(configuration.vocab_size, 250_002)
        tokenizer = XLMRobertaTokenizer(
            vocab=_vocabulary(rows), model_max_length=shape.max_seq_length, padding_side=shape.padding
        )
        tokenizer.save_pretrained(checkpoint)
        widths = [shape.width, *shape.dense]
        modules = [
            Transformer(checkpoint, max_seq_length=shape.max_seq_length),
            Pooling(shape.width, pooling_mode=shape.pooling),
            *(
                Dense(before, after, bias=False, activation_function=torch.nn.Identity())
                for before, after in itertools.pairwise(widths)
            ),
            Normalize(),
        ]
        model = SentenceTransformer(modules=modules, device="cpu")
        model.save_pretrained(str(directory), create_model_card=False)
    card = f"---\nlicense: apache-2.0\n---\nRandom weights in the shape of {shape.like}, to measure time and memory.\n"
    (directory / "README.md").write_text(card, encoding="utf-8")
    tokenizer_file = directory / "tokenizer.json"
    table = json.loads(tokenizer_file.read_bytes())
    tokenizer_file.write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def _vocabulary(rows: int) -> list[tuple[str, float]]:
    """Return the synthetic model's kind of vocabulary, with the words of the longest golden text.

    That text has 1,500 of these words. It would be thousands of tokens where each is spelled, which no vocabulary that
    was learned does, and take minutes to compute in a build.
    """
    words = [f"▁{word}" for word in dict.fromkeys(golden_texts(None, {})[-1][1].split())]
    usual = pieces(rows)
    return [*usual[: -len(words) - 1], *((word, 0.0) for word in words), usual[-1]]


if __name__ == "__main__":
    write_shape(SHAPES[sys.argv[1]], Path(sys.argv[2]))
