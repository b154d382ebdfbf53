"""Heads: from the features of a backbone to class scores."""
