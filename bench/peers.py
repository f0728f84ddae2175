"""Writing a model in the form that a peer loads; run by the interpreter that has the libraries for it.

``python peers.py fastembed SOURCE TARGET`` or ``python peers.py openvino SOURCE TARGET``; a script, because it also
runs where this package is not.
"""

from __future__ import annotations

import inspect
import json
import shutil
import sys
import warnings
from pathlib import Path


def write_fastembed(source: Path, target: Path) -> None:
    """Write what fastembed downloads of a model: the transformer as ONNX, weights inside, and the tokenizer.

    The transformer is exported as the published graphs were, by tracing, with eager attention: of the forms that were
    tried, the one that onnxruntime runs fastest. Pooling and normalisation are fastembed's own.
    """
    import torch  # noqa: PLC0415 - this half runs in another environment than the other one
    from transformers.models.auto import AutoModel  # noqa: PLC0415

    model = AutoModel.from_pretrained(source, attn_implementation="eager", dtype=torch.float32, local_files_only=True)
    inputs = ["input_ids", "attention_mask"]
    if "token_type_ids" in inspect.signature(model.forward).parameters:
        inputs.append("token_type_ids")

    class Transformer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            output = self.model(**dict(zip(inputs, tensors, strict=True)))
            return output.last_hidden_state  # type: ignore[no-any-return]  # the library's outputs have no types

    # Type 0, because RoBERTa and its kind have no other.
    kinds = {"token_type_ids": torch.zeros}
    example = tuple(kinds.get(name, torch.ones)(2, 7, dtype=torch.int64) for name in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that traces announces its end
        torch.onnx.export(
            Transformer().eval(),
            example,
            str(target / "model.onnx"),
            input_names=inputs,
            output_names=["last_hidden_state"],
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in (*inputs, "last_hidden_state")},
            opset_version=17,
            dynamo=False,
        )
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(source / name, target / name)
    settings = json.loads((source / "tokenizer_config.json").read_bytes())
    # Fastembed needs this file; transformers writes its content into the configuration today.
    special = {key: settings[key] for key in ("cls_token", "mask_token", "pad_token", "sep_token", "unk_token")}
    (target / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
    # Fastembed cuts at the tokenizer's own maximum; sentence-transformers at the model's, which may be shorter.
    sentence = json.loads((source / "sentence_bert_config.json").read_bytes())
    settings["model_max_length"] = sentence.get("max_seq_length", settings["model_max_length"])
    (target / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_openvino(source: Path, target: Path) -> None:
    """Write the model as sentence-transformers converts it, as its documentation recommends to do once."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - as above

    model = SentenceTransformer(
        str(source), device="cpu", backend="openvino", local_files_only=True, model_kwargs={"export": True}
    )
    model.save_pretrained(str(target))


if __name__ == "__main__":
    kind, *paths = sys.argv[1:]
    {"fastembed": write_fastembed, "openvino": write_openvino}[kind](*map(Path, paths))
