"""Shapes whose repositories bring code, or name that of another repository. See :mod:`tests.zoo.shapes`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.hub_simulator import DEFAULT_COMMIT
from tests.support.published_configs import NOMIC
from tests.zoo import tokenizers
from tests.zoo.decoders import LONG, QWEN_SPECIAL, qwen3_config
from tests.zoo.encoders import bert_config, roberta_config, save_encoder
from tests.zoo.writing import WIDTH, Repository, keys_of_class, random_named, random_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.hub_simulator import HubSimulator

CODE = Path(__file__).parent / "code"


def put_code(repository: Repository, names: Sequence[str]) -> None:
    """Copy files of code into a repository."""
    for name in names:
        repository.bytes(name, (CODE / name).read_bytes())


OTHER_REPOSITORIES = {
    "jinaai/jina-bert-implementation": ("configuration_bert.py", "modeling_bert.py"),
    "jinaai/xlm-roberta-flash-implementation": (
        "configuration_xlm_roberta.py",
        "modeling_lora.py",
        "modeling_xlm_roberta.py",
    ),
    "nomic-ai/nomic-bert-2048": ("configuration_hf_nomic_bert.py", "modeling_hf_nomic_bert.py"),
}
"""Repositories of code alone, which the configurations of models elsewhere name."""


def publish_code(hub: HubSimulator) -> None:
    """Put the repositories of code on a hub."""
    for repository, names in OTHER_REPOSITORIES.items():
        hub.add_model(repository, {name: (CODE / name).read_bytes() for name in names})


def reviewed(name: str, directory: Path) -> tuple[str, str]:
    """Return key and digest for models.yaml of a file of code: of a model's directory, or REPOSITORY:FILE."""
    repository, colon, file = name.rpartition(":")
    key = f"{repository}@{DEFAULT_COMMIT}:{file}" if colon else file
    data = ((CODE if colon else directory) / file).read_bytes()
    return key, hashlib.sha256(data).hexdigest()


def with_code_beside(directory: Path) -> None:
    """Put code that ``auto_map`` names in another repository beside the model, as one does where no hub is reached."""
    path = directory / "config.json"
    config = json.loads(path.read_bytes())
    repository = Repository(directory)
    local = {key: value.rpartition("--")[2] for key, value in config["auto_map"].items()}
    repository.json("config.json", {**config, "auto_map": local})
    names = {f"{value.partition('.')[0]}.py" for value in local.values()}
    for value in config["auto_map"].values():
        names.update(OTHER_REPOSITORIES.get(value.rpartition("--")[0], ()))
    put_code(repository, sorted(name for name in names if (CODE / name).exists()))


# --- nomic ---

_NOMIC_INNER = 256
"""The published code rounds the width of its gated layers up to a multiple of this."""


def nomic_config(count: int, positions: int, **more: Any) -> dict[str, Any]:
    """Return a config.json with GPT-2's names of keys, as published."""
    sizes = {
        "n_embd": WIDTH,
        "n_head": 4,
        "n_inner": _NOMIC_INNER,
        "n_layer": 2,
        "n_positions": positions,
        "vocab_size": count,
    }
    return {**NOMIC, **sizes, **more}


def _nomic_weights(repository: Repository, rows: int, seed: int) -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (rows, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "emb_ln.weight": (WIDTH,),
        "emb_ln.bias": (WIDTH,),
    }
    for number in range(2):
        layer = f"encoder.layers.{number}"
        shapes |= {
            f"{layer}.attn.Wqkv.weight": (3 * WIDTH, WIDTH),
            f"{layer}.attn.out_proj.weight": (WIDTH, WIDTH),
            f"{layer}.mlp.fc11.weight": (_NOMIC_INNER, WIDTH),
            f"{layer}.mlp.fc12.weight": (_NOMIC_INNER, WIDTH),
            f"{layer}.mlp.fc2.weight": (WIDTH, _NOMIC_INNER),
            **{f"{layer}.{name}.{kind}": (WIDTH,) for name in ("norm1", "norm2") for kind in ("weight", "bias")},
        }
    repository.weights(random_named(shapes, seed))


