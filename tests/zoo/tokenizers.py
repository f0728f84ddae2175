"""Tokenizers of the kinds that published models have, with vocabularies written by hand and the published files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support import tiny_models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.zoo.writing import Repository

_BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_NO_LIMIT = 1000000000000000019884624838656
"""What transformers writes where a tokenizer has no maximum."""


def words() -> list[str]:
    """Return the pieces of a WordPiece vocabulary, without special tokens."""
    return [word for word in tiny_models._wordpiece_vocabulary() if word not in _BERT_SPECIAL]


def wordpiece(
    repository: Repository,
    max_length: int,
    *,
    special: Sequence[str] = _BERT_SPECIAL,
    lower: bool = True,
    tokenizer_class: str = "BertTokenizer",
    called_with: int | None = None,
    settings: Mapping[str, Any] | None = None,
    fast: bool = True,
) -> int:
    """Write WordPiece files: tokenizer.json, vocab.txt and the settings; return the number of tokens.

    Args:
        repository: Where.
        max_length: ``model_max_length``.
        special: The special tokens; the order is that of their numbers.
        lower: Whether the tokenizer lowers case.
        tokenizer_class: Of tokenizer_config.json.
        called_with: Truncation and fixed padding that some repositories' tokenizer.json kept from their last call.
        settings: More of tokenizer_config.json.
        fast: Whether there is a tokenizer.json.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokens = [*special, *words(), *([] if lower else [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ"])]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(special))
    if called_with is not None:
        tokenizer.enable_truncation(called_with)
        tokenizer.enable_padding(length=called_with, pad_id=vocabulary["[PAD]"], pad_token="[PAD]")
    if fast:
        repository.text("tokenizer.json", tokenizer.to_str())
    repository.text("vocab.txt", "".join(f"{token}\n" for token in tokens))
    names = {"cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]", "sep_token": "[SEP]"}
    names["unk_token"] = "[UNK]"
    repository.json("special_tokens_map.json", names)
    repository.json(
        "tokenizer_config.json",
        {
            "do_lower_case": lower,
            **names,
            "tokenize_chinese_chars": True,
            "strip_accents": None,
            "model_max_length": max_length,
            "tokenizer_class": tokenizer_class,
            **(settings or {}),
        },
    )
    return len(tokens)


def mpnet(repository: Repository, max_length: int) -> int:
    """Write the files of MPNet: WordPiece between RoBERTa's special tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokens = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", *words(), "<mask>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"])
    repository.text("tokenizer.json", tokenizer.to_str())
    repository.text("vocab.txt", "".join(f"{token}\n" for token in tokens))
    names: dict[str, Any] = _roberta_names()
    repository.json(
        "special_tokens_map.json", {**names, "unk_token": "[UNK]", "mask_token": _added("<mask>", lstrip=True)}
    )
    repository.json(
        "tokenizer_config.json",
        {
            "do_lower_case": True,
            **{name: _typed(token) for name, token in names.items()},
            "unk_token": _typed("[UNK]"),
            "mask_token": _typed("<mask>", lstrip=True),
            "tokenize_chinese_chars": True,
            "strip_accents": None,
            "model_max_length": max_length,
            "special_tokens_map_file": None,
            "name_or_path": "microsoft/mpnet-base",
            "tokenizer_class": "MPNetTokenizer",
        },
    )
    return len(tokens)


def byte_bpe(
    repository: Repository,
    max_length: int,
    *,
    special: Mapping[str, str],
    template: str,
    tokenizer_class: str,
    padding_side: str | None = None,
    slow_files: bool = True,
    roberta: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> int:
    """Write a byte-level BPE: RoBERTa, Qwen, ModernBERT; return the number of tokens.

    Args:
        repository: Where.
        max_length: ``model_max_length``.
        special: Name and text of each special token, in the order of their numbers.
        template: The text between its special tokens, such as ``$A <|endoftext|>``.
        tokenizer_class: Of tokenizer_config.json.
        padding_side: Where it is written.
        slow_files: Whether vocab.json and merges.txt are there as well.
        roberta: Whether special tokens come first, and its own post-processor is used.
        settings: More of tokenizer_config.json.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    alphabet = tiny_models._bytes()
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("i", "n"), ("e", "r"), ("Ġ", "a")]
    pieces = [*alphabet, *(left + right for left, right in merges)]
    marks = list(dict.fromkeys(special.values()))
    tokens = [*marks, *pieces] if roberta else [*pieces, *marks]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    own = vocabulary if roberta else {token: vocabulary[token] for token in pieces}
    tokenizer = Tokenizer(models.BPE(vocab=own, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(marks)
    if roberta:
        tokenizer.post_processor = processors.RobertaProcessing(
            ("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"]), trim_offsets=True, add_prefix_space=False
        )
    else:
        tokenizer.normalizer = normalizers.NFC()
        used = [(token, vocabulary[token]) for token in template.split() if token in vocabulary]
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=used)
    repository.text("tokenizer.json", tokenizer.to_str())
    if slow_files:
        repository.json("vocab.json", own)
        repository.text("merges.txt", "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))
    repository.json("special_tokens_map.json", dict(special))
    values = {
        **special,
        "add_prefix_space": False,
        "model_max_length": max_length,
        "tokenizer_class": tokenizer_class,
        **({} if padding_side is None else {"padding_side": padding_side}),
        **(settings or {}),
    }
    repository.json("tokenizer_config.json", values)
    return len(tokens)


def unigram(
    repository: Repository,
    max_length: int,
    *,
    fast: bool = True,
    sentencepiece: bool = True,
    tokenizer_class: str = "XLMRobertaTokenizer",
    settings: Mapping[str, Any] | None = None,
) -> int:
    """Write XLM-R's Unigram tokenizer, as tokenizer.json, as a sentencepiece model, or as both."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    pieces = tiny_models._unigram_pieces()
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    if fast:
        repository.text("tokenizer.json", tokenizer.to_str())
    if sentencepiece:
        # Its own numbers: <unk> 0, <s> 1, </s> 2; transformers moves them, and adds <pad> and <mask>.
        ordinary = [(piece, score, 1) for piece, score in pieces[4:-1]]
        own = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), *ordinary]
        repository.bytes("sentencepiece.bpe.model", sentencepiece_model(own))
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    names |= {"sep_token": "</s>", "unk_token": "<unk>"}
    repository.json("special_tokens_map.json", {**names, "mask_token": _added("<mask>", lstrip=True)})
    repository.json(
        "tokenizer_config.json",
        {
            **names,
            "mask_token": _typed("<mask>", lstrip=True),
            "model_max_length": max_length,
            "tokenizer_class": tokenizer_class,
            **(settings or {}),
        },
    )
    return len(pieces)


def t5(repository: Repository, max_length: int, *, fast: bool = True) -> int:
    """Write T5's Unigram tokenizer: no start token, and sentinels behind the vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    ordinary = tiny_models._unigram_pieces()[4:-1]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *ordinary]
    sentinels = [f"<extra_id_{number}>" for number in reversed(range(4))]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((one, 0.0) for one in sentinels)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>", *sentinels])
    if fast:
        repository.text("tokenizer.json", tokenizer.to_str())
    own = [("<pad>", 0.0, 3), ("</s>", 0.0, 3), ("<unk>", 0.0, 2), *((piece, score, 1) for piece, score in ordinary)]
    repository.bytes("spiece.model", sentencepiece_model(own))
    names = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    repository.json("special_tokens_map.json", {**names, "additional_special_tokens": sentinels[::-1]})
    repository.json(
        "tokenizer_config.json",
        {
            **names,
            "extra_ids": 4,
            "additional_special_tokens": sentinels[::-1],
            "model_max_length": max_length,
            "tokenizer_class": "T5Tokenizer",
        },
    )
    return len(pieces) + len(sentinels)


def sentencepiece_bpe(
    repository: Repository,
    max_length: int,
    *,
    special: Sequence[str],
    template: str,
    tokenizer_class: str,
    names: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
    prefix: bool = False,
    added: Sequence[str] = (),
) -> int:
    """Write a BPE with byte fallback, as of Llama, Mistral and Gemma; return the number of tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    letters = [piece for piece, _ in tiny_models._unigram_pieces()[4:-1] if len(piece) == 1]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("i", "n"), ("e", "r"), ("▁", "a")]
    tokens = [
        *special,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *letters,
        *(left + right for left, right in merges),
    ]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    steps: list[Any] = [normalizers.Prepend("▁")] if prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    used = [(token, vocabulary[token]) for token in template.split() if token in vocabulary]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=used)
    tokenizer.add_special_tokens(list(special))
    tokenizer.add_tokens(list(added))
    repository.text("tokenizer.json", tokenizer.to_str())
    repository.json("special_tokens_map.json", {name: _added(token) for name, token in names.items()})
    if added:
        repository.json("added_tokens.json", {token: len(vocabulary) + index for index, token in enumerate(added)})
    repository.json(
        "tokenizer_config.json",
        {
            **names,
            "clean_up_tokenization_spaces": False,
            "model_max_length": max_length,
            "tokenizer_class": tokenizer_class,
            **(settings or {}),
        },
    )
    return len(vocabulary) + len(added)


def phobert(repository: Repository, max_length: int) -> int:
    """Write PhoBERT's files: bpe.codes and a vocabulary with counts, which only transformers itself reads."""
    letters = sorted({letter for word in words() for letter in word.removeprefix("##") if letter.isalpha()})
    pieces = [piece for letter in letters for piece in (f"{letter}@@", letter)]
    merges = ["t h", "th e</w>", "i n", "e r</w>"]
    pieces += ["th@@", "the", "in@@", "er"]
    repository.text(
        "vocab.txt", "".join(f"{piece} {1000 - index}\n" for index, piece in enumerate(dict.fromkeys(pieces)))
    )
    repository.text("bpe.codes", "".join(f"{merge} {100 - index}\n" for index, merge in enumerate(merges)))
    repository.json("added_tokens.json", {"<mask>": len(dict.fromkeys(pieces)) + 4})
    names = _roberta_names()
    repository.json("special_tokens_map.json", {**names, "unk_token": "<unk>", "mask_token": "<mask>"})
    repository.json(
        "tokenizer_config.json",
        {
            **names,
            "unk_token": "<unk>",
            "mask_token": "<mask>",
            "model_max_length": max_length,
            "name_or_path": "vinai/phobert-base",
            "tokenizer_class": "PhobertTokenizer",
        },
    )
    return len(dict.fromkeys(pieces)) + 5


def sentencepiece_model(pieces: Sequence[tuple[str, float, int]]) -> bytes:
    """Return the file of a sentencepiece Unigram model: pieces with scores and types, and nothing that normalises.

    The format is protocol buffers: field 1 of the model is a piece, whose fields are text, score and type; field 2 are
    the settings of the trainer, of which 3 is the type of model; field 3 are those of the normaliser.
    """
    import struct

    def field(number: int, data: bytes) -> bytes:
        return _varint(number << 3 | 2) + _varint(len(data)) + data

    out = b""
    for text, score, kind in pieces:
        piece = field(1, text.encode()) + b"\x15" + struct.pack("<f", score)
        out += field(1, piece + b"\x18" + _varint(kind))
    numbers = {text: index for index, (text, _, _) in enumerate(pieces)}
    trainer = b"\x18\x01"  # model_type: UNIGRAM
    for number, name in ((40, "<unk>"), (41, "<s>"), (42, "</s>"), (43, "<pad>")):
        value = numbers.get(name, -1)
        trainer += _varint(number << 3) + _varint(value & (2**64 - 1))
    out += field(2, trainer)
    normalizer = field(1, b"identity") + b"\x18\x01\x20\x01\x28\x01"
    return out + field(3, normalizer)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _roberta_names() -> dict[str, str]:
    return {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "sep_token": "</s>"}


def _added(content: str, *, lstrip: bool = False) -> dict[str, Any]:
    return {"content": content, "lstrip": lstrip, "normalized": False, "rstrip": False, "single_word": False}


def _typed(content: str, *, lstrip: bool = False) -> dict[str, Any]:
    return {**_added(content, lstrip=lstrip), "__type": "AddedToken"}
