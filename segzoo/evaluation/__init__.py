"""Images to counts to a verdict: how a model sees an image, what is counted, and what the counts say of a reported figure."""
