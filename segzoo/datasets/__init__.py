"""Data sets: which files belong to them, and what is in those."""
