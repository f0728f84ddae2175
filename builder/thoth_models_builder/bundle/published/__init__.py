"""What published files state that a bundle must read in another way, or refuse: limits, tokenizers, leftovers."""
