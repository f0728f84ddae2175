"""Convert pickled weights to safetensors, in the sandbox."""
