"""The page of what was proved."""
