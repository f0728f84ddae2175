"""One module for each command: the sequence of its steps, which connects the other packages."""
