"""Fused GPU kernels in Triton, on plain tensors."""
