"""What a process and its threads may do: tasks with deadlines, fork, shutdown, limits, offline."""
