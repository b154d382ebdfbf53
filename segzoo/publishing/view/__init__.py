"""The page of `segzoo view`: pictures are dropped on it, and models segment them, on this machine only."""
