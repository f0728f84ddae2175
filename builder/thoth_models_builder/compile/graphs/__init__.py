"""ONNX graphs as files: how they are read, optimised, laid out and listed, and how products and feed-forward parts are written."""
