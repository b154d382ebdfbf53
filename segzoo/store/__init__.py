"""Bytes by their content: where they are kept, and how they come."""
