"""What a stranger may have written or put in the way: one test for each attack, and what it must come to."""
