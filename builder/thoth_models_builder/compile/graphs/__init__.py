"""ONNX graphs as files: how they are read, optimised, laid out and listed, and how parts of layers are written."""
