"""Manifests in use: names are resolved, files are got and opened."""
