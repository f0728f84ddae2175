"""What a team has agreed to: reviewed code and converted pickles, in the lock and in messages."""
