"""The loops that Numba compiles, imported where they are first called: one file for each unit of its cache."""
