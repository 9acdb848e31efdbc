"""Floor 2: the queue on disk."""
