"""What a model needs that a team has to agree to first: code of its own, and weights that are pickles."""
