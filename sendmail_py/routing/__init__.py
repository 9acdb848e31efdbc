"""Floor 3: decisions. Pure: no I/O, no clock."""
