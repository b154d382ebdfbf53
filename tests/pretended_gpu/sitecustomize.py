"""Puts a pretended GPU into every Python process that finds this folder on its path, for as long as the process lasts."""

from pretended_gpu import pretended

GPU = pretended()  # what is kept lasts
GPU.__enter__()
