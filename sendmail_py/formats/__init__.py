"""Floor 1: text to values and back. Pure."""
