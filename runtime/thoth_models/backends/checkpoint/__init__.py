"""Whether the weights and the tokenizer of a loaded model are those of its files: one rule, for loading and building.

Imports no library: what it needs of one is passed to it, already imported.
"""
