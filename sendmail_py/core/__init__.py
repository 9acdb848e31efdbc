"""Floor 0: the words the rest of the program speaks. No I/O, no clock."""
