"""Gates of a roll-out: commands that measure, compare with a limit, and say by their exit code whether to go on."""
