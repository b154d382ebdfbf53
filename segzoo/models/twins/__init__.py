"""Twins: the torch network."""
