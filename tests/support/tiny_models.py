"""Tiny real sentence-transformers models, made in the test run: the same bytes every time, and safetensors only.

The vocabularies are written by hand, not trained: a trainer's order depends on threads. The weights come from a fixed
seed. Files are written by sentence-transformers itself, so their names and formats are those that the Hub serves.

torch and sentence-transformers are imported inside the functions, so that a machine without them can collect the tests.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import string
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel
    from transformers.models.bert import BertModel

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
    max_seq_length: int | None
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
    from transformers.models.xlm_roberta import XLMRobertaTokenizer

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


def make_pooled_model(
    directory: Path, pooling: Any, *, include_prompt: bool = True, more: Sequence[Any] = ()
) -> TinyModel:
    """Make a model with any pooling, and with prompts where it leaves them out; ``pooling`` is a mode or several."""
    vocabulary = _wordpiece_vocabulary()
    modes = [pooling] if isinstance(pooling, str) else list(pooling)
    prompts = None if include_prompt else PREFIXES
    with _checkpoint(_bert(len(vocabulary), seed=15), _bert_tokenizer(vocabulary, 40)) as checkpoint:
        _save(checkpoint, directory, 40, pooling, [*more], prompts=prompts, include_prompt=include_prompt)
    name = "+".join(modes) + ("" if include_prompt else " without prompt")
    return TinyModel(directory, max_seq_length=40, pooling=name, has_normalize=False, dimension=DIMENSION * len(modes))


def make_plain_repository(directory: Path) -> None:
    """Make a repository of the transformers library alone, without modules.json: contriever, SimCSE, plain BERT."""
    vocabulary = _wordpiece_vocabulary()
    with _checkpoint(_bert(len(vocabulary), seed=20), _bert_tokenizer(vocabulary, 64)) as checkpoint:
        shutil.copytree(checkpoint, directory)
    _forget_where(directory)


def make_truncated_model(directory: Path) -> TinyModel:
    """Make one that was published with fewer components than it computes, whose rest has no unit length."""
    from sentence_transformers.base.modules import Normalize

    model = make_pooled_model(directory, "mean", more=[Normalize()])
    path = directory / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "truncate_dim": 20}), encoding="utf-8")
    return replace(model, dimension=20)


def make_layered_model(directory: Path) -> TinyModel:
    """Make one with all that may follow pooling: Dense to another width, with a residual, LayerNorm, Dropout."""
    import torch
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import Dropout, LayerNorm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(161)
        more = [
            Dense(DIMENSION, 48, activation_function=torch.nn.GELU(), use_residual=True),
            LayerNorm(48),
            Dropout(0.5),
            Dense(48, 24, bias=False, activation_function=torch.nn.Identity()),
            Normalize(),
        ]
    model = make_pooled_model(directory, "mean", more=more)
    return replace(model, has_normalize=True, dimension=24)


def make_lowercasing_model(directory: Path) -> TinyModel:
    """Make one whose tokenizer keeps case, while its sentence_bert_config.json says ``do_lower_case``."""
    import json

    from transformers.models.bert import BertTokenizer

    # Upper case must be known, or nothing would be lost without the switch.
    vocabulary = _wordpiece_vocabulary()
    for letter in string.ascii_uppercase:
        vocabulary |= {letter: len(vocabulary), f"##{letter}": len(vocabulary) + 1}
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=False, model_max_length=64)
    with _checkpoint(_bert(len(vocabulary), seed=17), tokenizer) as checkpoint:
        _save(checkpoint, directory, 64, "mean", [])
    path = directory / "sentence_bert_config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "do_lower_case": True}), encoding="utf-8")
    return TinyModel(directory, max_seq_length=64, pooling="mean", has_normalize=False)


ENCODERS = ("distilbert", "electra", "modernbert", "mpnet", "qwen3", "roberta", "xlm-roberta")
"""Names that :func:`make_encoder_model` knows."""


def make_encoder_model(directory: Path, encoder: str) -> TinyModel:
    """Make one with another encoder than BERT, with the tokenizer, the maximum and the pooling that come with it."""
    import torch

    tokenizer, limit, pooling = _encoder_tokenizer(encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(18)
        model = _encoder(encoder, len(tokenizer), limit)
    model.train(mode=False)
    with _checkpoint(model, tokenizer) as checkpoint:
        _save(checkpoint, directory, limit, pooling, [])
    return TinyModel(directory, max_seq_length=limit, pooling=pooling, has_normalize=False)


def make_static_model(directory: Path, more: Sequence[Any] = (), precision: str = "float32") -> TinyModel:
    """Like static-retrieval-mrl: a row for each token and their mean; no maximum, no special tokens."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    vocabulary = _wordpiece_vocabulary()
    generator = torch.Generator().manual_seed(19)
    weights = torch.randn(len(vocabulary), DIMENSION, generator=generator).to(getattr(torch, precision))
    tokenizer = _bert_tokenizer(vocabulary, 64).backend_tokenizer
    tokenizer.no_truncation()
    with _no_progress():
        model = SentenceTransformer(
            modules=[StaticEmbedding(tokenizer, embedding_weights=weights), *more], device="cpu"
        )
        model.save_pretrained(str(directory), create_model_card=False)
    return TinyModel(directory, max_seq_length=None, pooling="mean", has_normalize=False)


