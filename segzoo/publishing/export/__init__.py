"""Folders of weights that other libraries load, with a model card."""
