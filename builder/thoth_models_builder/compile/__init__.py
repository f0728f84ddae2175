"""Compile a sentence-transformers pipeline to ONNX graphs, compute golden vectors, and check that both agree.

The only package of the builder that imports torch, sentence-transformers and the ONNX libraries. It runs in a separate
process (:mod:`~thoth_models_builder.compile.server`), so the builder itself stays small, and a compiler that hangs or
is killed becomes an error.
"""