def _encoder_tokenizer(encoder: str) -> tuple[Any, int, str]:
    """Return the tokenizer of a kind of encoder, the longest input, and the usual pooling."""
    import transformers as untyped_transformers

    transformers: Any = untyped_transformers
    if encoder == "xlm-roberta":
        return transformers.XLMRobertaTokenizer(vocab=_unigram_pieces(), model_max_length=66), 66, "mean"
    if encoder == "mpnet":
        words = [word for word in _wordpiece_vocabulary() if not word.startswith("[")]
        special = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", *words, "<mask>"]
        vocabulary = {token: index for index, token in enumerate(special)}
        return transformers.MPNetTokenizer(vocab=vocabulary, model_max_length=66), 66, "mean"
    if encoder in ("distilbert", "electra"):
        return _bert_tokenizer(_wordpiece_vocabulary(), 64), 64, "cls"
    if encoder == "roberta":
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        vocabulary = {token: index for index, token in enumerate([*special, *_bytes()])}
        return transformers.RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=66), 66, "mean"
    if encoder == "modernbert":
        names = {"cls_token": "[CLS]", "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
        return _byte_tokenizer("[CLS] $A [SEP]", {**names, "mask_token": "[MASK]"}), 64, "cls"
    end = {"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}
    return _byte_tokenizer("$A <|endoftext|>", end, padding_side="left"), 64, "lasttoken"


def _byte_tokenizer(template: str, special: dict[str, str], padding_side: str = "right") -> Any:
    """Return a byte-level tokenizer of a class without habits of its own; ``special`` are names and tokens."""
    import transformers as untyped_transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    transformers: Any = untyped_transformers
    vocabulary = {token: index for index, token in enumerate([*special.values(), *_bytes()])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    used = [(token, vocabulary[token]) for token in template.split() if token in vocabulary]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=used)
    inputs = ["input_ids", "attention_mask"]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=64,
        model_input_names=inputs,
        padding_side=padding_side,
        **special,
    )


def _encoder(encoder: str, vocabulary_size: int, limit: int) -> Any:
    """Return an encoder with random weights; torch's seed is set."""
    import transformers as untyped_transformers

    transformers: Any = untyped_transformers
    sizes = {
        "vocab_size": vocabulary_size,
        "hidden_size": DIMENSION,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    # Positions of some begin behind that of padding, so their table has two rows more than a text may have tokens.
    offset = {"max_position_embeddings": limit + 2, "pad_token_id": 1}
    # Both kinds of ModernBERT's layers: with a window, which is narrower than the longest text, and without.
    window = {"num_hidden_layers": 4, "local_attention": 16, "global_attn_every_n_layers": 3}
    marks = {"cls_token_id": 0, "pad_token_id": 1, "sep_token_id": 2, "bos_token_id": 0, "eos_token_id": 2}
    grouped = {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 1}
    distilled = {"vocab_size": vocabulary_size, "dim": DIMENSION, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    name, settings = {
        "distilbert": ("DistilBert", distilled),
        # Its embeddings are narrower than its layers.
        "electra": ("Electra", {**sizes, "embedding_size": 16}),
        "modernbert": ("ModernBert", {**sizes, **window, **marks}),
        "mpnet": ("MPNet", {**sizes, **offset}),
        "qwen3": ("Qwen3", {**sizes, **grouped}),
        "roberta": ("Roberta", {**sizes, **offset, "type_vocab_size": 1}),
        "xlm-roberta": ("XLMRoberta", {**sizes, **offset, "type_vocab_size": 1}),
    }[encoder]
    configuration = getattr(transformers, f"{name}Config")(**{"max_position_embeddings": limit, **settings})
    return getattr(transformers, f"{name}Model")(configuration)


def _bytes() -> list[str]:
    """Return the characters that stand for bytes in byte-level vocabularies, in a fixed order."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


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
    from transformers.models.bert import BertTokenizer

    return BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=max_length)


def _bert(vocabulary_size: int, seed: int) -> BertModel:
    import torch
    from transformers.models.bert import BertConfig, BertModel

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
def _checkpoint(model: PreTrainedModel, tokenizer: Any) -> Iterator[Path]:
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
    include_prompt: bool = True,
) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    with _no_progress():
        transformer = Transformer(str(checkpoint), max_seq_length=max_seq_length, model_kwargs={"dtype": dtype})
        model = SentenceTransformer(
            modules=[transformer, Pooling(DIMENSION, pooling_mode=pooling, include_prompt=include_prompt), *more],
            prompts=prompts,
            default_prompt_name=default_prompt_name,
            device="cpu",
        )
        model.save_pretrained(str(directory), create_model_card=False)
    _forget_where(directory)


def _forget_where(directory: Path) -> None:
    """Remove what was written down as it was when the tokenizer was loaded: tests before may have gone offline."""
    settings = directory / "tokenizer_config.json"
    values = json.loads(settings.read_bytes())
    values.pop("local_files_only", None)
    settings.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


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
