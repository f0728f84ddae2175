"""The synthetic model: the shape of paraphrase-multilingual-MiniLM-L12-v2, and random weights.

It takes that model's place where the Hub cannot be reached. Its vectors mean nothing; its time and memory are those of
the real one, which depend on shapes alone. ``python -m bench.synthetic DIRECTORY`` writes it, the same bytes every time
for one release of torch.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from pathlib import Path

# The shape, from config.json of sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2.
VOCABULARY = 250_037
LAYERS = 12
WIDTH = 384
INTERMEDIATE = 1536
HEADS = 12
POSITIONS = 512
MAX_SEQ_LENGTH = 128

PIECES = 250_002
"""Entries of its tokenizer; the matrix of the word embeddings has a few rows more, which no token uses."""

_CARD = """---
license: apache-2.0
---
# Synthetic

Random weights in the shape of paraphrase-multilingual-MiniLM-L12-v2, for measuring time and memory. The vectors mean
nothing.
"""


def pieces(count: int = PIECES) -> list[tuple[str, float]]:
    """Return a vocabulary like XLM-R's: special tokens, characters, and then syllables joined to ever longer words."""
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    scripts = ((0x21, 0x7F), (0xA1, 0x180), (0x391, 0x3CA), (0x410, 0x450), (0x5D0, 0x5EB), (0x621, 0x64B))
    characters = ["▁", *(chr(code) for first, end in (*scripts, (0x4E00, 0x5200)) for code in range(first, end))]
    syllables = ["".join(pair) for pair in itertools.product("bcdfghjklmnprstvwz", "aeiou")]
    words = (
        start + "".join(parts)
        for length in itertools.count(1)
        for parts in itertools.product(syllables, repeat=length)
        for start in ("▁", "")
    )
    wanted = count - len(special) - 1  # the last one is <mask>
    distinct = itertools.islice(dict.fromkeys(itertools.chain(characters, itertools.islice(words, wanted))), wanted)
    # Falling probabilities, as in a vocabulary sorted by frequency.
    scored = [(piece, -3.0 - rank * 1e-4) for rank, piece in enumerate(distinct)]
    return [*special, *scored, ("<mask>", 0.0)]


def write_model(directory: Path) -> None:
    """Write the model as a directory that plain ``SentenceTransformer(path)`` loads."""
    import torch  # noqa: PLC0415 - the rest of the benchmarks reads this module without it
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    from sentence_transformers.base.modules import Transformer  # noqa: PLC0415
    from sentence_transformers.sentence_transformer.modules import Pooling  # noqa: PLC0415
    from transformers.models.bert import BertConfig, BertModel  # noqa: PLC0415
    from transformers.models.xlm_roberta import XLMRobertaTokenizer  # noqa: PLC0415

    configuration = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INTERMEDIATE,
        max_position_embeddings=POSITIONS,
    )
    torch.manual_seed(12)
    with tempfile.TemporaryDirectory(prefix="synthetic-checkpoint-") as checkpoint:
        BertModel(configuration).save_pretrained(checkpoint)
        XLMRobertaTokenizer(vocab=pieces(), model_max_length=POSITIONS).save_pretrained(checkpoint)
        transformer = Transformer(checkpoint, max_seq_length=MAX_SEQ_LENGTH)
        model = SentenceTransformer(modules=[transformer, Pooling(WIDTH, pooling_mode="mean")], device="cpu")
        model.save_pretrained(str(directory), create_model_card=False)
    (directory / "README.md").write_text(_CARD, encoding="utf-8")
    # In one line, as the real one is; indented it would have half as many bytes again to be read.
    tokenizer = directory / "tokenizer.json"
    table = json.loads(tokenizer.read_bytes())
    tokenizer.write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


if __name__ == "__main__":
    write_model(Path(sys.argv[1]))
