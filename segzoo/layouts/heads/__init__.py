"""Heads: what their tensors are called in each library, and their sizes. A new head is one file here and one line in `layouts`."""
