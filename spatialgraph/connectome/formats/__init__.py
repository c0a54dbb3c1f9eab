"""Formats: networks as networkx, igraph and PyG graphs, tables, matrices and files."""