def nomic(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64)
    rows = -(-count // 64) * 64
    repository.json("config.json", nomic_config(rows, 64))
    _nomic_weights(repository, rows, 60)
    repository.standard("mean_tokens", max_seq_length=64)
    repository.library(("2.4.0.dev0", "4.37.2", "2.1.0+cu121"))


def arctic_m_long(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64)
    rows = -(-count // 64) * 64
    own = {
        "AutoConfig": "configuration_hf_nomic_bert.NomicBertConfig",
        "AutoModel": "modeling_hf_nomic_bert.NomicBertModel",
    }
    repository.json("config.json", nomic_config(rows, 64, auto_map=own))
    put_code(repository, ("configuration_hf_nomic_bert.py", "modeling_hf_nomic_bert.py"))
    _nomic_weights(repository, rows, 61)
    repository.standard("cls_token", max_seq_length=64, normalize=True, flags=6, include_prompt=True)
    given = {"add_pooling_layer": False, "safe_serialization": True}
    repository.json("sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False, "model_args": given})
    repository.library(
        ("2.7.0.dev0", "4.39.3", "2.1.0"),
        prompts={"query": "Represent this sentence for searching relevant passages: "},
    )


def nomic_moe(repository: Repository) -> None:
    from tests.zoo.code.configuration_hf_nomic_bert import NomicBertConfig
    from tests.zoo.code.modeling_hf_nomic_bert import NomicBertModel

    count = tokenizers.unigram(repository, 64, sentencepiece=False)
    rows = -(-count // 64) * 64
    config = nomic_config(
        rows,
        64,
        activation_function="gelu",
        type_vocab_size=1,
        layer_norm_epsilon=1e-05,
        mlp_fc1_bias=True,
        mlp_fc2_bias=True,
        qkv_proj_bias=True,
        moe_every_n_layers=2,
        moe_impl="megablocks",
        moe_top_k=2,
        num_experts=4,
        expert_choice_router=False,
        ffn_div=1,
        pad_token_id=1,
        rotary_emb_base=10000,
        tokenizer_class="XLMRobertaTokenizer",
        transformers_version="4.44.2",
    )
    repository.json("config.json", config)
    repository.weights(random_tensors(NomicBertModel(NomicBertConfig(**keys_of_class(config))), 62))
    repository.standard("mean_tokens", max_seq_length=64, normalize=True, flags=6, include_prompt=True)
    repository.library(
        ("3.3.0", "4.44.2", "2.4.1+cu121"),
        prompts={"query": "search_query: ", "passage": "search_document: "},
        similarity_fn_name="cosine",
    )


# --- gte ---


def _new_config(count: int, **more: Any) -> dict[str, Any]:
    code = "Alibaba-NLP/new-impl--"
    values = {
        "architectures": ["NewModel"],
        "attention_probs_dropout_prob": 0.0,
        "auto_map": {
            "AutoConfig": f"{code}configuration.NewConfig",
            "AutoModel": f"{code}modeling.NewModel",
            "AutoModelForMaskedLM": f"{code}modeling.NewForMaskedLM",
            "AutoModelForSequenceClassification": f"{code}modeling.NewForSequenceClassification",
            "AutoModelForTokenClassification": f"{code}modeling.NewForTokenClassification",
        },
        "classifier_dropout": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": WIDTH,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-12,
        "layer_norm_type": "layer_norm",
        "logn_attention_clip1": False,
        "logn_attention_scale": False,
        "max_position_embeddings": 64,
        "model_type": "new",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pack_qkv": True,
        "pad_token_id": 0,
        "position_embedding_type": "rope",
        "rope_scaling": {"factor": 2.0, "type": "ntk"},
        "rope_theta": 500000,
        "torch_dtype": "float32",
        "transformers_version": "4.41.1",
        "type_vocab_size": 0,
        "unpad_inputs": False,
        "use_memory_efficient_attention": False,
        "vocab_size": count,
    }
    return {**values, **more}


def _new_weights(repository: Repository, config: dict[str, Any], seed: int, *, head: bool, dtype: str) -> None:
    from tests.zoo.code.configuration import NewConfig
    from tests.zoo.code.modeling import NewForTokenClassification, NewModel

    kind = NewForTokenClassification if head else NewModel
    repository.weights(random_tensors(kind(NewConfig(**keys_of_class(config))), seed, dtype=dtype))


def gte_en(repository: Repository) -> None:
    count = tokenizers.wordpiece(repository, 64)
    config = _new_config(count)
    repository.json("config.json", config)
    _new_weights(repository, config, 63, head=False, dtype="float32")
    repository.standard("cls_token", max_seq_length=64, flags=6, include_prompt=True)


def gte_multilingual(repository: Repository) -> None:
    """Below ``new.``, in half precision, with a head for weights of single tokens."""
    count = tokenizers.unigram(repository, 64, sentencepiece=False)
    more: dict[str, Any] = {
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "pad_token_id": 1,
        "rope_theta": 20000,
    }
    more["rope_scaling"] = {"factor": 8.0, "type": "ntk"}
    config = _new_config(
        count, architectures=["NewForTokenClassification"], type_vocab_size=1, torch_dtype="float16", **more
    )
    repository.json("config.json", config)
    _new_weights(repository, config, 64, head=True, dtype="float16")
    repository.standard("cls_token", max_seq_length=64, normalize=True, flags=6, include_prompt=True)


def arctic_m_v2(repository: Repository) -> None:
    count = tokenizers.unigram(repository, 64, sentencepiece=False)
    own = {
        "AutoConfig": "configuration_hf_alibaba_nlp_gte.GteConfig",
        "AutoModel": "modeling_hf_alibaba_nlp_gte.GteModel",
    }
    more = {
        "matryoshka_dimensions": [16],
        "pad_token_id": 1,
        "rope_theta": 160000,
        "unpad_inputs": "true",
        "rope_scaling": None,
    }
    config = _new_config(
        count,
        architectures=["GteModel"],
        auto_map=own,
        model_type="gte",
        type_vocab_size=1,
        use_memory_efficient_attention="true",
        **more,
    )
    repository.json("config.json", config)
    _new_weights(repository, {**config, "model_type": "new"}, 65, head=False, dtype="float32")
    for name, kind in (("configuration", "GteConfig"), ("modeling", "GteModel")):
        text = (CODE / f"{name}.py").read_text(encoding="utf-8")
        text = text.replace("NewConfig", "GteConfig").replace("NewModel", "GteModel").replace('"new"', '"gte"')
        assert kind in text
        repository.text(
            f"{name}_hf_alibaba_nlp_gte.py",
            text.replace(".configuration import", ".configuration_hf_alibaba_nlp_gte import"),
        )
    repository.standard("cls_token", max_seq_length=64, normalize=True, flags=6, include_prompt=True)
    repository.library(("3.3.1", "4.47.0.dev0", "2.4.0"), prompts={"query": "query: "}, similarity_fn_name="cosine")


def stella_400m(repository: Repository) -> None:
    """The code is in the repository itself, and the Dense is one of several directories that there are."""
    count = tokenizers.wordpiece(repository, 64)
    own = {"AutoConfig": "configuration.NewConfig", "AutoModel": "modeling.NewModel"}
    config = _new_config(count, auto_map=own, type_vocab_size=2, rope_theta=160000)
    repository.json("config.json", config)
    _new_weights(repository, config, 66, head=False, dtype="float32")
    put_code(repository, ("configuration.py", "modeling.py"))
    repository.standard("mean_tokens", max_seq_length=48, flags=6, include_prompt=True)
    repository.modules(("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense_1024", "Dense"))
    repository.dense("2_Dense_1024", (WIDTH, WIDTH), 66)
    repository.dense("2_Dense_256", (WIDTH, 16), 67)
    repository.library(
        ("3.0.1", "4.41.2", "2.3.0+cu121"),
        prompts={
            "s2p_query": "Instruct: Given a web search query, retrieve relevant passages that answer the query.\n"
            "Query: ",
            "s2s_query": "Instruct: Retrieve semantically similar text.\nQuery: ",
        },
        similarity_fn_name="cosine",
    )


def gte_qwen2(repository: Repository) -> None:
    """Qwen2 by name, but each token sees all others: transformers' own class would load it, and mean something else."""
    count = tokenizers.byte_bpe(
        repository,
        48,
        special=QWEN_SPECIAL,
        template="$A <|endoftext|>",
        tokenizer_class="Qwen2Tokenizer",
        padding_side="left",
        settings={
            "add_eos_token": True,
            "auto_map": {"AutoTokenizer": ["tokenization_qwen.Qwen2Tokenizer", "tokenization_qwen.Qwen2TokenizerFast"]},
        },
    )
    own = {"AutoModel": "modeling_qwen.Qwen2Model"}
    config = qwen3_config(count, architectures=["Qwen2ForCausalLM"], model_type="qwen2", torch_dtype="float32")
    dropped = ("head_dim", "attention_bias")
    config = {key: value for key, value in config.items() if key not in dropped} | {"tie_word_embeddings": False}
    save_encoder(repository, config, 68, sharded=True)
    repository.json("config.json", {**config, "auto_map": own, "is_causal": False})
    put_code(repository, ("modeling_qwen.py", "tokenization_qwen.py"))
    repository.standard("lasttoken", max_seq_length=LONG, normalize=True, flags=6, include_prompt=True)
    repository.library(
        ("2.7.0.dev0", "4.39.3", "2.1.0+cu121"),
        prompts={
            "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
        },
    )


# --- jina ---


def jina_v2(repository: Repository) -> None:
    """BERT by name, without position embeddings, and with layers of another form."""
    from tests.zoo.code.configuration_bert import JinaBertConfig
    from tests.zoo.code.modeling_bert import JinaBertModel

    count = tokenizers.wordpiece(repository, 64)
    code = "jinaai/jina-bert-implementation--"
    config = bert_config(
        count,
        64,
        _name_or_path="jinaai/jina-bert-implementation",
        architectures=["JinaBertForMaskedLM"],
        attention_probs_dropout_prob=0.0,
        attn_implementation="torch",
        auto_map={
            "AutoConfig": f"{code}configuration_bert.JinaBertConfig",
            "AutoModelForMaskedLM": f"{code}modeling_bert.JinaBertForMaskedLM",
            "AutoModel": f"{code}modeling_bert.JinaBertModel",
            "AutoModelForSequenceClassification": f"{code}modeling_bert.JinaBertForSequenceClassification",
        },
        emb_pooler="mean",
        feed_forward_type="geglu",
        model_max_length=64,
        position_embedding_type="alibi",
        torch_dtype="float16",
        transformers_version="4.26.0",
    )
    repository.json("config.json", config)
    model = JinaBertModel(JinaBertConfig(**keys_of_class(config)))
    repository.weights(random_tensors(model, 69, dtype="float16"))
    repository.standard("mean_tokens", max_seq_length=64)
    given = {"trust_remote_code": True}
    repository.json("sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False, "model_args": given})
    repository.library(("2.2.2", "4.31.0", "2.0.1"))


def jina_v3(repository: Repository) -> None:
    """The first module is code as well, and adapters of several tasks are chosen by an argument of ``encode``."""
    from tests.zoo.code.configuration_xlm_roberta import XLMRobertaFlashConfig
    from tests.zoo.code.modeling_lora import XLMRobertaLoRA
    from tests.zoo.writing import random_tensors

    count = tokenizers.unigram(repository, 72, sentencepiece=False)
    code = "jinaai/xlm-roberta-flash-implementation--"
    config = roberta_config(count, 74, architectures=["XLMRobertaModel"], torch_dtype="bfloat16")
    tasks = ["retrieval.query", "retrieval.passage", "separation", "classification", "text-matching"]
    own = {
        "auto_map": {
            "AutoConfig": f"{code}configuration_xlm_roberta.XLMRobertaFlashConfig",
            "AutoModel": f"{code}modeling_lora.XLMRobertaLoRA",
        },
        "lora_adaptations": tasks,
        "lora_alpha": 1,
        "lora_dropout_p": 0.0,
        "lora_main_params_trainable": False,
        "lora_rank": 4,
        "matryoshka_dimensions": [16, 32],
        "position_embedding_type": "rotary",
        "rotary_emb_base": 20000.0,
        "truncate_dim": None,
        "use_flash_attn": True,
        "task_instructions": {
            "retrieval.query": "Represent the query for retrieving evidence documents: ",
            "retrieval.passage": "Represent the document for retrieval: ",
        },
    }
    # As published, it has none: the class that `auto_map` names has it.
    config.pop("model_type")
    repository.json("config.json", {**config, **own})
    given = {key: value for key, value in {**config, **own}.items() if key not in ("auto_map", "torch_dtype")}
    repository.weights(random_tensors(XLMRobertaLoRA(XLMRobertaFlashConfig(**given)), 70, dtype="bfloat16"))
    put_code(repository, ("custom_st.py",))
    repository.pooling("mean_tokens", flags=6, include_prompt=True)
    repository.json(
        "modules.json",
        [
            {"idx": 0, "name": "transformer", "path": "", "type": "custom_st.Transformer", "kwargs": ["task"]},
            {
                "idx": 1,
                "name": "pooler",
                "path": "1_Pooling",
                "type": "sentence_transformers.models.Pooling",
            },
            {
                "idx": 2,
                "name": "normalizer",
                "path": "2_Normalize",
                "type": "sentence_transformers.models.Normalize",
            },
        ],
    )
    repository.library(
        ("3.1.0", "4.41.2", "2.3.1+cu121"),
        prompts={
            "retrieval.query": "Represent the query for retrieving evidence documents: ",
            "retrieval.passage": "Represent the document for retrieval: ",
            "separation": "",
            "classification": "",
            "text-matching": "",
        },
        similarity_fn_name="cosine",
    )
