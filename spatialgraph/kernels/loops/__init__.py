"""Loops that Numba compiles, imported on the first call; one file for each unit of its cache."""
