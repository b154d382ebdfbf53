"""What the person at the terminal sees, and what programs read."""
