"""Floor 3: one delivery attempt, one result."""
