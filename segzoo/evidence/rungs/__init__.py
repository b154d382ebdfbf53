"""The rungs, a module each: what it looks at, and the check that comes of it."""
