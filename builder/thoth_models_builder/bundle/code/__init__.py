"""Code that a model brings: what its configuration refers to, and which files of it have to be reviewed."""
