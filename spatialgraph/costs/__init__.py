"""Costs of networks: bytes, multiply-adds, time and spikes."""
