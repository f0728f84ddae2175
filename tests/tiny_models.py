"""Tiny real sentence-transformers models, made in the test run: the same bytes every time, and safetensors only.

The vocabularies are written by hand, not trained: a trainer's order depends on threads. The weights come from a fixed
seed. Files are written by sentence-transformers itself, so their names and formats are those that the Hub serves.

torch and sentence-transformers are imported inside the functions, so that a machine without them can collect the tests.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import string
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentence_transformers import SentenceTransformer
    from transformers import BertModel

DIMENSION = 32
"""Length of a vector of every model here."""

PREFIXES = {"query": "query: ", "document": "document: ", "passage": "passage: "}
"""Prompts of the model that has some."""

_WORDS = tuple(
    re.findall(
        r"\w+",
        """
the a of and to in is it for on with as was at by from that this are be query document passage question answer
search vector model text water bread house river summer winter table music green yellow quick slow small large
der die das und ist nicht maison rivière eau pain été casa agua río verano
""",
    )
)
_LETTERS = string.ascii_lowercase + string.digits + string.punctuation + "äöüßéèçñøåłžş"
_SCRIPTS = "абвгдежзийклмнопрстуфхцчшщъыьэюяαβγδεζηθικλμνξοπρστυφχψωאבגדהمرحباسلعनमसतदकर日本語中文水河한국어"

MIXED_TEXTS: tuple[str, ...] = (
    "",
    " ",
    "water",
    "A quick question: where is the river?",
    "Das ist nicht das Haus, das ist der Fluß.",
    "ÉTÉ à la maison, près de la rivière",
    "привет, вода и хлеб",
    "ένα ποτάμι",
    "שלום",
    "مرحبا بالعالم",
    "नमस्ते",
    "日本語の水と河",
    "한국어 문장",
    "🙂🚀 emoji 👩‍👩‍👧 and flags 🇨🇭",
    "tabs\tand\nnew lines\r\nand a null-like \\0",
    "punctuation!?;:,.-()[]{}…—",
    "x" * 700,
    " ".join(_WORDS[index % len(_WORDS)] for index in range(5000)),
)
"""Texts in which implementations like to differ: empty, other scripts, emoji, unknown characters, far too long."""


@dataclass(frozen=True)
class TinyModel:
    """A model directory that plain ``SentenceTransformer(path)`` loads, and what the manifest has to say of it."""

    directory: Path
    max_seq_length: int
    pooling: str
    has_normalize: bool
    dimension: int = DIMENSION

    def plain(self, **options: Any) -> SentenceTransformer:
        """Load it as a user without this project would."""
        import sentence_transformers

        with _no_progress():
            return sentence_transformers.SentenceTransformer(
                str(self.directory), device="cpu", local_files_only=True, **options
            )


def make_wordpiece_model(directory: Path) -> TinyModel:
    """Like all-MiniLM-L6-v2: BERT, WordPiece, mean pooling, Normalize."""
    from sentence_transformers.base.modules import Normalize

    vocabulary = _wordpiece_vocabulary()
    with _checkpoint(_bert(len(vocabulary), seed=11), _bert_tokenizer(vocabulary, 64)) as checkpoint:
        _save(checkpoint, directory, 64, "mean", [Normalize()])
    return TinyModel(directory, max_seq_length=64, pooling="mean", has_normalize=True)


def make_unigram_model(directory: Path) -> TinyModel:
    """Like paraphrase-multilingual-MiniLM-L12-v2: BERT, XLM-R's Unigram tokenizer, mean pooling, no Normalize."""
    from transformers import XLMRobertaTokenizer

    pieces = _unigram_pieces()
    tokenizer = XLMRobertaTokenizer(vocab=pieces, model_max_length=128)
    with _checkpoint(_bert(len(pieces), seed=12), tokenizer) as checkpoint:
        _save(checkpoint, directory, 128, "mean", [])
    return TinyModel(directory, max_seq_length=128, pooling="mean", has_normalize=False)


def make_prompted_model(directory: Path) -> TinyModel:
    """Like E5 and GTE: prompts with a default one, first-token pooling, a Dense layer."""
    import torch
    from sentence_transformers.base.modules import Dense

    vocabulary = _wordpiece_vocabulary()
    with _checkpoint(_bert(len(vocabulary), seed=13), _bert_tokenizer(vocabulary, 48)) as checkpoint:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(131)
            dense = Dense(in_features=DIMENSION, out_features=DIMENSION)
        _save(checkpoint, directory, 48, "cls", [dense], prompts=PREFIXES, default_prompt_name="query")
    return TinyModel(directory, max_seq_length=48, pooling="cls", has_normalize=False)


def make_half_model(directory: Path, precision: str = "bfloat16") -> TinyModel:
    """Make a checkpoint whose weights are stored as ``bfloat16`` or ``float16``."""
    import torch
    from sentence_transformers.base.modules import Normalize

    vocabulary = _wordpiece_vocabulary()
    model = _bert(len(vocabulary), seed=14).to(getattr(torch, precision))
    with _checkpoint(model, _bert_tokenizer(vocabulary, 64)) as checkpoint:
        _save(checkpoint, directory, 64, "mean", [Normalize()], dtype=precision)
    return TinyModel(directory, max_seq_length=64, pooling="mean", has_normalize=True)


def _wordpiece_vocabulary() -> dict[str, int]:
    characters = sorted(set(_LETTERS + _SCRIPTS))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{one}" for one in characters), *_WORDS]
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}


def _unigram_pieces() -> list[tuple[str, float]]:
    characters = sorted(set(_LETTERS + string.ascii_uppercase + _SCRIPTS))
    words = dict.fromkeys(f"▁{word}" for word in _WORDS)
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    pieces += [(character, -8.0 - index / 100) for index, character in enumerate(characters)]
    pieces += [(word, -5.0 - index / 100) for index, word in enumerate(words) if word not in characters]
    return [*pieces, ("<mask>", 0.0)]


def _bert_tokenizer(vocabulary: dict[str, int], max_length: int) -> Any:
    from transformers import BertTokenizer

    return BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=max_length)


def _bert(vocabulary_size: int, seed: int) -> BertModel:
    import torch
    from transformers import BertConfig, BertModel

    configuration = BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=DIMENSION,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=160,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(configuration)
    model.train(mode=False)
    return model


@contextlib.contextmanager
def _checkpoint(model: BertModel, tokenizer: Any) -> Iterator[Path]:
    """Write what the transformers library calls a checkpoint, for as long as it is needed."""
    directory = Path(tempfile.mkdtemp(prefix="tiny-checkpoint-"))
    try:
        with _no_progress():
            model.save_pretrained(directory)
            tokenizer.save_pretrained(directory)
        yield directory
    finally:
        shutil.rmtree(directory)


def _save(
    checkpoint: Path,
    directory: Path,
    max_seq_length: int,
    pooling: Any,
    more: list[Any],
    *,
    dtype: str = "float32",
    prompts: dict[str, str] | None = None,
    default_prompt_name: str | None = None,
) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    with _no_progress():
        transformer = Transformer(str(checkpoint), max_seq_length=max_seq_length, model_kwargs={"dtype": dtype})
        model = SentenceTransformer(
            modules=[transformer, Pooling(DIMENSION, pooling_mode=pooling), *more],
            prompts=prompts,
            default_prompt_name=default_prompt_name,
            device="cpu",
        )
        model.save_pretrained(str(directory), create_model_card=False)


@contextlib.contextmanager
def _no_progress() -> Iterator[None]:
    from transformers.utils import logging as untyped_logging

    logging: Any = untyped_logging
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()
