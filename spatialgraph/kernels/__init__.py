"""Compiled kernels on plain arrays of the CPU, and on tensors of GPUs."""
