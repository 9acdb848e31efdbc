"""Postfix's names for what mailctl does, for fingers and tools that know them."""
