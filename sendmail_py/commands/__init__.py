"""Floor 5: what people type."""
