"""Where the files of a model come from: one module per kind of source, behind one protocol."""
