"""Images through a model: what it sees of them, what is counted, and what the counts say of a reported figure."""
