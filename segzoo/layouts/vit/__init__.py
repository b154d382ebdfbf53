"""The plain Vision Transformer: its sizes, and its names in each library."""
