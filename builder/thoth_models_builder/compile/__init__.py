"""Compiling: a sentence-transformers pipeline to ONNX graphs, golden vectors, and the proof that both agree.

The only room of the builder that imports torch, sentence-transformers and the ONNX libraries. It runs in a process of
its own (:mod:`~thoth_models_builder.compile.worker`), so the builder itself stays small, and a compiler that hangs or
is killed is an error with an end.
"""
