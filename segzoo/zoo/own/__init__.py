"""A zoo of one's own: its entries are proposed, written and reviewed."""
