"""A zoo of one's own: entries proposed, written, looked over."""
