"""Floor 4: the processes that stay up."""
